"""The layers that networks are built from: instance normalization, dropout without hidden state, down and up blocks."""

import warnings

import tensorflow as tf
from tensorflow import keras

from monet.config import Config, pick

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it announces its end of life, and that TensorFlow 2.15 is newer than it knows
        import tensorflow_addons as tfa
except ImportError:  # Python 3.12 and later, and Kaggle's images since 2024
    tfa = None

NORM_EPSILON = 1e-3  # the default of tensorflow-addons and of Keras, which the tutorials kept


def normal_initializer(stddev: float = 0.02, mean: float = 0.0) -> keras.initializers.Initializer:
    """N(mean, stddev), which the CycleGAN paper draws every kernel from with its defaults."""
    return keras.initializers.RandomNormal(mean=mean, stddev=stddev)


def addons_instance_norm(gamma_initializer, name: str) -> keras.layers.Layer:
    """Instance normalization by tensorflow-addons."""
    return tfa.layers.InstanceNormalization(
        epsilon=NORM_EPSILON, gamma_initializer=gamma_initializer, name=name, dtype="float32")


def keras_instance_norm(gamma_initializer, name: str) -> keras.layers.Layer:
    """Instance normalization as Keras's group normalization with one channel a group: the same numbers."""
    return keras.layers.GroupNormalization(
        groups=-1, epsilon=NORM_EPSILON, gamma_initializer=gamma_initializer, name=name, dtype="float32")


# The one place that decides between them.
instance_norm = keras_instance_norm if tfa is None else addons_instance_norm

NORMS = {"instance": instance_norm}


def norm_layer(config: Config, name: str) -> keras.layers.Layer:
    """The normalization layer that the config names; it computes in float32 under every precision.

    Raises:
        UserError: for an unknown `config.norm`.
    """
    return pick(NORMS, config.norm, "norm")(normal_initializer(config.gamma_stddev, config.gamma_mean), name)


class SeededDropout(keras.layers.Layer):
    """Dropout whose mask follows from a seed that comes with the images.

    Keras's own layer draws from a hidden generator, which two versions of Keras keep differently; with a seed from
    (run, step, replica) a resumed run repeats the masks of one that never stopped.

    Args:
        rate: share of the values set to 0; the others are scaled by 1 / (1 - rate).
        salt: tells this layer's mask from that of other layers with the same seed.
    """

    def __init__(self, rate: float, salt: int, **kwargs):
        super().__init__(**kwargs)
        self.rate, self.salt = rate, salt

    def call(self, inputs, seed=None, training=False):
        """`inputs` `[batch, height, width, channels]` with values dropped if `training`; `seed` is int32 `[2]`."""
        if not training or self.rate == 0.0:
            return inputs
        own_seed = tf.random.experimental.stateless_fold_in(seed, self.salt)
        kept = tf.random.stateless_uniform(tf.shape(inputs), own_seed) >= self.rate
        return tf.where(kept, inputs / (1.0 - self.rate), tf.zeros_like(inputs))

    def compute_output_shape(self, input_shape, *_):
        """The shape of `inputs`."""
        return input_shape


def down_block(x, filters: int, config: Config, name: str, normalize: bool = True):
    """Halves `[batch, h, w, c]` to `[batch, h/2, w/2, filters]`: 4x4 convolution, normalization, leaky ReLU (0.3)."""
    x = keras.layers.Conv2D(filters, 4, strides=2, padding="same", use_bias=False,
                            kernel_initializer=normal_initializer(), name=f"{name}_conv")(x)
    if normalize:
        x = norm_layer(config, f"{name}_norm")(x)
    return keras.layers.LeakyReLU(0.3, name=f"{name}_relu")(x)


def doubled(x, filters: int, config: Config, name: str, **conv):
    """`[batch, h, w, c]` to `[batch, 2h, 2w, filters]` by transposed convolution, or by resizing and convolving."""
    kernel = {"kernel_initializer": normal_initializer(), "name": f"{name}_conv", "padding": "same", **conv}
    if config.upsample == "transpose":
        return keras.layers.Conv2DTranspose(filters, 4, strides=2, **kernel)(x)
    x = keras.layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_resize")(x)
    return keras.layers.Conv2D(filters, 3, **kernel)(x)


def up_block(x, filters: int, config: Config, name: str):
    """Doubles `[batch, h, w, c]` to `[batch, 2h, 2w, filters]`: `doubled`, then normalization."""
    x = doubled(x, filters, config, name, use_bias=False)
    return norm_layer(config, f"{name}_norm")(x)
