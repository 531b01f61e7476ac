"""The layers and blocks that networks are built from."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
from tensorflow import keras

from monet.core.config import Config, look_up
from monet.core.keras_compat import instance_norm
from monet.core.random_numbers import uniform
from monet.networks.space_to_depth import bilinear_taps, nearest_taps, strided_taps, to_pixels, transposed_taps
from monet.networks.tiled_layers import tiled_layers

BATCH_MOMENTUM = 0.9  # of the statistics used for painting; Keras's 0.99 would lag behind in a run of minutes


def normal_initializer(stddev: float = 0.02, mean: float = 0.0) -> keras.initializers.Initializer:
    """N(mean, stddev); the CycleGAN paper draws every kernel from the default."""
    return keras.initializers.RandomNormal(mean=mean, stddev=stddev)


def batch_norm(**options) -> keras.layers.Layer:
    """Batch normalization over the images of one device. With several devices, Keras 3 keeps the first one's statistics
    and Keras 2 their mean."""
    return keras.layers.BatchNormalization(momentum=BATCH_MOMENTUM, **options)


NORMS = {"instance": instance_norm, "batch": batch_norm}


def norm_layer(config: Config, name: str, tile: int = 1, make: Callable | None = None) -> keras.layers.Layer:
    """The normalization layer that the config names. It computes in float32 under every precision.

    Args:
        config: gives its kind and settings.
        name: the layer's name.
        tile: pixels a side of the input's tiles; 0 or 1 without tiles.
        make: makes the layer; None: as `config.norm` says.

    Raises:
        UserError: for an unknown `config.norm`.
    """
    options = {"epsilon": config.norm_epsilon, "center": config.norm_affine, "scale": config.norm_affine,
               "gamma_initializer": normal_initializer(config.gamma_stddev, config.gamma_mean), "name": name,
               "dtype": "float32"}
    if tiled := tiled_layers(config):
        return tiled.norm(max(tile, 1), **options)
    return (make or look_up(NORMS, config.norm, "norm"))(**options)


class SeededDropout(keras.layers.Layer):
    """Dropout whose mask follows from a seed that is passed in with the images.

    Keras's own layer draws from a hidden generator, which the two versions of Keras store differently. With a seed from
    (run, step, replica) a resumed run repeats the masks of an unbroken one.

    Args:
        rate: share of the values set to 0; the others are scaled by 1 / (1 - rate).
        salt: distinguishes this layer's mask from that of other layers with the same seed.
    """

    def __init__(self, rate: float, salt: int, **kwargs):
        super().__init__(**kwargs)
        self.rate, self.salt = rate, salt

    def call(self, inputs, seed=None, training=False):
        """`inputs` `[batch, height, width, channels]` with values dropped if `training`; `seed` is int32 `[2]`."""
        if not training or self.rate == 0.0:
            return inputs
        own_seed = tf.add(tf.ensure_shape(seed, [2]), [0, self.salt])  # adjacent Philox keys are independent
        kept = uniform(tf.shape(inputs), own_seed) >= self.rate
        return tf.where(kept, inputs / (1.0 - self.rate), tf.zeros_like(inputs))


def reflected(x: tf.Tensor, margin: int) -> tf.Tensor:
    """Pads `[batch, h, w, c]` with its mirror image, `margin` pixels on each side, so there is no border to learn
    (paper). Height and width exceed the margin."""
    around = [margin, margin]
    return tf.pad(x, [[0, 0], around, around, [0, 0]], "REFLECT")


def repeat_pixels(x: tf.Tensor) -> tf.Tensor:
    """Doubles height and width by repeating each pixel: `[batch, h, w, c]` to `[batch, 2h, 2w, c]`.

    Keras's UpSampling2D does the same, but TensorFlow's XLA cannot compile its gradient.
    """
    return tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2)


def interpolate_pixels(x: tf.Tensor) -> tf.Tensor:
    """Doubles height and width by bilinear interpolation, as products with two matrices; border pixels repeat.

    Keras's UpSampling2D computes the same and is faster on a CPU. But its TensorFlow operation computes in float32
    whatever its input is, so its gradient does not compile for a TPU in bfloat16, and it stores twice the bytes.
    """
    def shares(size):
        sources = tf.cast(tf.range(2 * size), tf.float32) / 2 - 0.25
        sources = tf.clip_by_value(sources, 0.0, tf.cast(size - 1, tf.float32))
        pixels = tf.cast(tf.range(size), tf.float32)
        return tf.cast(tf.nn.relu(1.0 - tf.abs(sources[:, None] - pixels)), x.dtype)

    rows = tf.einsum("ih,bhwc->biwc", shares(tf.shape(x)[1]), x)
    return tf.einsum("jw,biwc->bijc", shares(tf.shape(x)[2]), rows)


def leaky_relu(leak: float, name: str) -> keras.layers.Layer:
    """ReLU with a slope of `leak` below zero."""
    return keras.layers.LeakyReLU(leak, name=name) if leak else keras.layers.ReLU(name=name)


class Halving(NamedTuple):
    """What halves height and width.

    Attributes:
        conv: makes the convolution.
        norm: makes the layer that normalizes its output; None: the convolution has a bias, and no such layer follows.
    """

    conv: Callable
    norm: Callable | None


def down_block(x, filters: int, config: Config, name: str, leak: float, normalize: bool = True, tile: int = 1,
               halving: Halving | None = None):
    """Halves `[batch, h, w, c]` to `[batch, h/2, w/2, filters]`: 4x4 convolution, normalization, leaky ReLU.

    With a `tile` over 1, `x` is in tiles of that size, and the result in tiles of half of it. Without `halving`, the
    convolution is plain and the normalization the config's.
    """
    conv, norm = halving or Halving(keras.layers.Conv2D, look_up(NORMS, config.norm, "norm"))
    options = {"use_bias": norm is None, "kernel_initializer": normal_initializer(), "name": f"{name}_conv"}
    if tile > 1:
        x = tiled_layers(config).conv(filters, strided_taps, tile, **options)(x)
    else:
        x = conv(filters, 4, strides=2, padding="same", **options)(x)
    if normalize and norm:
        x = norm_layer(config, f"{name}_norm", tile // 2, norm)(x)
    return leaky_relu(leak, f"{name}_relu")(x)


class Doubling(NamedTuple):
    """A way of doubling height and width.

    Attributes:
        in_pixels: from (picture, filters, kernel size, config, prefix of names, options of the convolution).
        taps: the same in tiles.
    """

    in_pixels: Callable
    taps: Callable


def transposed(x, filters: int, kernel_size: int, config: Config, prefix: str, **conv):
    """A transposed convolution, the only one that chooses its `kernel_size`."""
    return keras.layers.Conv2DTranspose(filters, kernel_size, strides=2, **conv)(x)


def bilinear(config: Config, name: str) -> keras.layers.Layer:
    """The layer that doubles bilinearly: the faster of two for the device that `config.precision` is meant for."""
    if config.precision == "bfloat16":
        return keras.layers.Lambda(interpolate_pixels, name=name)
    return keras.layers.UpSampling2D(2, interpolation="bilinear", name=name)


def interpolated(x, filters: int, kernel_size: int, config: Config, prefix: str, **conv):
    """Bilinear doubling and a convolution."""
    return keras.layers.Conv2D(filters, 3, **conv)(bilinear(config, f"{prefix}_resize")(x))


def repeated(x, filters: int, kernel_size: int, config: Config, prefix: str, **conv):
    """Repeated pixels, and a convolution."""
    return keras.layers.Conv2D(filters, 4, **conv)(keras.layers.Lambda(repeat_pixels, name=f"{prefix}_resize")(x))


DOUBLINGS = {"transpose": Doubling(transposed, transposed_taps),
             "resize": Doubling(interpolated, bilinear_taps),
             "nearest": Doubling(repeated, nearest_taps)}


def doubled(parts: list, filters: int, config: Config, name: str, kernel_size: int = 4, tile: int = 0, **conv):
    """Doubles `parts`, joined to `[batch, h, w, c]`, to `[batch, 2h, 2w, filters]` as `config.upsample` says.

    Args:
        parts: tensors whose channels are joined.
        filters: channels of the result.
        config: gives `upsample`.
        name: prefix of the layers' names.
        kernel_size: of the transposed convolution.
        tile: pixels a side of the result's tiles; those of the parts are half of it. 0: no tiles.
        **conv: options of the convolution.
    """
    way = look_up(DOUBLINGS, config.upsample, "upsample")
    options = {"kernel_initializer": normal_initializer(), "name": f"{name}_conv", **conv}
    if tile:
        x = tiled_layers(config).conv(filters, way.taps, max(tile // 2, 1), **options)(parts)
        return x if tile > 1 else keras.layers.Lambda(to_pixels, arguments={"tile": 2}, name=f"{name}_pixels")(x)
    x = keras.layers.Concatenate(name=f"{name}_skip")(parts) if len(parts) > 1 else parts[0]
    return way.in_pixels(x, filters, kernel_size, config, name, padding="same", **options)


def up_block(parts: list, filters: int, config: Config, name: str, kernel_size: int = 4, tile: int = 0):
    """Doubles `[batch, h, w, c]` to `[batch, 2h, 2w, filters]`: `doubled`, then normalization."""
    x = doubled(parts, filters, config, name, kernel_size, tile, use_bias=False)
    return norm_layer(config, f"{name}_norm", tile)(x)


def reflected_conv(x, filters: int, kernel_size: int, name: str, **conv):
    """A convolution padded by reflection: `[batch, h, w, c]` to `[batch, h, w, filters]`.

    Height and width must exceed half the kernel's size.
    """
    if kernel_size > 1:
        x = keras.layers.Lambda(reflected, arguments={"margin": kernel_size // 2}, name=f"{name}_pad")(x)
    return keras.layers.Conv2D(filters, kernel_size, kernel_initializer=normal_initializer(), name=f"{name}_conv",
                               **conv)(x)


def residual_block(x, kernel_sizes: tuple[int, ...], config: Config, name: str):
    """Adds to `x` a chain of convolutions of it, each normalized, all but the last with ReLU."""
    before = x
    for part, kernel_size in enumerate(kernel_sizes, start=1):
        x = reflected_conv(x, before.shape[-1], kernel_size, f"{name}_{part}", use_bias=False)
        x = norm_layer(config, f"{name}_{part}_norm")(x)
        if part < len(kernel_sizes):
            x = keras.layers.ReLU(name=f"{name}_{part}_relu")(x)
    return keras.layers.Add(name=name)([before, x])


WIDEST = 8  # a network's widest layer has this many times the filters of its first (tutorial: 512 to 64)


def width(filters: int, level: int) -> int:
    """Filters at `level`, 0 for a network's first layer: doubled at each level up to `WIDEST` times the first's."""
    return min(2**level, WIDEST) * filters
