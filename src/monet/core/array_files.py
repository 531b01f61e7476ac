"""Files of named arrays: checkpoints, exported generators, caches. A file is complete or absent.

They are .npz files: zips of .npy arrays, each with a checksum.
"""

import io
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable

import numpy as np

from monet.core.errors import UserError
from monet.core.files import atomic_write

# What a damaged file raises: a checksum or a format that is wrong, or a zip's directory that promises what zipfile
# cannot do, such as a password (RuntimeError), a later version (NotImplementedError) or another compression.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, struct.error, zipfile.BadZipFile,
              zlib.error, lzma.LZMAError)
ARRAY_SUFFIX = ".npy"


class NotFiniteError(UserError):
    """An array to be saved holds NaN or infinity.

    Attributes:
        name: the array's name.
    """

    def __init__(self, name: str, path: str):
        """`path` is the file that was not written."""
        super().__init__(f"{name} has become NaN or infinite, so {path} was not written. Resume from an earlier "
                         "checkpoint with a lower --learning-rate or --precision float32.")
        self.name = name


def write_arrays(path: str, arrays: Iterable[tuple[str, np.ndarray]]) -> None:
    """Writes named arrays to the .npz file `path`, one at a time.

    Raises:
        NotFiniteError: if an array holds NaN or infinity; an earlier file stays.
        UserError: if the file cannot be written.
    """
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays:
            array = np.asarray(array)
            if not np.isfinite(array).all():
                raise NotFiniteError(name, path)
            with archive.open(f"{name}{ARRAY_SUFFIX}", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read_arrays(path: str, prefix: str = "") -> dict[str, np.ndarray]:
    """The arrays of an .npz file whose names begin with `prefix`, by the rest of the name.

    Each is read whole, which compares its checksum, before anything in it is believed.

    Raises:
        One of `UNREADABLE` if the file is damaged.
    """
    with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
        check_count(file, archive)
        names = [name.removesuffix(ARRAY_SUFFIX) for name in archive.namelist()]
        return {name.removeprefix(prefix): parse_array(archive.read(f"{name}{ARRAY_SUFFIX}"))
                for name in names if name.startswith(prefix)}


def check_count(file, archive: zipfile.ZipFile) -> None:
    """Raises BadZipFile if the zip's directory lists fewer entries than its end record counts.

    An entry whose length is damaged can swallow those after it, and one whose name is damaged can hide behind another
    of that name; `zipfile` does not notice. The end record, the last 22 bytes of a file without a comment, has the
    number at byte 10 (APPNOTE.TXT, section 4.3.16).
    """
    file.seek(-12, os.SEEK_END)
    (count,), found = struct.unpack("<H", file.read(2)), len(set(archive.namelist()))
    if count != found:
        raise zipfile.BadZipFile(f"{found} of {count} arrays are in the zip's directory")


def parse_array(content: bytes) -> np.ndarray:
    """The array in the bytes of a .npy file."""
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
