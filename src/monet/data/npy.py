"""Images in one .npy file, uint8 `[n, height, width, 3]`, local or on gs://. The header is checked before reading."""

import hashlib
import io
import os
import tokenize
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.lib import format as npy_format

from monet.core.errors import UserError
from monet.data.formats import Format, number_rows
from monet.data.storage import file_size, read_start

HEADER_BYTES = 1 << 16  # bytes to read for the header; NumPy itself accepts no header over 10,000
FINGERPRINT_BYTES = 5  # as many bits as in `FINGERPRINTS`
HEADER_READERS = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
REQUIRED = "It must contain RGB images of one size, uint8 [n, height, width, 3]"
SAVE_AGAIN = f"{REQUIRED}: write it with np.save."


@dataclass(frozen=True)
class ArrayHeader:
    """The header of a usable .npy file.

    Attributes:
        shape: n, height, width, 3.
        offset: number of bytes before the first image.
    """

    shape: tuple[int, int, int, int]
    offset: int

    @property
    def row_bytes(self) -> int:
        """Size of one image in bytes."""
        return int(np.prod(self.shape[1:], dtype=object))  # Python integers, which no header can overflow


def array_problem(shape: tuple[int, ...], fortran_order: bool, dtype: np.dtype) -> str | None:
    """Returns why such an array cannot be used and how to change it, to follow the file's name; None if it can."""
    if dtype.hasobject:
        return "holds Python objects, which are never unpickled. Save one array, made with np.stack(pictures)."
    if dtype != np.uint8:
        return (f"holds {dtype}, not uint8. Save np.uint8(array) if its values are 0 to 255, "
                "np.uint8(np.round(255 * array)) if 0 to 1, np.uint8(np.round(127.5 * (array + 1))) if -1 to 1.")
    if len(shape) != 4 or shape[3] != 3:
        return (f"has the shape {list(shape)}. {REQUIRED}: array.transpose(0, 2, 3, 1) moves the channels last, "
                "array[..., :3] drops a fourth channel.")
    if min(shape) < 1:
        return f"is empty: its shape is {list(shape)}. {SAVE_AGAIN}"
    if fortran_order:
        return "is in Fortran order. Save np.ascontiguousarray(array)."
    return None


def read_header(path: str) -> ArrayHeader:
    """Reads the header of the .npy file at `path` and checks it against the file's size. Pixels are not read.

    Raises:
        UserError: if the file is not .npy, is truncated, or contains anything but RGB images.
        OSError, tf.errors.OpError: if the file cannot be read.
    """
    start = io.BytesIO(read_start(path, HEADER_BYTES))
    try:
        version = npy_format.read_magic(start)
        if version not in HEADER_READERS:
            raise UserError(f"{path} is of .npy version {'.'.join(map(str, version))}, which is not supported. "
                            f"{SAVE_AGAIN}")
        shape, fortran_order, dtype = HEADER_READERS[version](start)
    except (ValueError, TypeError, tokenize.TokenError) as error:  # the last two if the header is not Python
        raise UserError(f"{path} is not an .npy file, or its header is damaged ({error}). {SAVE_AGAIN}") from None
    problem = array_problem(shape, fortran_order, dtype)
    if problem:
        raise UserError(f"{path} {problem}")
    header = ArrayHeader(shape, start.tell())
    expected, size = header.offset + shape[0] * header.row_bytes, file_size(path)
    if size != expected:
        what = "is truncated" if size < expected else "is too long"
        raise UserError(f"{path} {what}: by its header it has {expected:,} bytes, but its size is {size:,}. Copy it "
                        "again.")
    return header


def list_array_rows(files) -> tf.data.Dataset:
    """Rows are the images of the one file, as PNG bytes, so that they are read like all others."""
    [path] = files
    header = read_header(os.fsdecode(path))

    def encode(row):
        # Uncompressed: 3 times faster to write, twice as fast to read, and no larger than in the file.
        return tf.io.encode_png(tf.reshape(tf.io.decode_raw(row, tf.uint8), header.shape[1:]), compression=0)

    rows = tf.data.FixedLengthRecordDataset(path, header.row_bytes, header_bytes=header.offset)
    return number_rows(path, rows.map(encode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True))


def image_example(name: tf.Tensor, image: tf.Tensor) -> dict[str, tf.Tensor]:
    """The example of an image whose encoded bytes are in memory."""
    return {"image_name": name, "image": image}


def identify_array(path: str) -> tuple[int, int]:
    """Returns the number of images in the .npy file at `path`, and a fingerprint of its first `HEADER_BYTES`.

    Raises:
        As `read_header`.
    """
    digest = hashlib.sha256(read_start(path, HEADER_BYTES)).digest()
    return read_header(path).shape[0], int.from_bytes(digest[:FINGERPRINT_BYTES], "big")


NPY_ARRAY = Format(".npy arrays", list_array_rows, image_example, identify_array)
