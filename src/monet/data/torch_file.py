"""Reads the arrays of a PyTorch state dict without PyTorch, and without running code from the pickle.

Supports both of PyTorch's file formats: the zip with a pickle and one file per storage (default since PyTorch 1.6), and
the legacy format, several pickles followed by the storages.
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
MAX_PICKLE_BYTES = 16 << 20  # Inception's pickle, with some 570 arrays, has 60,000
MAX_MEMO = 1 << 20  # highest index in a pickle's memo, which is allocated up to that index
DTYPES = {"DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "LongStorage": "i8", "IntStorage": "i4",
          "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "?"}
# The opcodes that state dicts need: numbers, strings, tuples, lists, dicts, and what find_class allows.
OPCODES = frozenset((
    "PROTO", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
    "BINUNICODE", "BINSTRING", "SHORT_BINSTRING", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST",
    "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET",
    "GLOBAL", "REDUCE", "BUILD", "BINPERSID"))
READ_ERRORS = (pickle.UnpicklingError, EOFError, OSError, ValueError, TypeError, KeyError, IndexError, AttributeError,
               OverflowError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)


class Storage(NamedTuple):
    """A contiguous part of a storage in the file; `start` and `count` are in numbers."""

    key: str
    dtype: str
    start: int
    count: int


class Tensor(NamedTuple):
    """A tensor whose numbers are not read yet; `offset` and `strides` are in numbers."""

    storage: Storage
    offset: int
    shape: tuple
    strides: tuple


class Rebuild:
    """Replaces PyTorch's function that builds a tensor. It has no attributes, so a pickle cannot change anything."""

    __slots__ = ()

    def __call__(self, storage, offset, shape, strides, *_):
        """Returns the described tensor; arguments that concern training are ignored."""
        if not isinstance(storage, Storage):
            raise pickle.UnpicklingError("a tensor is built from something other than a storage")
        return Tensor(storage, offset, shape, strides)


class StateUnpickler(pickle.Unpickler):
    """Builds ordered dicts and tensors of known types, nothing else."""

    def find_class(self, module, name):
        """Returns the replacement for a class or function in the pickle."""
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return Rebuild()
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid):
        """Returns the storage of an id ('storage', type, key, device, count); the legacy format adds a view."""
        kind, dtype, key, _, count, *view = pid
        if kind != "storage" or dtype not in DTYPES.values() or not isinstance(key, str):
            raise pickle.UnpicklingError("it refers to something other than a storage")
        start = 0
        if view and view[0] is not None:
            _, start, count = view[0]
        return Storage(key, dtype, start, count)


def load_pickle(file):
    """Loads the pickle at the file's position, which moves behind it.

    Raises:
        One of `READ_ERRORS`: if it is not a pickle, or contains anything that a state dict does not need.
    """
    begin = file.tell()
    for opcode, argument, position in pickletools.genops(file):
        if opcode.name not in OPCODES:
            raise pickle.UnpicklingError(f"it contains the instruction {opcode.name}")
        if position - begin > MAX_PICKLE_BYTES or (opcode.name == "LONG_BINPUT" and argument > MAX_MEMO):
            raise pickle.UnpicklingError("its pickle is too large")
    file.seek(begin)
    return StateUnpickler(file).load()


def strided(tensor: Tensor, numbers: np.ndarray) -> np.ndarray:
    """Returns the tensor as a view of its storage's numbers, `[count]`.

    Raises:
        ValueError: if it reaches beyond them.
    """
    (_, _, start, count), offset, shape, strides = tensor
    sizes = (start, count, offset, *shape, *strides)
    if not all(isinstance(size, int) and size >= 0 for size in sizes) or len(shape) != len(strides):
        raise ValueError("a tensor has an invalid size")
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
    """Reads the storages that follow the pickles, each with its count in 8 bytes before it, all little-endian.

    Args:
        file: positioned at the pickle that lists the keys.
        storages: for each key, one storage that has it.

    Returns:
        The numbers by key.
    """
    numbers = {}
    for key in load_pickle(file):
        dtype = np.dtype(storages[key].dtype).newbyteorder("<")
        count, position = int.from_bytes(file.read(8), "little"), file.tell()
        numbers[key] = np.frombuffer(file, dtype, count, position)
        file.seek(position + numbers[key].nbytes)
    return numbers


def read_legacy(file: mmap.mmap):
    """Returns the object in a file of the legacy format, and a function from storages by key to their numbers."""
    if load_pickle(file) != LEGACY_MAGIC or load_pickle(file) != LEGACY_PROTOCOL:
        raise ValueError("it does not start like a PyTorch file")
    load_pickle(file)  # describes the machine that wrote the file; the numbers are little-endian on all machines
    return load_pickle(file), lambda storages: legacy_storages(file, storages)


def read_zip(file: BinaryIO):
    """As `read_legacy`, for a file in the zip format."""
    archive = zipfile.ZipFile(file)
    members = archive.infolist()
    # PyTorch does not compress, so the members cannot be larger than the zip.
    if any(member.compress_type != zipfile.ZIP_STORED for member in members) or \
            sum(member.file_size for member in members) > os.fstat(file.fileno()).st_size:
        raise ValueError("its members are not stored as PyTorch stores them")
    pickles = [member.filename for member in members if member.filename.split("/")[1:] == ["data.pkl"]]
    if len(pickles) != 1:
        raise ValueError("it is a zip without PyTorch's data.pkl")
    folder = pickles[0].removesuffix("data.pkl")
    order = {b"little": "<", b"big": ">"}[
        archive.read(f"{folder}byteorder") if f"{folder}byteorder" in archive.namelist() else b"little"]
    state = load_pickle(io.BytesIO(archive.read(pickles[0])))

    def numbers_of(storages):
        return {key: np.frombuffer(archive.read(f"{folder}data/{key}"), np.dtype(storage.dtype).newbyteorder(order))
                for key, storage in storages.items()}

    return state, numbers_of


def named_arrays(state, numbers_of: Callable) -> dict[str, np.ndarray]:
    """Returns the arrays of a state dict.

    Args:
        state: the object in the file's pickle.
        numbers_of: a function from storages by key to their numbers.

    Raises:
        ValueError: if it is not a state dict, or a tensor reaches beyond its storage.
    """
    if not isinstance(state, dict) or not all(isinstance(name, str) and isinstance(tensor, Tensor)
                                             for name, tensor in state.items()):
        raise ValueError("it contains something other than named tensors")
    storages = {tensor.storage.key: tensor.storage for tensor in state.values()}
    if any(storages[tensor.storage.key].dtype != tensor.storage.dtype for tensor in state.values()):
        raise ValueError("a storage has two types")
    numbers = numbers_of(storages)
    return {name: strided(tensor, numbers[tensor.storage.key]) for name, tensor in state.items()}


def read_state_dict(path: str) -> dict[str, np.ndarray]:
    """Reads the arrays of a state dict that PyTorch saved.

    Args:
        path: the file, in either of PyTorch's formats.

    Returns:
        Read-only arrays by name, in the file's order. They are views of the file or of bytes read from it.

    Raises:
        UserError: if the file cannot be read, is damaged, or contains anything but named tensors, such as code.
    """
    try:
        with open(path, "rb") as file:
            if file.read(4) == b"PK\x03\x04":
                return named_arrays(*read_zip(file))
            return named_arrays(*read_legacy(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    except READ_ERRORS as error:
        cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UserError(f"{path} is not a PyTorch state dict ({cause}). Give an intact .pth file of weights.") from None
