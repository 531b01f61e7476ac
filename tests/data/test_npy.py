"""Images in .npy files: what is read, bit for bit, and what is refused."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monet.core.errors import UserError
from monet.core.pixels import decode_image
from monet.data.npy import read_header
from monet.data.records import read_examples
from monet.data.validation import find_data

MANY = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)  # no dimension fits by accident


def write_arrays(root: Path, monet=MANY[:2], photo=MANY) -> Path:
    """Both sides as arrays, in the order that np.save gives them."""
    root.mkdir(exist_ok=True)
    np.save(root / "monet.npy", monet)
    np.save(root / "photo.npy", photo)
    return root


def pictures(image_set) -> np.ndarray:
    return np.stack([decode_image(example["image"]).numpy() for example in read_examples(image_set)])


def refusal(root: Path) -> str:
    with pytest.raises(UserError) as error:
        find_data(str(root))
    assert str(root / "photo.npy") in str(error.value)
    return str(error.value)


def test_rows_are_read_bit_for_bit_and_in_order(tmp_path):
    data = find_data(str(write_arrays(tmp_path)))
    assert (data.monet.count, data.photo.count) == (2, 5)
    np.testing.assert_array_equal(pictures(data.monet), MANY[:2])
    np.testing.assert_array_equal(pictures(data.photo), MANY)
    assert [example["image_name"].numpy().decode() for example in read_examples(data.photo)] == [
        f"photo-{number}" for number in range(5)]
    assert data.describe() == f"2 paintings and 5 photos in .npy arrays below {tmp_path}"


def test_a_row_is_a_png_that_pil_can_read(tmp_path):
    encoded = next(iter(read_examples(find_data(str(write_arrays(tmp_path))).photo)))["image"].numpy()
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encoded))), MANY[0])


def test_version_2_and_a_non_contiguous_array(tmp_path):
    write_arrays(tmp_path)
    with open(tmp_path / "photo.npy", "wb") as file:
        np.lib.format.write_array(file, MANY[::2, :, ::-1], version=(2, 0))
    np.testing.assert_array_equal(pictures(find_data(str(tmp_path)).photo), MANY[::2, :, ::-1])


@pytest.mark.parametrize(("array", "words"), [
    (MANY / np.float32(255), "float32"),
    (MANY.astype(np.int64), "int64"),
    (MANY > 127, "bool"),
    (MANY[..., 0], "[5, 6, 7]"),
    (MANY[0], "[6, 7, 3]"),
    (MANY.transpose(0, 3, 1, 2).copy(), "[5, 3, 6, 7]"),
    (MANY[..., [0, 1, 2, 2]], "[5, 6, 7, 4]"),
    (MANY[..., :1], "[5, 6, 7, 1]"),
    (MANY[:0], "empty: its shape is [0, 6, 7, 3]"),
    (MANY[:, :0], "empty: its shape is [5, 0, 7, 3]"),
    (np.asfortranarray(MANY), "np.ascontiguousarray"),
    (np.array([MANY[0], MANY[1, :4], None], object), "Python objects"),
])
def test_an_unsuitable_array_is_refused(tmp_path, array, words):
    assert words in refusal(write_arrays(tmp_path, photo=array))


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nothing_is_ever_unpickled(tmp_path):
    refusal(write_arrays(tmp_path, photo=np.array([Trap(tmp_path / "sprung")], object)))
    assert not (tmp_path / "sprung").exists()
    np.load(tmp_path / "photo.npy", allow_pickle=True)
    assert (tmp_path / "sprung").exists()  # the trap works


@pytest.mark.parametrize("lost", [1, 6 * 7 * 3, 5 * 6 * 7 * 3])
def test_a_truncated_file_is_refused(tmp_path, lost):
    path = write_arrays(tmp_path) / "photo.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-lost])
    message = refusal(tmp_path)
    assert "truncated" in message and f"{len(whole):,}" in message and f"{len(whole) - lost:,}" in message
    path.write_bytes(whole + b"more")
    assert "too long" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"<html>Please log in first</html>", b"PK\x03\x04 an npz"])
def test_a_file_that_is_not_npy_is_refused(tmp_path, content):
    (write_arrays(tmp_path) / "photo.npy").write_bytes(content)
    assert "not an .npy file" in refusal(tmp_path)


def test_an_unknown_version_is_refused(tmp_path):
    path = write_arrays(tmp_path) / "photo.npy"
    path.write_bytes(path.read_bytes().replace(b"\x93NUMPY\x01", b"\x93NUMPY\x07", 1))
    assert "version 7.0" in refusal(tmp_path)


def test_a_damaged_header_is_refused(tmp_path):
    """Whichever byte is changed, the file is refused with a message or still means the same."""
    path = write_arrays(tmp_path) / "photo.npy"
    whole = path.read_bytes()
    for place in range(read_header(str(path)).offset):
        for byte in b"\x00(9'{":
            path.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1:])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Python's, on numbers such as 5or
                try:
                    assert read_header(str(path)).shape == MANY.shape
                except UserError as error:
                    assert str(path) in str(error)


def test_a_shape_larger_than_any_disk_is_refused(tmp_path):
    path = write_arrays(tmp_path) / "photo.npy"
    content = path.read_bytes().replace(b"(5, 6, 7, 3), }" + 12 * b" ", b"(5" + 12 * b"0" + b", 6, 7, 3), }", 1)
    path.write_bytes(content)
    assert "truncated" in refusal(tmp_path)
