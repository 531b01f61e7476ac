"""DiffAugment (Zhao et al. 2020): random, differentiable changes to a discriminator's input.

A discriminator that has seen 300 paintings a thousand times knows them by heart. If color and place change every time,
for paintings and fakes alike, it must judge what they have in common. Shapes are static and nothing is gathered, so all
of it compiles for a TPU.
"""

from collections.abc import Callable

import tensorflow as tf

from monet.core.config import Config, look_up
from monet.core.random_numbers import fold_in, split_seed, uniform

MOST_SHIFT = 1 / 8  # of a side (paper)
HOLE = 1 / 2  # of a side that `cut_out` blanks (paper)


def per_image(images: tf.Tensor, seed: tf.Tensor, count: int) -> list[tf.Tensor]:
    """`count` random numbers for each image, each `[batch, 1, 1, 1]` in [0, 1).

    They come from one draw, because each draw compiles to hundreds of operations.
    """
    return tf.unstack(uniform([count, tf.shape(images)[0], 1, 1, 1], seed))


def recolor(images: tf.Tensor, seed: tf.Tensor, config: Config) -> tf.Tensor:
    """Brightness plus -0.5 to 0.5, saturation times 0 to 2, contrast times 0.5 to 1.5 (paper); `color_strength` makes
    these ranges narrower."""
    strength = config.color_strength
    brightness, saturation, contrast = per_image(images, seed, 3)
    images += strength * (brightness - 0.5)
    gray = tf.reduce_mean(images, 3, keepdims=True)
    images = (images - gray) * (1.0 + strength * (2.0 * saturation - 1.0)) + gray
    mean = tf.reduce_mean(images, [1, 2, 3], keepdims=True)
    return (images - mean) * (1.0 + strength * (contrast - 0.5)) + mean


def translate(images: tf.Tensor, seed: tf.Tensor, config: Config) -> tf.Tensor:
    """Shifts by whole pixels, up to `MOST_SHIFT` of a side in each direction; zeros move in from the edge.

    The shifts are products with matrices of zeros and ones, which a TPU multiplies faster than it gathers.
    """
    def shift_matrices(size: int, draws: tf.Tensor) -> tf.Tensor:
        most = int(size * MOST_SHIFT + 0.5)
        shifts = tf.cast(draws[:, 0] * (2 * most + 1), tf.int32) - most
        sources = tf.range(size)[None, :, None] + shifts
        return tf.cast(tf.equal(sources, tf.range(size)[None, None, :]), images.dtype)

    rows, columns = map(shift_matrices, images.shape[1:3], per_image(images, seed, 2))
    images = tf.einsum("bij,bjwc->biwc", rows, images)
    return tf.einsum("bij,bhjc->bhic", columns, images)


def cut_out(images: tf.Tensor, seed: tf.Tensor, config: Config) -> tf.Tensor:
    """Sets a box of `HOLE` of each side to 0; its centre is anywhere in the image."""
    def inside(size: int, draws: tf.Tensor) -> tf.Tensor:
        middle = tf.cast(draws[:, 0, 0] * size, tf.int32)
        half = int(size * HOLE) // 2
        pixels = tf.range(size)[None]
        return tf.logical_and(pixels >= middle - half, pixels < middle + half)

    rows, columns = map(inside, images.shape[1:3], per_image(images, seed, 2))
    hole = tf.logical_and(rows[:, :, None], columns[:, None, :])
    return tf.where(hole[..., None], tf.zeros_like(images), images)


AUGMENTATIONS = {"color": recolor, "translation": translate, "cutout": cut_out}


def augmentation_names(config: Config) -> list[str]:
    """The names in `config.diffaugment`."""
    return [name.strip() for name in config.diffaugment.split(",") if name.strip()]


def sometimes(changed: tf.Tensor, images: tf.Tensor, probability: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Each of the images as `changed` with the `probability`, else as it was."""
    [draws] = per_image(images, seed, 1)
    return tf.where(draws < probability, changed, images)


def make_augmentation(config: Config) -> Callable[..., tf.Tensor]:
    """The augmentations that `config.diffaugment` names, in that order, as one function.

    Returns:
        A function from images, float32 `[batch, height, width, 3]` of static height and width, an int32 seed `[2]`,
        and the probability with which each augmentation applies to an image (None: it always does) to the same shape.
        Every image gets its own random changes.

    Raises:
        UserError: for an unknown name.
    """
    parts = [look_up(AUGMENTATIONS, name, "diffaugment") for name in augmentation_names(config)]

    def augment(images: tf.Tensor, seed: tf.Tensor, probability: tf.Tensor | None = None) -> tf.Tensor:
        for part, own_seed in zip(parts, split_seed(seed, len(parts)), strict=True):
            changed = part(images, own_seed, config)
            images = changed if probability is None else sometimes(changed, images, probability, fold_in(own_seed, 0))
        return images

    return augment
