"""DiffAugment (Zhao et al. 2020): what a discriminator sees, changed at random and differentiably.

A discriminator that has seen 300 paintings a thousand times knows them by heart; if it sees each of them, and each
fake, in another light and place every time, it must judge what they have in common. Static shapes, no gathers: all of
it compiles for a TPU.
"""

from collections.abc import Callable

import tensorflow as tf

from monet.core.config import Config, look_up

SHIFTED = 1 / 8  # most of a side that `translated` shifts by (paper)
CUT_OUT = 1 / 2  # of a side that `cut_out` blanks (paper)


def split_seed(seed: tf.Tensor, count: int) -> list[tf.Tensor]:
    """`count` independent seeds, each int32 `[2]`, from one."""
    return tf.unstack(tf.random.experimental.stateless_split(seed, count)) if count else []


def per_image(images: tf.Tensor, seed: tf.Tensor, count: int) -> list[tf.Tensor]:
    """`count` random numbers for each image, each `[batch, 1, 1, 1]` in [0, 1).

    Drawn at once: written out for a compiler, a draw is hundreds of operations.
    """
    return tf.unstack(tf.random.stateless_uniform([count, tf.shape(images)[0], 1, 1, 1], seed))


def recolored(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Brightness plus -0.5 to 0.5, saturation times 0 to 2, contrast times 0.5 to 1.5 (paper)."""
    brightness, saturation, contrast = per_image(images, seed, 3)
    images += brightness - 0.5
    gray = tf.reduce_mean(images, 3, keepdims=True)
    images = (images - gray) * (2.0 * saturation) + gray
    mean = tf.reduce_mean(images, [1, 2, 3], keepdims=True)
    return (images - mean) * (contrast + 0.5) + mean


def translated(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Shifted by whole pixels, up to `SHIFTED` of a side, rounded, in each direction; 0 moves in from the edge.

    Written as products with matrices of zeros and ones, which a TPU multiplies faster than it gathers.
    """
    def shift_matrices(size: int, draws: tf.Tensor) -> tf.Tensor:
        most = int(size * SHIFTED + 0.5)
        shifts = tf.cast(draws[:, 0] * (2 * most + 1), tf.int32) - most
        sources = tf.range(size)[None, :, None] + shifts
        return tf.cast(tf.equal(sources, tf.range(size)[None, None, :]), images.dtype)

    rows, columns = map(shift_matrices, images.shape[1:3], per_image(images, seed, 2))
    images = tf.einsum("bij,bjwc->biwc", rows, images)
    return tf.einsum("bij,bhjc->bhic", columns, images)


def cut_out(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """With a box of `CUT_OUT` of each side, its middle anywhere in the image, set to 0."""
    def inside(size: int, draws: tf.Tensor) -> tf.Tensor:
        middle = tf.cast(draws[:, 0, 0] * size, tf.int32)
        half = int(size * CUT_OUT) // 2
        pixels = tf.range(size)[None]
        return tf.logical_and(pixels >= middle - half, pixels < middle + half)

    rows, columns = map(inside, images.shape[1:3], per_image(images, seed, 2))
    hole = tf.logical_and(rows[:, :, None], columns[:, None, :])
    return tf.where(hole[..., None], tf.zeros_like(images), images)


AUGMENTATIONS = {"color": recolored, "translation": translated, "cutout": cut_out}


def make_augmentation(config: Config) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """What `config.diffaugment` names, in its order, as one function.

    Returns:
        A function from images, float32 `[batch, height, width, 3]` of a known height and width, and an int32 seed
        `[2]` to the same shape. Every image is changed by numbers of its own.

    Raises:
        UserError: for a name that there is not.
    """
    names = [name.strip() for name in config.diffaugment.split(",") if name.strip()]
    parts = [look_up(AUGMENTATIONS, name, "diffaugment") for name in names]

    def augmented(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        for part, own_seed in zip(parts, split_seed(seed, len(parts)), strict=True):
            images = part(images, own_seed)
        return images

    return augmented
