"""Keras 2 (TensorFlow 2.15) and Keras 3 (TensorFlow 2.16 and later): the one module that knows them apart."""

import warnings

import tensorflow as tf
from tensorflow import keras

from monet.core.errors import UserError

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it announces its end of life, and that TensorFlow 2.15 is newer than it knows
        import tensorflow_addons as tfa
except ImportError:  # Python 3.12 and later, and Kaggle's images since 2024
    tfa = None


def addons_instance_norm(**options) -> keras.layers.Layer:
    """Instance normalization by tensorflow-addons."""
    return tfa.layers.InstanceNormalization(**options)


def keras_instance_norm(**options) -> keras.layers.Layer:
    """Instance normalization as group normalization with one channel a group, which computes the same numbers."""
    return keras.layers.GroupNormalization(groups=-1, **options)


def reset_keras() -> None:
    """Undoes what other cells of a notebook changed in Keras, before networks are built.

    `set_variables` in core/process.py keeps out what is set elsewhere, if Keras is imported after it.

    Raises:
        UserError: if Keras does not compute with TensorFlow, which cannot be changed after its import.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError(f"Keras was imported with the backend {keras.backend.backend()} before this code ran. Restart "
                        "the session and run these cells before any that imports Keras.")
    keras.backend.set_image_data_format("channels_last")
    keras.backend.set_floatx("float32")
    keras.backend.set_epsilon(1e-7)


instance_norm = keras_instance_norm if tfa is None else addons_instance_norm


def tf_variable(variable) -> tf.Variable:
    """The tf.Variable itself; Keras 3 wraps it in a class of its own."""
    return variable if isinstance(variable, tf.Variable) else variable.value


def weight_names(network: keras.Model) -> dict:
    """The network's variables by name, `layer/weight`, the same under both versions."""
    return {f"{layer.name}/{variable.name.split('/')[-1].split(':')[0]}": variable
            for layer in network.layers for variable in layer.weights}


def adam_slots(optimizer: keras.optimizers.Optimizer) -> tuple[list, list]:
    """Adam's first and second moments, each in the order of the variables that it was built with."""
    return optimizer._momentums, optimizer._velocities  # private, but the same in both versions


def slot_index(optimizer: keras.optimizers.Optimizer, variable) -> int:
    """The variable's place in `adam_slots`."""
    keras_3 = hasattr(optimizer, "_trainable_variables_indices")
    places = optimizer._trainable_variables_indices if keras_3 else optimizer._index_dict
    return places[optimizer._var_key(variable)]


def averaged_variables(optimizer: keras.optimizers.Optimizer) -> list:
    """The moving averages that the optimizer keeps, in the order of its variables; empty if it keeps none."""
    return optimizer._model_variables_moving_average if optimizer.use_ema else []
