"""Files of named arrays: checkpoints, exported generators. A file is complete or absent.

They are .npz files: zips of .npy arrays, each with a checksum.
"""

import zipfile
import zlib
from collections.abc import Iterable

import numpy as np
import tensorflow as tf
from tensorflow import keras

from monet.core.errors import UserError
from monet.core.files import atomic_write
from monet.core.keras_compat import weight_names

UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)


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


def value_of(variable) -> np.ndarray:
    """The variable's value on the host."""
    return np.asarray(tf.convert_to_tensor(variable))


class LazyArray:
    """A variable that becomes an array only when it is written, so that memory never holds a copy of all."""

    def __init__(self, variable):
        self.variable = variable

    def __array__(self, dtype=None, copy=None):
        return value_of(self.variable)


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
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read_arrays(path: str, prefix: str = "") -> dict[str, np.ndarray]:
    """The arrays of an .npz file whose names begin with `prefix`, by the rest of the name.

    Raises:
        One of `UNREADABLE` if the file is damaged: every array's checksum is compared.
    """
    with np.load(path, allow_pickle=False) as file:
        return {name.removeprefix(prefix): file[name] for name in file.files if name.startswith(prefix)}


def assign_arrays(variables: dict, arrays: dict[str, np.ndarray], source: str) -> None:
    """Assigns to each of `variables` the array of the same name.

    Raises:
        UserError: naming the first array that is missing, extra, or of another shape; nothing is assigned then.
    """
    for name in [*variables, *arrays]:
        expected = tuple(variables[name].shape) if name in variables else "none"
        found = arrays[name].shape if name in arrays else "none"
        if expected != found:
            raise UserError(f"{source} does not fit the network: array {name!r} has shape {found}, expected "
                            f"{expected}. Give the settings that it was made with (--config with its config.json).")
    for name, variable in variables.items():
        variable.assign(arrays[name])


def export_network(network: keras.Model, path: str) -> None:
    """Writes the network's weights to `path` as an .npz file of arrays named `layer/weight`."""
    write_arrays(path, ((name, value_of(variable)) for name, variable in weight_names(network).items()))
