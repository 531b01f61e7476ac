"""Space to depth: pictures folded into channels for the outermost layers, which suits a TPU.

A TPU keeps channels in lanes of 128, so a picture of 3 channels takes forty times its bytes there, and one of 64 twice.
In tiles, a square of neighbouring pixels becomes one pixel with all their channels. A convolution of tiles is again a
convolution, of 3x3 tiles, whose kernel holds the numbers of the plain one, each in several places. The same holds for
a convolution of a bilinearly doubled picture, which then need not be made.

Along one side, with tiles of 2 pixels, a 4-tap convolution with strides of 2 looks like this. Output pixel o is
k0 p[2o-1] + k1 p[2o] + k2 p[2o+1] + k3 p[2o+2]. Tile t holds p[2t] and p[2t+1]; so output tile t (here of 1 pixel) is
tile t-1 times (0, k0), plus tile t times (k1, k2), plus tile t+1 times (k3, 0): a 3-tap convolution of tiles.

The gain is a count by the TPU's compiler, not a measurement: the gradients of `tpu` at 4 pairs per core take 1.1 GiB
instead of 2.2 (tools/README.md). It is off on CPUs and GPUs.
"""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from monet.core.config import Config

OUTERMOST = 4  # pixels a side of a tile of the image; each halving of the picture halves its tiles
LAST_LEVEL = 2  # of doubling in tiles: further in, four kernels would be larger than the picture that they save
SAMPLE_TILES = 4  # enough for a first tile, a last one, and two that see neither border


def strided_taps(pixels: int) -> np.ndarray:
    """Convolution with 4 taps and strides of 2, padded by zeros, along one side of `pixels` pixels.

    Returns:
        Float32 `[tap, out, in]`: the share of each input pixel that a tap adds to each output pixel.
    """
    padded = np.pad(np.eye(pixels, dtype=np.float32), [[1, 1], [0, 0]])
    return np.stack([padded[tap:tap + pixels:2] for tap in range(4)])


def transposed_taps(pixels: int) -> np.ndarray:
    """The transposed convolution with 4 taps and strides of 2; otherwise like `strided_taps`."""
    return strided_taps(2 * pixels).transpose(0, 2, 1)


def nearest_taps(pixels: int) -> np.ndarray:
    """Doubling by repeating pixels, then a convolution with 4 taps, padded by zeros; otherwise like `strided_taps`."""
    doubled = np.pad(np.repeat(np.eye(pixels, dtype=np.float32), 2, axis=0), [[1, 2], [0, 0]])
    return np.stack([doubled[tap:tap + 2 * pixels] for tap in range(4)])


def bilinear_taps(pixels: int) -> np.ndarray:
    """Bilinear doubling (half-pixel centres; the border's pixels repeat), then a convolution with 3 taps, padded by
    zeros; otherwise like `strided_taps`."""
    sources = np.clip(np.arange(2 * pixels) / 2 - 0.25, 0, pixels - 1)
    shares = np.maximum(1 - np.abs(sources[:, None] - np.arange(pixels)), 0)
    padded = np.pad(shares, [[1, 1], [0, 0]])
    return np.stack([padded[tap:tap + 2 * pixels] for tap in range(3)]).astype(np.float32)


@functools.cache
def tile_stencil(taps_of: Callable, tile: int) -> np.ndarray:
    """The operation of `taps_of` on tiles of `tile` pixels along one side: float32 `[tap, place, in, out]`.

    The first three places are the tile before, the tile itself and the tile after, for every tile. If there are two
    more, they correct the middle one for the first and the last tile.
    """
    matrix = taps_of(SAMPLE_TILES * tile)
    taps, outs, _ = matrix.shape
    tiled = matrix.reshape(taps, SAMPLE_TILES, outs // SAMPLE_TILES, SAMPLE_TILES, tile).transpose(0, 1, 3, 4, 2)
    inner = tiled[:, 1, :3]
    ends = np.stack([tiled[:, 0, 0], tiled[:, -1, -1]], 1) - inner[:, 1:2]
    return np.concatenate([inner, ends], 1) if ends.any() else inner


def tiled_kernel(stencil: np.ndarray, kernel: tf.Tensor, parts: int) -> tf.Tensor:
    """The kernel that does in tiles what `kernel` does in pixels, with its corrections at the borders.

    Along one side the sum is many[place, in, out] = sum over taps of stencil[tap, place, in, out] kernel[tap]. Here the
    same stencil serves rows and columns, and each number of the kernel is a matrix of channels by filters.

    Args:
        stencil: from `tile_stencil`.
        kernel: `[tap, tap, channels, filters]`, of the plain operation.
        parts: number of separately tiled inputs, whose channels are joined in order.

    Returns:
        `[place, place, in * in * channels, out * out * filters]`.
    """
    *taps, channels, filters = kernel.shape
    split = tf.reshape(tf.cast(kernel, tf.float32), [*taps, parts, channels // parts, filters])
    # Rows: tap k, place t, input pixel p, output pixel q. Columns: tap l, place u, input s, output v. Channels: part g,
    # channel i, filter o. The channels of tiled parts run part by part, pixel by pixel (p, s), channel by channel.
    many = tf.einsum("ktpq,lusv,klgio->tugpsiqvo", stencil, stencil, split)
    sizes = many.shape
    return tf.cast(tf.reshape(many, [*sizes[:2], np.prod(sizes[2:6]), np.prod(sizes[6:])]), kernel.dtype)


def first_and_last(x: tf.Tensor, axis: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The first and the last slice of `x` along `axis`, 1 or 2."""
    return (x[:, :1], x[:, -1:]) if axis == 1 else (x[:, :, :1], x[:, :, -1:])


def place_at_ends(first: tf.Tensor, last: tf.Tensor, axis: int, length) -> tf.Tensor:
    """`first` and `last`, each of length 1 along `axis`, as the ends of a tensor of `length`, with zeros between."""
    before, after = [[[0, 0]] * len(first.shape) for _ in range(2)]
    before[axis], after[axis] = [0, length - 1], [length - 1, 0]
    return tf.pad(first, before) + tf.pad(last, after)


def convolve_tiles(parts: list[tf.Tensor], kernel: tf.Tensor, taps_of: Callable, tile: int) -> tf.Tensor:
    """A convolution of pictures in tiles, along rows and columns.

    Args:
        parts: `[batch, height, width, tile * tile * c]` each; their channels, joined, are those of the picture. Each is
            convolved separately: one part may fit on a TPU's chip when the whole does not.
        kernel: `[tap, tap, channels, filters]` in the number format to compute in.
        taps_of: `strided_taps`, `transposed_taps`, `nearest_taps` or `bilinear_taps`.
        tile: pixels a side of a tile.

    Returns:
        `[batch, height, width, n * n * filters]`: the same tiles, where n is twice or half of `tile`.
    """
    stencil = tile_stencil(taps_of, tile)
    kernels = tiled_kernel(stencil, kernel, len(parts))
    # Each use casts separately, so that gradients are added up in the picture's number format.
    y = tf.add_n([tf.nn.conv2d(tf.cast(part, kernel.dtype), own, 1, "SAME")
                  for part, own in zip(parts, tf.split(kernels[:3, :3], len(parts), 2), strict=True)])
    if stencil.shape[1] == 3:
        return y
    strips = {axis: [tf.concat([tf.cast(end, kernel.dtype) for end in ends], -1)
                     for ends in zip(*(first_and_last(part, axis) for part in parts), strict=True)] for axis in (1, 2)}
    rows = [tf.nn.conv2d(strip, own, 1, "SAME")
            for strip, own in zip(strips[1], tf.split(kernels[3:, :3], 2, 0), strict=True)]
    columns = [tf.nn.conv2d(strip, own, 1, "SAME")
               for strip, own in zip(strips[2], tf.split(kernels[:3, 3:], 2, 1), strict=True)]
    corners = tf.einsum("bhwc,hwco->bhwo", tf.concat(first_and_last(tf.concat(strips[1], 1), 2), 2), kernels[3:, 3:])
    height, width = tf.shape(y)[1], tf.shape(y)[2]
    of_rows = [row + place_at_ends(*first_and_last(own, 2), 2, width)
               for row, own in zip(rows, first_and_last(corners, 1), strict=True)]
    return y + place_at_ends(*of_rows, 1, height) + place_at_ends(*columns, 2, width)


def to_tiles(pictures: tf.Tensor, tile: int) -> tf.Tensor:
    """`[batch, h, w, c]` to `[batch, h / tile, w / tile, tile * tile * c]`."""
    return tf.nn.space_to_depth(pictures, tile) if tile > 1 else pictures


def to_pixels(tiles: tf.Tensor, tile: int) -> tf.Tensor:
    """The reverse of `to_tiles`."""
    return tf.nn.depth_to_space(tiles, tile) if tile > 1 else tiles


def tile_size(config: Config) -> int:
    """Pixels a side of the tiles in which the networks take the image; 1 without space to depth.

    Batch and spectral normalization do not work in tiles, nor does CUT, which looks at single pixels of the outermost
    layers.
    """
    able = (config.norm == "instance" and config.discriminator_norm in ("", "instance", "none")
            and config.system == "cyclegan" and config.generator != "resnet"
            and min(config.generator_levels, config.discriminator_levels) > 1)
    return OUTERMOST if able and config.space_to_depth == "on" else 1


def tiles_by_level(config: Config, levels: int) -> list[int]:
    """Pixels a side of the tiles in the image, and after each of `levels` halvings."""
    return [max(tile_size(config) // 2**level, 1) for level in range(levels + 1)]


def doubling_tile(config: Config, level: int) -> int:
    """Pixels a side of the tiles in which a picture is doubled to `level`; 0: it is doubled without tiles.

    Transposed convolutions make no doubled picture, so they gain only where the result stays in tiles.
    """
    tile = tiles_by_level(config, level)[-1]
    last = LAST_LEVEL - 1 if config.upsample == "transpose" else LAST_LEVEL
    return tile if tile_size(config) > 1 and level <= last else 0


def on_pixels(function: Callable, config: Config) -> Callable:
    """Wraps `function`, from pictures and a seed to pictures, to work on the config's tiles."""
    tile = tile_size(config)
    return lambda pictures, seed: to_tiles(function(to_pixels(pictures, tile), seed), tile)
