"""Files and folders of the data, on this machine or in a bucket.

TensorFlow's functions reach both, but its Python side takes no name on this machine that is not UTF-8.
"""

import os
import re
from collections.abc import Iterable

import tensorflow as tf


def is_local(path: str) -> bool:
    """Whether `path` is on this machine, not an address such as gs://bucket."""
    return "://" not in path


def path_exists(path: str) -> bool:
    """Whether there is a file or folder at `path`."""
    return os.path.exists(path) if is_local(path) else tf.io.gfile.exists(path)


def is_folder(path: str) -> bool:
    """Whether `path` is a folder."""
    return os.path.isdir(path) if is_local(path) else tf.io.gfile.isdir(path)


def list_folder(folder: str) -> list[str]:
    """The sorted names in `folder`, those of folders on this machine with a slash; empty if there is no such folder."""
    if not is_local(folder):  # not listdir, which takes a forbidden bucket for a missing one
        escaped = re.sub(r"([*?\[\\])", r"\\\1", folder)
        return sorted(map(os.path.basename, tf.io.gfile.glob(os.path.join(escaped, "*"))))
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(name + "/" * os.path.isdir(os.path.join(folder, name)) for name in names)


def file_size(path: str) -> int:
    """Size of the file in bytes."""
    return os.path.getsize(path) if is_local(path) else tf.io.gfile.stat(path).length


def read_start(path: str, length: int) -> bytes:
    """The first `length` bytes of the file, or all if it has fewer."""
    with open(path, "rb") if is_local(path) else tf.io.gfile.GFile(path, "rb") as file:
        return file.read(length)


def raw_paths(paths: Iterable[str]) -> list[bytes]:
    """The paths for TensorFlow's operations, which take any bytes."""
    return [os.fsencode(path) for path in paths]
