"""Reading PyTorch state dicts without PyTorch: both formats, views, and malicious or damaged files.

The two fixtures were written by PyTorch 2.13 (`tools/benchmark/peers/fidelity.py fixtures`).
"""

import os
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from benchmark.inception_state import integer, numbers, tensor, text, write_state_dict
from support.settings import FIXTURES

from monet.core.errors import UserError
from monet.data.torch_file import LEGACY_MAGIC, read_state_dict

FORMATS = ("legacy", "zip")


def fixture(kind):
    return FIXTURES / f"torch_{kind}.pth"


@pytest.mark.parametrize("kind", FORMATS)
def test_every_kind_of_tensor_is_read(kind):
    grid = np.arange(24, dtype=np.float32).reshape(4, 6) / 8
    expected = {
        "grid": grid, "transposed": grid.T, "part": grid[1:3, ::2], "scalar": np.int64(7), "empty": grid[:0],
        "double": np.array([1 / 3]), "half": np.array([0.5, -2], np.float16), "int": np.int32([-5, 2**31 - 1]),
        "short": np.int16([-7]), "char": np.int8([-8]), "byte": np.uint8([200]), "bool": np.array([True, False])}
    found = read_state_dict(str(fixture(kind)))
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_the_file_is_not_written_to():
    for kind in FORMATS:
        with pytest.raises(ValueError, match="read-only"):
            read_state_dict(str(fixture(kind)))["grid"][0, 0] = 1


def test_what_tests_write_without_pytorch_is_read(tmp_path):
    state = {"kernel": np.arange(12, dtype=np.float32).reshape(3, 4), "count": np.asarray(3, np.int64)}
    write_state_dict(tmp_path / "own.pth", state)
    found = read_state_dict(str(tmp_path / "own.pth"))
    assert list(found) == ["kernel", "count"]
    for name, array in state.items():
        np.testing.assert_array_equal(found[name], array)


# Files made by hand, in either format.


def pickled(body):
    return b"\x80\x02" + body + b"."


def state_of(*items):
    return pickled(b"ccollections\nOrderedDict\n)R(" + b"".join(items) + b"u")


def legacy_file(path, held, storages=(), order="<"):
    """Writes a file in the legacy format: `held` is the pickle, `storages` pairs of key and array."""
    keys = pickle.dumps([key for key, _ in storages], 2)
    parts = [pickle.dumps(LEGACY_MAGIC, 2), pickle.dumps(1001, 2), pickle.dumps({"little_endian": True}, 2), held, keys]
    for _, array in storages:
        parts += [struct.pack("<q", array.size), array.astype(array.dtype.newbyteorder(order)).tobytes()]
    path.write_bytes(b"".join(parts))
    return str(path)


def zip_file(path, held, storages=(), byteorder="little", compression=zipfile.ZIP_STORED):
    order = {"little": "<", "big": ">"}[byteorder]
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("any/data.pkl", held)
        archive.writestr("any/byteorder", byteorder)
        for key, array in storages:
            archive.writestr(f"any/data/{key}", array.astype(array.dtype.newbyteorder(order)).tobytes())
    return str(path)


WRITERS = pytest.mark.parametrize("write", [legacy_file, zip_file])
ROW = np.arange(6, dtype=np.float32)


def row_tensor(offset=0, shape=(6,), strides=(1,), kind=b"FloatStorage", count=6, view=b""):
    """The pickle instructions for a tensor of `ROW`."""
    storage = b"(" + text("storage") + b"ctorch\n" + kind + b"\n" + text("0") + text("cpu") + integer(count)
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + view + b"tQ" + integer(offset) + numbers(shape)
            + numbers(strides) + b"\x89NtR")


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_the_byte_order_that_a_zip_says_is_kept_to(tmp_path, byteorder):
    path = zip_file(tmp_path / "a.pth", state_of(text("row"), tensor("0", ROW)), [("0", ROW)], byteorder)
    np.testing.assert_array_equal(read_state_dict(path)["row"], ROW)


def test_views_of_storages_of_the_old_format(tmp_path):
    """PyTorch before 0.4 wrote storages that start inside others: key, first number and count."""
    view = b"(" + text("1") + integer(2) + integer(3) + b"t"
    body = state_of(text("row"), row_tensor(offset=1, shape=(2,), view=view))
    path = legacy_file(tmp_path / "a.pth", body, [("0", ROW)])
    np.testing.assert_array_equal(read_state_dict(path)["row"], [3, 4])


def test_pickles_of_python_2(tmp_path):
    """Names are byte strings, and the ordered dict is built from a list of pairs."""
    own = tensor("0", ROW).replace(text("0"), b"U\x010").replace(text("cpu"), b"U\x03cpu")
    body = pickled(b"ccollections\nOrderedDict\n(]](U\x03row" + own + b"eatR")
    path = legacy_file(tmp_path / "a.pth", body, [("0", ROW)])
    np.testing.assert_array_equal(read_state_dict(path)["row"], ROW)


class Harm:
    """Pickles as a call of a function that no state dict needs."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@WRITERS
@pytest.mark.parametrize("harm", [Harm(os.system, "touch harmed"), Harm(eval, "1"), Harm(open, "harmed", "w"),
                                  Harm(getattr, "a", "b"), Harm(np.zeros, 3), Harm(bytearray, 10)])
def test_a_pickle_that_calls_anything_else_is_refused_and_not_run(tmp_path, monkeypatch, write, harm):
    monkeypatch.chdir(tmp_path)
    for held in (pickle.dumps(harm, 2), pickle.dumps(OrderedDict(a=harm), 2), pickle.dumps(harm, 4)):
        path = write(tmp_path / "a.pth", held)
        with pytest.raises(UserError, match="not a PyTorch state dict"):
            read_state_dict(path)
    assert not (tmp_path / "harmed").exists()


@WRITERS
@pytest.mark.parametrize(("body", "why"), [
    (b"cbuiltins\nexec\n", "asks for builtins.exec"),
    (b"c__builtin__\neval\n", "asks for __builtin__.eval"),
    (b"ctorch\nload\n", "asks for torch.load"),
    (b"ccollections\nOrderedDict\nX\x04\x00\x00\x00hash}b", "state dict"),
    (b"ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aK\x01sb", "attribute"),
    (b"ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x00))\x89NtR", "something other than a storage"),
    (b"(ios\nsystem\n", "instruction INST"),
    (b"ccollections\nOrderedDict\n)\x81", "instruction NEWOBJ"),
    (b"}r\xff\xff\xff\xff", "too large"),
    (b"X\xff\xff\xff\x7fabc", "state dict"),
    (b"K\x07Q", "state dict"),
    (b"(X\x06\x00\x00\x00moduleNNNNtQ", "something other than a storage"),
])
def test_instructions_that_state_dicts_do_not_need_are_refused(tmp_path, write, body, why):
    path = write(tmp_path / "a.pth", pickled(body))
    with pytest.raises(UserError, match=why):
        read_state_dict(path)


@WRITERS
@pytest.mark.parametrize("broken", [
    {"shape": (7,)}, {"offset": 1}, {"offset": -1, "shape": (3,)}, {"strides": (2,)}, {"strides": (-1,)},
    {"shape": (6, 2), "strides": (1, 0)}, {"shape": (2,), "strides": (1, 1)}, {"shape": (-6,)}, {"count": 7},
    {"kind": b"DoubleStorage"}, {"shape": (2**30, 2**30), "strides": (0, 0)}])
def test_tensors_that_reach_beyond_their_storage_are_refused(tmp_path, write, broken):
    path = write(tmp_path / "a.pth", state_of(text("row"), row_tensor(**broken)), [("0", ROW)])
    with pytest.raises(UserError, match="not a PyTorch state dict"):
        read_state_dict(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_cut_short_anywhere_is_refused(tmp_path, kind):
    whole = fixture(kind).read_bytes()
    for length in [0, 1, 3, 4, 5, 20, *range(50, len(whole), 97), len(whole) - 1]:
        (tmp_path / "cut.pth").write_bytes(whole[:length])
        with pytest.raises(UserError, match="not a PyTorch state dict"):
            read_state_dict(str(tmp_path / "cut.pth"))


def test_a_zip_that_is_larger_inside_than_outside_is_refused(tmp_path):
    zeros = np.zeros(1 << 20, np.float32)
    path = zip_file(tmp_path / "a.pth", state_of(text("row"), tensor("0", zeros)), [("0", zeros)],
                    compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="stored"):
        read_state_dict(path)


def test_a_changed_number_in_a_zip_is_found(tmp_path):
    whole = bytearray(fixture("zip").read_bytes())
    whole[whole.index(np.float32(0.375).tobytes())] ^= 1
    (tmp_path / "a.pth").write_bytes(whole)
    with pytest.raises(UserError, match="CRC"):
        read_state_dict(str(tmp_path / "a.pth"))


def test_other_files_are_refused(tmp_path):
    (tmp_path / "page.pth").write_text("<!DOCTYPE html><title>Not Found</title>")
    np.savez(tmp_path / "arrays.npz", a=ROW)
    with zipfile.ZipFile(tmp_path / "any.zip", "w") as archive:
        archive.writestr("data.pkl", b"")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps({"a": 1}, 2))
    legacy_file(tmp_path / "list.pth", pickle.dumps([1, 2], 2))
    legacy_file(tmp_path / "nested.pth", pickle.dumps({"state_dict": OrderedDict()}, 2))
    names = ("page.pth", "arrays.npz", "any.zip", "pickle.pth", "list.pth", "nested.pth", "none.pth", "")
    for name in names:
        with pytest.raises(UserError, match=r"not a PyTorch state dict \(.+\)"):
            read_state_dict(str(tmp_path / name))
