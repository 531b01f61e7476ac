"""Variables as arrays: read from devices, assigned, exported."""

import numpy as np
import tensorflow as tf
from tensorflow import keras

from monet.core.array_files import write_arrays
from monet.core.errors import UserError
from monet.core.keras_compat import weight_names


def value_of(variable) -> np.ndarray:
    """The variable's value on the host."""
    return np.asarray(tf.convert_to_tensor(variable))


class LazyArray:
    """A variable that becomes an array only when it is written, so that memory never holds a copy of all."""

    def __init__(self, variable):
        self.variable = variable

    def __array__(self, dtype=None, copy=None):
        return value_of(self.variable)


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
