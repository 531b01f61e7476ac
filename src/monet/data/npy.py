"""Images in one NumPy file, uint8 `[n, height, width, 3]`, local or on gs://: its header checked, its rows read."""

import io
import tokenize
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.lib import format as npy_format

from monet.core.errors import UserError

HEADER_BYTES = 1 << 16  # read at once: NumPy itself takes no header over 10,000
HEADER_READERS = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
WANTED = "It must hold RGB pictures of one size, uint8 [n, height, width, 3]"
AGAIN = f"{WANTED}: write it with np.save."


@dataclass(frozen=True)
class ArrayHeader:
    """What the header of a usable .npy file says."""

    shape: tuple[int, int, int, int]  # n, height, width, 3
    offset: int  # bytes before the first picture

    @property
    def row_bytes(self) -> int:
        """Bytes of one picture."""
        return int(np.prod(self.shape[1:], dtype=object))  # as Python's integers, which no header can overflow


def complaint(shape: tuple[int, ...], fortran_order: bool, dtype: np.dtype) -> str | None:
    """Why an array of this form cannot be used and how to change it, to follow the file's name; None if it can."""
    if dtype.hasobject:
        return "holds Python objects, which are never unpickled. Save one array, made with np.stack(pictures)."
    if dtype != np.uint8:
        return (f"holds {dtype}, not uint8. Save np.uint8(array) if its numbers are 0 to 255, "
                "np.uint8(np.round(255 * array)) if 0 to 1, np.uint8(np.round(127.5 * (array + 1))) if -1 to 1.")
    if len(shape) != 4 or shape[3] != 3:
        return (f"has the shape {list(shape)}. {WANTED}: array.transpose(0, 2, 3, 1) puts the channels last, "
                "array[..., :3] drops a fourth.")
    if min(shape) < 1:
        return f"is empty: its shape is {list(shape)}. {AGAIN}"
    if fortran_order:
        return "is in Fortran's order. Save np.ascontiguousarray(array)."
    return None


def read_header(path: str) -> ArrayHeader:
    """The header of the .npy file `path`, checked against the file's size; the pixels are not read.

    Raises:
        UserError: naming the file, if it is no .npy file, is cut short, or holds anything but RGB pictures.
        tf.errors.OpError: if it cannot be read.
    """
    with tf.io.gfile.GFile(path, "rb") as file:
        start = io.BytesIO(file.read(HEADER_BYTES))
    try:
        version = npy_format.read_magic(start)
        if version not in HEADER_READERS:
            raise UserError(f"{path} is of .npy version {'.'.join(map(str, version))}, which is not read here. {AGAIN}")
        shape, fortran_order, dtype = HEADER_READERS[version](start)
    except (ValueError, TypeError, tokenize.TokenError) as error:  # the last two for a header that is no Python
        raise UserError(f"{path} is no .npy file, or its header is damaged ({error}). {AGAIN}") from None
    problem = complaint(shape, fortran_order, dtype)
    if problem:
        raise UserError(f"{path} {problem}")
    header = ArrayHeader(shape, start.tell())
    promised, size = header.offset + shape[0] * header.row_bytes, tf.io.gfile.stat(path).length
    if size != promised:
        what = "is cut short" if size < promised else "is longer than it should be"
        raise UserError(f"{path} {what}: its header promises {promised:,} bytes, it has {size:,}. Copy it again.")
    return header


def array_pictures(path: str) -> tf.data.Dataset:
    """The pictures of the .npy file `path`, in order, as scalar strings of PNG bytes.

    Raises:
        As `read_header`.
    """
    header = read_header(path)

    def encode(row):
        # Not compressed: 3 times as fast to write, twice as fast to read, and as large as the file says.
        return tf.io.encode_png(tf.reshape(tf.io.decode_raw(row, tf.uint8), header.shape[1:]), compression=0)

    rows = tf.data.FixedLengthRecordDataset(path, header.row_bytes, header_bytes=header.offset)
    return rows.map(encode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
