"""Convolutions of the outermost layers on pictures folded into channels ("space to depth"), as a TPU likes them.

A TPU keeps channels in lanes of 128: a picture of 3 channels takes forty times its bytes there, and one of 64 twice.
Folded, a tile of neighbouring pixels becomes one pixel with all their channels. A convolution of what is folded is
again a convolution, of 3x3 tiles, with a kernel whose numbers are those of the plain one, each in several places; so is
a convolution of a picture doubled bilinearly, which then need not be made.
"""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow import keras

from monet.accelerator import device_kind
from monet.config import Config

OUTERMOST = 4  # pixels a side of a tile of the image; each halving of the picture halves its tiles
LAST_LEVEL = 2  # of doubling in tiles: further in, four kernels would be more than the picture that need not be made
ENTRANCE, EXIT = "tiles", "pixels"  # names of the layers that fold what goes into a network, and unfold what comes out
TILES = 4  # enough for a first tile, a last one, and two that see neither border


def halving(pixels: int) -> np.ndarray:
    """Convolution with 4 taps and strides of 2, padded by zeros, along one side of so many pixels.

    Returns:
        Float32 `[tap, out, in]`: how much of each pixel goes into each of the result.
    """
    matrix = np.zeros([4, pixels // 2, pixels], np.float32)
    for tap in range(4):
        for out in range(pixels // 2):
            source = 2 * out - 1 + tap
            if 0 <= source < pixels:
                matrix[tap, out, source] = 1.0
    return matrix


def transposed_halving(pixels: int) -> np.ndarray:
    """The transposed convolution with 4 taps and strides of 2; as `halving` otherwise."""
    return halving(2 * pixels).transpose(0, 2, 1)


def repeating(pixels: int) -> np.ndarray:
    """Doubling by repeating each pixel, then a convolution with 4 taps, padded by zeros; as `halving` otherwise."""
    doubled = np.pad(np.repeat(np.eye(pixels, dtype=np.float32), 2, axis=0), [[1, 2], [0, 0]])
    return np.stack([doubled[tap:tap + 2 * pixels] for tap in range(4)])


def interpolating(pixels: int) -> np.ndarray:
    """Bilinear doubling (half-pixel centres; beyond the border its pixels repeat), then a convolution with 3 taps,
    padded by zeros; as `halving` otherwise."""
    sources = np.clip(np.arange(2 * pixels) / 2 - 0.25, 0, pixels - 1)
    shares = np.maximum(1 - np.abs(sources[:, None] - np.arange(pixels)), 0)
    padded = np.pad(shares, [[1, 1], [0, 0]])
    return np.stack([padded[tap:tap + 2 * pixels] for tap in range(3)]).astype(np.float32)


@functools.cache
def stencil(operation: Callable, tile: int) -> tuple[np.ndarray, np.ndarray]:
    """What `operation` does to tiles of `tile` pixels along one side.

    Returns:
        (of a tile and its two neighbours, for every tile, `[tap, neighbour, in, out]`; what comes to that at the first
        and the last tile, `[tap, end, in, out]`).
    """
    matrix = operation(TILES * tile)
    taps, outs, _ = matrix.shape
    tiled = matrix.reshape(taps, TILES, outs // TILES, TILES, tile).transpose(0, 1, 3, 4, 2)
    inner = tiled[:, 1, :3]
    ends = np.stack([tiled[:, 0, 0], tiled[:, -1, -1]], 1) - inner[:, 1:2]
    return inner, ends


def folded_kernel(rows: np.ndarray, columns: np.ndarray, kernel: tf.Tensor, parts: int) -> tf.Tensor:
    """The kernel `[tap, tap, channels, filters]` for tiles.

    Args:
        rows: of a `stencil`, `[tap, m, in, out]`.
        columns: the same, with n for m.
        kernel: of the plain operation.
        parts: into which the channels fall that were folded each by itself.

    Returns:
        `[m, n, in * in * channels, out * out * filters]`.
    """
    *taps, channels, filters = kernel.shape
    split = tf.reshape(tf.cast(kernel, tf.float32), [*taps, parts, channels // parts, filters])
    many = tf.einsum("ktpq,lusv,klgio->tugpsiqvo", rows, columns, split)
    sizes = many.shape
    return tf.cast(tf.reshape(many, [*sizes[:2], np.prod(sizes[2:6]), np.prod(sizes[6:])]), kernel.dtype)


def edges(x: tf.Tensor, axis: int) -> tf.Tensor:
    """The first and the last of `x` along `axis`, 1 or 2, `axis` being of two then."""
    ends = (x[:, :1], x[:, -1:]) if axis == 1 else (x[:, :, :1], x[:, :, -1:])
    return tf.concat(ends, axis)


def neighbours(x: tf.Tensor, axis: int) -> tf.Tensor:
    """`[…, channels]` to `[…, 3 * channels]`: what is before, at and after each along `axis`, 1 or 2; 0 beyond its
    ends."""
    around = [[0, 0]] * 4
    around[axis] = [1, 1]
    padded = tf.pad(x, around)
    shifted = (padded[:, :-2], padded[:, 2:]) if axis == 1 else (padded[:, :, :-2], padded[:, :, 2:])
    return tf.concat([shifted[0], x, shifted[1]], -1)


def spread(ends: tf.Tensor, axis: int, length) -> tf.Tensor:
    """`ends`, two along `axis`, as the first and the last of `length`, 0 between."""
    before, after = [[[0, 0]] * len(ends.shape) for _ in range(2)]
    before[axis], after[axis] = [0, length - 1], [length - 1, 0]
    first, last = tf.split(ends, 2, axis)
    return tf.pad(first, before) + tf.pad(last, after)


def convolved(x: tf.Tensor, kernel: tf.Tensor, operation: Callable, tile: int, parts: int = 1) -> tf.Tensor:
    """`operation` along both sides of pictures in tiles.

    Args:
        x: `[batch, height, width, tile * tile * channels]`.
        kernel: `[tap, tap, channels, filters]` in the number format to compute in.
        operation: `halving`, `transposed_halving` or `interpolating`.
        tile: pixels a side of a tile.
        parts: equal ones, that were folded each by itself and then joined to be the channels of `x`.

    Returns:
        `[batch, height, width, n * n * filters]`: the same tiles; n is twice `tile`, or half of it.
    """
    inner, ends = stencil(operation, tile)
    # Each use has a cast of its own, so that gradients are added up in the format of `x`.
    y = tf.nn.conv2d(tf.cast(x, kernel.dtype), folded_kernel(inner, inner, kernel, parts), 1, "SAME")
    if not ends.any():
        return y
    height, width = tf.shape(x)[1], tf.shape(x)[2]
    by_row, by_column, by_corner = (folded_kernel(*pair, kernel, parts)
                                    for pair in ((ends, inner), (inner, ends), (ends, ends)))
    of_rows, of_columns = (tf.cast(edges(x, axis), kernel.dtype) for axis in (1, 2))
    rows = tf.einsum("bewc,eco->bewo", neighbours(of_rows, 2), tf.reshape(by_row, [2, -1, y.shape[-1]]))
    columns = tf.einsum("bhec,eco->bheo", neighbours(of_columns, 1),
                        tf.reshape(tf.transpose(by_column, [1, 0, 2, 3]), [2, -1, y.shape[-1]]))
    corners = tf.einsum("bhwc,hwco->bhwo", edges(of_rows, 2), by_corner)
    return y + spread(rows + spread(corners, 2, width), 1, height) + spread(columns, 2, width)


def fold(pictures: tf.Tensor, tile: int) -> tf.Tensor:
    """`[batch, h, w, c]` to `[batch, h / tile, w / tile, tile * tile * c]`: tiles of pixels become pixels."""
    return tf.nn.space_to_depth(pictures, tile) if tile > 1 else pictures


def unfold(tiles: tf.Tensor, tile: int) -> tf.Tensor:
    """The reverse of `fold`."""
    return tf.nn.depth_to_space(tiles, tile) if tile > 1 else tiles


class Folded(keras.layers.Layer):
    """`fold` as a layer."""

    def __init__(self, tile: int, **kwargs):
        super().__init__(**kwargs)
        self.tile = tile

    def call(self, inputs):
        """`[batch, h, w, c]` to `[batch, h / tile, w / tile, tile * tile * c]`."""
        return fold(inputs, self.tile)

    def compute_output_shape(self, input_shape):
        """The shape of `inputs`, folded."""
        sides = [side and side // self.tile for side in input_shape[1:3]]
        return (input_shape[0], *sides, self.tile**2 * input_shape[3])


class Unfolded(keras.layers.Layer):
    """`unfold` as a layer."""

    def __init__(self, tile: int, **kwargs):
        super().__init__(**kwargs)
        self.tile = tile

    def call(self, inputs):
        """`[batch, h, w, tile * tile * c]` to `[batch, tile * h, tile * w, c]`."""
        return unfold(inputs, self.tile)

    def compute_output_shape(self, input_shape):
        """The shape of `inputs`, unfolded."""
        sides = [side and side * self.tile for side in input_shape[1:3]]
        return (input_shape[0], *sides, input_shape[3] // self.tile**2)


def entered(image, tile: int):
    """What a network's first layer sees of its input: the image in tiles, or as it is if these are of 1 pixel."""
    return Folded(tile, name=ENTRANCE)(image) if tile > 1 else image


def left(x, tile: int):
    """A network's output, from the tiles that `entered` made."""
    return Unfolded(tile, name=EXIT, dtype="float32")(x) if tile > 1 else x


def inner_ends(network: keras.Model) -> tuple[list, list]:
    """The symbolic inputs and outputs of `network` without what it folds and unfolds: the pictures in tiles."""
    names = {layer.name for layer in network.layers}
    image, *others = network.inputs
    return ([network.get_layer(ENTRANCE).output if ENTRANCE in names else image, *others],
            [network.get_layer(EXIT).input] if EXIT in names else network.outputs)


class FoldedConv2D(keras.layers.Layer):
    """A convolution that halves or doubles, of a folded picture to a folded one.

    Its weights are those of the plain layer in its place.

    Args:
        filters: channels of the result, unfolded.
        operation: `halving`, `transposed_halving`, `repeating` or `interpolating`.
        tile: pixels a side of the input's tiles.
        parts: equal ones, that the input was joined of when they were folded already.
        kernel_initializer: of the kernel.
        use_bias: whether it adds a bias.
        activation: by name, or None.
    """

    def __init__(self, filters: int, operation: Callable, tile: int, parts: int, kernel_initializer,
                 use_bias: bool = True, activation: str | None = None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.filters, self.operation, self.tile, self.parts = filters, operation, tile, parts
        self.tile_out = tile // 2 if operation is halving else 2 * tile
        self.kernel_initializer, self.use_bias = kernel_initializer, use_bias
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        """Makes the weights."""
        taps, channels = 3 if self.operation is interpolating else 4, input_shape[-1] // self.tile**2
        # Keras's transposed convolution has them the other way round.
        ends = (self.filters, channels) if self.operation is transposed_halving else (channels, self.filters)
        self.kernel = self.add_weight(name="kernel", shape=(taps, taps, *ends), initializer=self.kernel_initializer)
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")
        self.built = True

    def call(self, inputs):
        """`[batch, h, w, tile * tile * c]` to `[batch, h, w, n * n * filters]`; n is twice `tile`, or half of it."""
        kernel = self.kernel
        if self.operation is transposed_halving:
            kernel = tf.transpose(kernel, [0, 1, 3, 2])
        y = convolved(inputs, tf.cast(kernel, self.compute_dtype), self.operation, self.tile, self.parts)
        if self.use_bias:
            y += tf.tile(tf.cast(self.bias, y.dtype), [self.tile_out**2])
        return self.activation(y)

    def compute_output_shape(self, input_shape):
        """The shape of `inputs` with other channels."""
        return (*input_shape[:3], self.tile_out**2 * self.filters)


class FoldedInstanceNorm(keras.layers.Layer):
    """Instance normalization of a folded picture: over all pixels of a channel, wherever in the tiles they are.

    The weights are those of the plain layer, and the options too.
    """

    def __init__(self, tile: int, epsilon: float, center: bool, scale: bool, gamma_initializer, **kwargs):
        super().__init__(**kwargs)
        self.tile, self.epsilon, self.center, self.scale = tile, epsilon, center, scale
        self.gamma_initializer = gamma_initializer

    def build(self, input_shape):
        """Makes the weights."""
        shape = (input_shape[-1] // self.tile**2,)
        if self.scale:
            self.gamma = self.add_weight(name="gamma", shape=shape, initializer=self.gamma_initializer)
        if self.center:
            self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros")
        self.built = True

    def mean(self, x):
        """Of each channel, for each of its places in a tile: `[batch, 1, 1, tile * tile * c]`."""
        places = tf.reduce_mean(x, [1, 2])
        one = tf.reduce_mean(tf.reshape(places, [-1, self.tile**2, x.shape[-1] // self.tile**2]), 1)
        return tf.tile(one, [1, self.tile**2])[:, None, None]

    def call(self, inputs):
        """`inputs` `[batch, h, w, tile * tile * c]`, normalized."""
        centred = inputs - self.mean(inputs)
        factor = tf.math.rsqrt(self.mean(tf.square(centred)) + self.epsilon)
        if self.scale:
            factor *= tf.tile(self.gamma, [self.tile**2])
        y = centred * factor
        return y + tf.tile(self.beta, [self.tile**2]) if self.center else y

    def compute_output_shape(self, input_shape):
        """The shape of `inputs`."""
        return input_shape


def image_tile(config: Config) -> int:
    """Pixels a side of the tiles in which the networks take the image: 1 where nothing is folded.

    Batch normalization does not fold; nor does CUT, which looks at single pixels of the outermost layers.
    """
    able = (config.norm == "instance" and config.system == "cyclegan" and config.generator != "resnet"
            and min(config.generator_levels, config.discriminator_levels) > 1)
    asked = config.space_to_depth == "on" or (
        config.space_to_depth == "auto" and device_kind(tf.distribute.get_strategy()) == "TPU")
    return OUTERMOST if able and asked else 1


def tiles_by_level(config: Config, levels: int) -> list[int]:
    """Pixels a side of the tiles in the image, and after each of `levels` halvings."""
    return [max(image_tile(config) // 2**level, 1) for level in range(levels + 1)]


def doubling_tile(config: Config, level: int) -> int:
    """Pixels a side of the tiles that a picture doubled to `level` is computed in; 0: it is doubled as it is.

    Transposed convolutions make no doubled picture, so that they gain by it only where the result stays in tiles.
    """
    tile = tiles_by_level(config, level)[-1]
    last = LAST_LEVEL - 1 if config.upsample == "transpose" else LAST_LEVEL
    return tile if image_tile(config) > 1 and level <= last else 0
