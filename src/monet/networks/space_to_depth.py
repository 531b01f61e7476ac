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

from monet.core.config import Config
from monet.machine.devices import device_kind

OUTERMOST = 4  # pixels a side of a tile of the image; each halving of the picture halves its tiles
LAST_LEVEL = 2  # of doubling in tiles: further in, four kernels would be more than the picture that need not be made
MOST_TOGETHER = 16  # pictures of a call: of 32 at once, a generator on a TPU moves a fifth more than of twice 16
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
def stencil(operation: Callable, tile: int) -> np.ndarray:
    """What `operation` does to tiles of `tile` pixels along one side, `[tap, place, in, out]`.

    The first three places are a tile's neighbour before it, itself, and the one after it, for every tile. If there are
    two more, they are what comes to that at the first and at the last tile, of these themselves.
    """
    matrix = operation(TILES * tile)
    taps, outs, _ = matrix.shape
    tiled = matrix.reshape(taps, TILES, outs // TILES, TILES, tile).transpose(0, 1, 3, 4, 2)
    inner = tiled[:, 1, :3]
    ends = np.stack([tiled[:, 0, 0], tiled[:, -1, -1]], 1) - inner[:, 1:2]
    return np.concatenate([inner, ends], 1) if ends.any() else inner


def folded_kernel(of_tiles: np.ndarray, kernel: tf.Tensor, parts: int) -> tf.Tensor:
    """The kernel for tiles and, in places of its own, for what is added at the borders.

    Args:
        of_tiles: a `stencil`.
        kernel: of the plain operation, `[tap, tap, channels, filters]`.
        parts: into which the channels fall that were folded each by itself.

    Returns:
        `[place, place, in * in * channels, out * out * filters]`: along rows and columns the places of the stencil.
    """
    *taps, channels, filters = kernel.shape
    split = tf.reshape(tf.cast(kernel, tf.float32), [*taps, parts, channels // parts, filters])
    many = tf.einsum("ktpq,lusv,klgio->tugpsiqvo", of_tiles, of_tiles, split)
    sizes = many.shape
    return tf.cast(tf.reshape(many, [*sizes[:2], np.prod(sizes[2:6]), np.prod(sizes[6:])]), kernel.dtype)


def ends_of(x: tf.Tensor, axis: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The first and the last of `x` along `axis`, 1 or 2."""
    return (x[:, :1], x[:, -1:]) if axis == 1 else (x[:, :, :1], x[:, :, -1:])


def spread(first: tf.Tensor, last: tf.Tensor, axis: int, length) -> tf.Tensor:
    """`first` and `last`, one along `axis`, as the ends of `length`; 0 between."""
    before, after = [[[0, 0]] * len(first.shape) for _ in range(2)]
    before[axis], after[axis] = [0, length - 1], [length - 1, 0]
    return tf.pad(first, before) + tf.pad(last, after)


def convolved(parts: list[tf.Tensor], kernel: tf.Tensor, operation: Callable, tile: int) -> tf.Tensor:
    """`operation` along both sides of pictures in tiles.

    Args:
        parts: `[batch, height, width, tile * tile * c]` each; joined, their channels are those of the picture. They are
            convolved apart: a part may stay on a TPU's chip where all of it could not.
        kernel: `[tap, tap, channels, filters]` in the number format to compute in.
        operation: `halving`, `transposed_halving`, `repeating` or `interpolating`.
        tile: pixels a side of a tile.

    Returns:
        `[batch, height, width, n * n * filters]`: the same tiles; n is twice `tile`, or half of it.
    """
    of_tiles = stencil(operation, tile)
    kernels = folded_kernel(of_tiles, kernel, len(parts))
    # Each use has a cast of its own, so that gradients are added up in the format of the picture.
    y = tf.add_n([tf.nn.conv2d(tf.cast(part, kernel.dtype), own, 1, "SAME")
                  for part, own in zip(parts, tf.split(kernels[:3, :3], len(parts), 2), strict=True)])
    if of_tiles.shape[1] == 3:
        return y
    strips = {axis: [tf.concat([tf.cast(end, kernel.dtype) for end in ends], -1)
                     for ends in zip(*(ends_of(part, axis) for part in parts), strict=True)] for axis in (1, 2)}
    rows = [tf.nn.conv2d(strip, own, 1, "SAME")
            for strip, own in zip(strips[1], tf.split(kernels[3:, :3], 2, 0), strict=True)]
    columns = [tf.nn.conv2d(strip, own, 1, "SAME")
               for strip, own in zip(strips[2], tf.split(kernels[:3, 3:], 2, 1), strict=True)]
    corners = tf.einsum("bhwc,hwco->bhwo", tf.concat(ends_of(tf.concat(strips[1], 1), 2), 2), kernels[3:, 3:])
    height, width = tf.shape(y)[1], tf.shape(y)[2]
    of_rows = [row + spread(*ends_of(own, 2), 2, width)
               for row, own in zip(rows, ends_of(corners, 1), strict=True)]
    return y + spread(*of_rows, 1, height) + spread(*columns, 2, width)


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


def shapes_of(input_shape) -> list:
    """The shapes of a layer's inputs, of which there may be one or several."""
    return list(input_shape) if isinstance(input_shape[0], (list, tuple, tf.TensorShape)) else [input_shape]


class FoldedConv2D(keras.layers.Layer):
    """A convolution that halves or doubles, of a folded picture to a folded one.

    Its weights are those of the plain layer in its place.

    Args:
        filters: channels of the result, unfolded.
        operation: `halving`, `transposed_halving`, `repeating` or `interpolating`.
        tile: pixels a side of the input's tiles.
        kernel_initializer: of the kernel.
        use_bias: whether it adds a bias.
        activation: by name, or None.
    """

    def __init__(self, filters: int, operation: Callable, tile: int, kernel_initializer,
                 use_bias: bool = True, activation: str | None = None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.filters, self.operation, self.tile = filters, operation, tile
        self.tile_out = tile // 2 if operation is halving else 2 * tile
        self.kernel_initializer, self.use_bias = kernel_initializer, use_bias
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        """Makes the weights."""
        channels = sum(shape[-1] for shape in shapes_of(input_shape)) // self.tile**2
        taps = 3 if self.operation is interpolating else 4
        # Keras's transposed convolution has them the other way round.
        ends = (self.filters, channels) if self.operation is transposed_halving else (channels, self.filters)
        self.kernel = self.add_weight(name="kernel", shape=(taps, taps, *ends), initializer=self.kernel_initializer)
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")
        self.built = True

    def call(self, inputs):
        """`[batch, h, w, tile * tile * c]`, or a list of such whose channels belong together, to
        `[batch, h, w, n * n * filters]`; n is twice `tile`, or half of it."""
        kernel, parts = self.kernel, inputs if isinstance(inputs, (list, tuple)) else [inputs]
        if self.operation is transposed_halving:
            kernel = tf.transpose(kernel, [0, 1, 3, 2])
        y = convolved(parts, tf.cast(kernel, self.compute_dtype), self.operation, self.tile)
        if self.use_bias:
            y += tf.tile(tf.cast(self.bias, y.dtype), [self.tile_out**2])
        return self.activation(y)

    def compute_output_shape(self, input_shape):
        """The shape of `inputs` with other channels."""
        return (*shapes_of(input_shape)[0][:3], self.tile_out**2 * self.filters)


class FoldedInstanceNorm(keras.layers.Layer):
    """Instance normalization of a folded picture: over all pixels of a channel, wherever in the tiles they are.

    The weights are those of the plain layer, and the options too. Mean and variance come of one pass over the picture,
    the variance as the mean of squares less the square of the mean, and gradients go back in two: what a TPU waits for
    is its memory. In float32 that is near 1e-4 of the plain layer's for a mean of 20 deviations, far less than bfloat16
    tells apart.
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
        """Of each channel: `[batch, c]`."""
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
