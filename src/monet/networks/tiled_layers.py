"""Layers for pictures in tiles: see `monet.networks.space_to_depth`."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
from tensorflow import keras

from monet.core.config import Config, look_up
from monet.networks.space_to_depth import (
    bilinear_taps,
    convolve_tiles,
    strided_taps,
    tile_size,
    to_pixels,
    to_tiles,
    transposed_taps,
)

ENTRANCE, EXIT = "tiles", "pixels"  # names of the layers from pixels to tiles and back


def enter_tiles(image, tile: int):
    """The image in tiles, for a network's first layer; as it is if `tile` is 1."""
    return keras.layers.Lambda(to_tiles, arguments={"tile": tile}, name=ENTRANCE)(image) if tile > 1 else image


def leave_tiles(x, tile: int):
    """A network's output in pixels."""
    options = {"arguments": {"tile": tile}, "name": EXIT, "dtype": "float32"}
    return keras.layers.Lambda(to_pixels, **options)(x) if tile > 1 else x


def tiled_ends(network: keras.Model) -> tuple[list, list]:
    """The symbolic inputs and outputs of `network` inside its tiles; its own if it has none."""
    names = {layer.name for layer in network.layers}
    image, *others = network.inputs
    return ([network.get_layer(ENTRANCE).output if ENTRANCE in names else image, *others],
            [network.get_layer(EXIT).input] if EXIT in names else network.outputs)


def shapes_of(input_shape) -> list:
    """The shapes of a layer's input or inputs, as a list."""
    return list(input_shape) if isinstance(input_shape[0], (list, tuple, tf.TensorShape)) else [input_shape]


class TiledConv2D(keras.layers.Layer):
    """A convolution that halves or doubles a picture in tiles. Its weights are those of the plain layer.

    Args:
        filters: channels of the result, in pixels.
        taps_of: `strided_taps`, `transposed_taps`, `nearest_taps` or `bilinear_taps`.
        tile: pixels a side of the input's tiles.
        kernel_initializer: for the kernel.
        use_bias: add a bias.
        activation: its name, or None.
    """

    def __init__(self, filters: int, taps_of: Callable, tile: int, kernel_initializer,
                 use_bias: bool = True, activation: str | None = None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.filters, self.taps_of, self.tile = filters, taps_of, tile
        self.tile_out = tile // 2 if taps_of is strided_taps else 2 * tile
        self.kernel_initializer, self.use_bias = kernel_initializer, use_bias
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        """Creates the weights."""
        channels = sum(shape[-1] for shape in shapes_of(input_shape)) // self.tile**2
        taps = 3 if self.taps_of is bilinear_taps else 4
        # Keras's transposed convolution has these two in the other order.
        ends = (self.filters, channels) if self.taps_of is transposed_taps else (channels, self.filters)
        self.kernel = self.add_weight(name="kernel", shape=(taps, taps, *ends), initializer=self.kernel_initializer)
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")
        self.built = True

    def call(self, inputs):
        """`[batch, h, w, tile * tile * c]`, or a list of them that share a picture's channels, to
        `[batch, h, w, n * n * filters]`, where n is twice or half of `tile`."""
        kernel, parts = self.kernel, inputs if isinstance(inputs, (list, tuple)) else [inputs]
        if self.taps_of is transposed_taps:
            kernel = tf.transpose(kernel, [0, 1, 3, 2])
        y = convolve_tiles(parts, tf.cast(kernel, self.compute_dtype), self.taps_of, self.tile)
        if self.use_bias:
            y += tf.tile(tf.cast(self.bias, y.dtype), [self.tile_out**2])
        return self.activation(y)


class TiledInstanceNorm(keras.layers.Layer):
    """Instance normalization of a picture in tiles, over all pixels of a channel. Weights and options are those of the
    plain layer.

    Mean and variance come from one pass over the picture, the variance as the mean of squares minus the square of the
    mean, and the gradients from two: memory limits a TPU. In float32, at a mean of 20 standard deviations, the
    result is within 2e-3 of the plain layer's, which bfloat16 cannot tell apart.
    """

    def __init__(self, tile: int, epsilon: float, center: bool, scale: bool, gamma_initializer, **kwargs):
        super().__init__(**kwargs)
        self.tile, self.epsilon, self.center, self.scale = tile, epsilon, center, scale
        self.gamma_initializer = gamma_initializer

    def build(self, input_shape):
        """Creates the weights."""
        shape = (input_shape[-1] // self.tile**2,)
        if self.scale:
            self.gamma = self.add_weight(name="gamma", shape=shape, initializer=self.gamma_initializer)
        if self.center:
            self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros")
        self.built = True

    def mean(self, x):
        """The mean of each channel, `[batch, c]`."""
        places = tf.split(tf.reduce_mean(x, [1, 2]), self.tile**2, -1)
        return tf.add_n(places) / len(places)

    def call(self, inputs):
        """`inputs` `[batch, h, w, tile * tile * c]`, normalized."""
        mean = self.mean(inputs)
        factor = tf.math.rsqrt(tf.nn.relu(self.mean(tf.square(inputs)) - tf.square(mean)) + self.epsilon)
        if self.scale:
            factor *= self.gamma
        shift = -mean * factor
        if self.center:
            shift += self.beta
        factor, shift = (tf.concat([part] * self.tile**2, -1)[:, None, None] for part in (factor, shift))
        return inputs * factor + shift


class TiledLayers(NamedTuple):
    """The layers that networks are built from where pictures are in tiles."""

    conv: Callable
    norm: Callable


TILED_LAYERS = {False: None, True: TiledLayers(TiledConv2D, TiledInstanceNorm)}  # by whether any picture is in tiles


def tiled_layers(config: Config) -> TiledLayers | None:
    """The layers for the config's tiles; None if it has none."""
    return look_up(TILED_LAYERS, tile_size(config) > 1, "space_to_depth")
