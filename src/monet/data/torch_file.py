"""Reads the arrays of a state dict that PyTorch saved, without PyTorch, and without running what a pickle may ask for.

Both of PyTorch's file formats: since 1.6 a zip of a pickle and one file a storage; before, and on request, pickles one
after another with the storages behind them.
"""

import collections
import io
import math
import mmap
import os
import pickle
import pickletools
import zipfile
import zlib
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

import numpy as np

from monet.core.errors import UserError

LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
MOST_PICKLE = 16 << 20  # bytes of a pickle: Inception's, of some 570 arrays, has 60,000
MOST_MEMO = 1 << 20  # places in a pickle's memo, which is allocated up to the highest that is named
DTYPES = {"DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "LongStorage": "i8", "IntStorage": "i4",
          "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "?"}
# All that pickles of state dicts are written with: numbers, texts, tuples, lists, dicts, and what find_class allows.
OPCODES = frozenset((
    "PROTO", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
    "BINUNICODE", "BINSTRING", "SHORT_BINSTRING", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST",
    "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET",
    "GLOBAL", "REDUCE", "BUILD", "BINPERSID"))
DAMAGED = (pickle.UnpicklingError, EOFError, OSError, ValueError, TypeError, KeyError, IndexError, AttributeError,
           OverflowError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)


class Storage(NamedTuple):
    """Numbers in the file, of which tensors are views: the key that the file knows them by, and what of them."""

    key: str
    dtype: str
    start: int
    count: int


class Tensor(NamedTuple):
    """A tensor before the numbers are there; `offset` and `strides` count numbers."""

    storage: Storage
    offset: int
    shape: tuple
    strides: tuple


class Rebuild:
    """Stands for PyTorch's function that makes a tensor; without attributes, so that a pickle can change nothing."""

    __slots__ = ()

    def __call__(self, storage, offset, shape, strides, *_):
        """The tensor as it is described; what says how to train it is left out."""
        if not isinstance(storage, Storage):
            raise pickle.UnpicklingError("a tensor of something else than a storage")
        return Tensor(storage, offset, shape, strides)


class StateUnpickler(pickle.Unpickler):
    """Builds ordered dicts and tensors of known types, and nothing else."""

    def find_class(self, module, name):
        """The stand-in for a class or function that a pickle names."""
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return Rebuild()
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid):
        """The storage that a pickle names: ('storage', type, key, device, count), in the old format with a view."""
        kind, dtype, key, _, count, *view = pid
        if kind != "storage" or dtype not in DTYPES.values() or not isinstance(key, str):
            raise pickle.UnpicklingError("it refers to something else than a storage")
        start = 0
        if view and view[0] is not None:
            _, start, count = view[0]
        return Storage(key, dtype, start, count)


def load_pickle(file):
    """The object of the pickle at `file`'s place, which then is behind it.

    Raises:
        One of `DAMAGED`: if it is no pickle, or holds anything that a state dict does not.
    """
    begin = file.tell()
    for opcode, argument, position in pickletools.genops(file):
        if opcode.name not in OPCODES:
            raise pickle.UnpicklingError(f"it holds the instruction {opcode.name}")
        if position - begin > MOST_PICKLE or (opcode.name == "LONG_BINPUT" and argument > MOST_MEMO):
            raise pickle.UnpicklingError("its pickle is too large")
    file.seek(begin)
    return StateUnpickler(file).load()


def strided(tensor: Tensor, numbers: np.ndarray) -> np.ndarray:
    """The tensor as a view of its storage's numbers, `[count]`.

    Raises:
        ValueError: if it reaches beyond them.
    """
    (_, _, start, count), offset, shape, strides = tensor
    places = (start, count, offset, *shape, *strides)
    if not all(isinstance(place, int) and place >= 0 for place in places) or len(shape) != len(strides):
        raise ValueError("a tensor's sizes are no sizes")
    own = numbers[start:start + count]
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    size = math.prod(shape)
    if len(own) != count or size > count or (size and last >= count):
        raise ValueError("a tensor reaches beyond its storage")
    if not size:
        return np.zeros(shape, own.dtype)
    steps = [stride * own.itemsize for stride in strides]
    return np.ndarray(shape, own.dtype, own, offset * own.itemsize, steps)


def legacy_storages(file: mmap.mmap, storages: dict[str, Storage]) -> dict[str, np.ndarray]:
    """The numbers of the storages behind the pickles, by key: a count of 8 bytes before each, all little-endian.

    Args:
        file: at the pickle that lists the keys.
        storages: one of those that go by each key.
    """
    found = {}
    for key in load_pickle(file):
        dtype = np.dtype(storages[key].dtype).newbyteorder("<")
        count, place = int.from_bytes(file.read(8), "little"), file.tell()
        found[key] = np.frombuffer(file, dtype, count, place)
        file.seek(place + found[key].nbytes)
    return found


def read_legacy(file: mmap.mmap):
    """What a file in the old format holds, and a function from the storages by key to their numbers."""
    if load_pickle(file) != LEGACY_MAGIC or load_pickle(file) != LEGACY_PROTOCOL:
        raise ValueError("it does not begin as PyTorch's files do")
    load_pickle(file)  # of the machine that wrote it; the numbers are little-endian on all
    return load_pickle(file), lambda storages: legacy_storages(file, storages)


def read_zip(file: BinaryIO):
    """The same of a file in the zip format."""
    archive = zipfile.ZipFile(file)
    members = archive.infolist()
    # PyTorch compresses nothing, so what is in the zip cannot be larger than the zip.
    if any(member.compress_type != zipfile.ZIP_STORED for member in members) or \
            sum(member.file_size for member in members) > os.fstat(file.fileno()).st_size:
        raise ValueError("its members are not stored as PyTorch stores them")
    pickles = [member.filename for member in members if member.filename.split("/")[1:] == ["data.pkl"]]
    if len(pickles) != 1:
        raise ValueError("it is a zip without PyTorch's data.pkl")
    folder = pickles[0].removesuffix("data.pkl")
    order = {b"little": "<", b"big": ">"}[
        archive.read(f"{folder}byteorder") if f"{folder}byteorder" in archive.namelist() else b"little"]
    held = load_pickle(io.BytesIO(archive.read(pickles[0])))

    def numbers(storages):
        return {key: np.frombuffer(archive.read(f"{folder}data/{key}"), np.dtype(storage.dtype).newbyteorder(order))
                for key, storage in storages.items()}

    return held, numbers


def named_arrays(held, numbers: Callable) -> dict[str, np.ndarray]:
    """The arrays of a state dict.

    Args:
        held: what the file's pickle holds.
        numbers: a function from storages by key to their numbers.

    Raises:
        ValueError: if it is no state dict, or a tensor reaches beyond its storage.
    """
    if not isinstance(held, dict) or not all(isinstance(name, str) and isinstance(tensor, Tensor)
                                             for name, tensor in held.items()):
        raise ValueError("it holds something else than tensors by name")
    storages = {tensor.storage.key: tensor.storage for tensor in held.values()}
    if any(storages[tensor.storage.key].dtype != tensor.storage.dtype for tensor in held.values()):
        raise ValueError("a storage is said to hold numbers of two kinds")
    found = numbers(storages)
    return {name: strided(tensor, found[tensor.storage.key]) for name, tensor in held.items()}


def read_state_dict(path: str) -> dict[str, np.ndarray]:
    """The arrays of the state dict in a file that PyTorch wrote.

    Args:
        path: of the file, in either of PyTorch's formats.

    Returns:
        Arrays by name, in the file's order, as views of the file or of what was read of it: not to be written to.

    Raises:
        UserError: for a file that cannot be read, is damaged, or holds anything but tensors by name, such as code.
    """
    try:
        with open(path, "rb") as file:
            if file.read(4) == b"PK\x03\x04":
                return named_arrays(*read_zip(file))
            return named_arrays(*read_legacy(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    except DAMAGED as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UserError(f"{path} is no state dict that PyTorch saved ({why}). Give a .pth file of weights, whole and "
                        "unchanged.") from None
