"""DiffAugment: each change is within its documented range, every image gets its own, and gradients pass."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from monet.core.config import make_config
from monet.core.errors import UserError
from monet.gan.diffaugment import AUGMENTATIONS, make_augmentation

SEED = tf.constant([5, 6])
HEIGHT, WIDTH = 16, 24  # translation moves them by at most 2 and 3, cutout blanks at most 8 and 12
WIDTHS = pytest.mark.parametrize("width", [HEIGHT, WIDTH])  # a square shows a draw shared by both axes
EVERYTHING = "color,translation,cutout"


def pictures(count, seed=0, width=WIDTH):
    """Random `[count, HEIGHT, width, 3]` without zeros, so every zero in a result was put there."""
    return np.random.default_rng(seed).uniform(0.1, 1.0, (count, HEIGHT, width, 3)).astype(np.float32)


def augmented(names, images, seed=SEED):
    return make_augmentation(make_config(diffaugment=names))(tf.constant(images), seed).numpy()


def shifted(image, down, right):
    """A translation in NumPy: the picture moved, zeros moved in."""
    height, width = image.shape[:2]
    room = np.pad(image, [(height, height), (width, width), (0, 0)])
    return room[height - down:2 * height - down, width - right:2 * width - right]


def shift_between(image, result):
    """The only possible shift that turns `image` into `result`."""
    candidates = itertools.product(range(-4, 5), range(-6, 7))
    [found] = [shift for shift in candidates if np.array_equal(shifted(image, *shift), result)]
    return found


def hole_mask(image, middle_row, middle_column):
    """A hole in NumPy, half of each side, cut off at the border: 1 around it, 0 inside."""
    height, width = image.shape[:2]
    mask = np.ones((height, width, 1), np.float32)
    top, left = middle_row - height // 4, middle_column - width // 4
    mask[max(top, 0):top + height // 2, max(left, 0):left + width // 2] = 0
    return mask


def hole_in(image, result):
    """The middle of the only hole that turns `image` into `result`."""
    candidates = itertools.product(range(image.shape[0]), range(image.shape[1]))
    [found] = [middle for middle in candidates if np.array_equal(image * hole_mask(image, *middle), result)]
    return found


@WIDTHS
def test_a_translated_image_is_the_image_shifted_by_up_to_an_eighth_in_every_direction(width):
    images = pictures(400, width=width)
    shifts = [shift_between(*pair) for pair in zip(images, augmented("translation", images), strict=True)]
    most = width // 8
    assert set(shifts) == set(itertools.product(range(-2, 3), range(-most, most + 1)))  # all of them, and no other


@WIDTHS
def test_a_cut_out_image_lacks_a_rectangle_of_half_the_sides_anywhere(width):
    images = pictures(300, width=width)
    holes = [hole_in(*pair) for pair in zip(images, augmented("cutout", images), strict=True)]
    rows, columns = zip(*holes, strict=True)
    assert set(rows) == set(range(HEIGHT))
    assert set(columns) == set(range(width))
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.2


def color_change(image, result):
    """Brightness, saturation and contrast that turn `image` into `result`; fails if there are none.

    A pixel's mean over channels is its light, the rest its color. Light changes about the image's mean and moves with
    it; color is only scaled.
    """
    light, new_light = image.mean(-1), result.mean(-1)
    brightness = new_light.mean() - light.mean()
    contrast = np.polyfit(light.ravel(), new_light.ravel(), 1)[0]
    np.testing.assert_allclose(new_light, contrast * (light - light.mean()) + new_light.mean(), atol=1e-5)
    color, new_color = image - light[..., None], result - new_light[..., None]
    scale = (color * new_color).sum() / (color**2).sum()
    np.testing.assert_allclose(new_color, scale * color, atol=1e-5)
    return brightness, scale / contrast, contrast


def test_recoloring_keeps_the_structure_of_the_image():
    images = pictures(300)
    changes = np.array([color_change(*pair) for pair in zip(images, augmented("color", images), strict=True)])
    low, high = np.array([-0.5, 0.0, 0.5]), np.array([0.5, 2.0, 1.5])
    assert (changes >= low - 1e-4).all()
    assert (changes <= high + 1e-4).all()
    spread = (high - low) / 20  # of 300 uniform draws, the outermost lie within a twentieth of each end
    assert (changes.min(0) < low + spread).all()
    assert (changes.max(0) > high - spread).all()
    np.testing.assert_allclose(changes.mean(0), (low + high) / 2, atol=0.1)
    correlations = np.corrcoef(changes.T)[np.triu_indices(3, 1)]
    assert np.abs(correlations).max() < 0.2


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_image_gets_its_own_change(name):
    alike = np.repeat(pictures(1), 8, axis=0)
    results = augmented(name, alike)
    different = {result.tobytes() for result in results}
    assert len(different) > 4  # two of them may draw the same shift


@pytest.mark.parametrize("names", [*AUGMENTATIONS, EVERYTHING])
def test_the_seed_decides(names):
    images = pictures(6)
    first = augmented(names, images)
    np.testing.assert_array_equal(first, augmented(names, images))
    assert (first != augmented(names, images, tf.constant([5, 7]))).any()


def gradient(names, images, weights):
    """The gradient of the sum of augmented images times `weights` with respect to the images."""
    images = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        result = make_augmentation(make_config(diffaugment=names))(images, SEED)
        total = tf.reduce_sum(result * weights)
    return tape.gradient(total, images).numpy()


def test_the_gradient_of_a_translation_is_moved_back():
    images, weights = pictures(8), pictures(8, seed=1)
    results = augmented("translation", images)
    expected = []
    for image, result, weight in zip(images, results, weights, strict=True):
        down, right = shift_between(image, result)
        expected.append(shifted(weight, -down, -right))  # for weights of 1: 1 where a pixel stayed, 0 where it left
    np.testing.assert_array_equal(gradient("translation", images, weights), expected)


def test_the_gradient_of_a_cutout_is_missing_only_in_the_hole():
    images, weights = pictures(8), pictures(8, seed=1)
    holes = [hole_in(*pair) for pair in zip(images, augmented("cutout", images), strict=True)]
    expected = [weight * hole_mask(weight, *hole) for weight, hole in zip(weights, holes, strict=True)]
    np.testing.assert_array_equal(gradient("cutout", images, weights), expected)


def test_the_gradient_of_recoloring_sums_to_that_of_the_brightness():
    """Saturation keeps a pixel's light and contrast the image's mean, so each input counts once in the sum."""
    images = pictures(4)
    np.testing.assert_allclose(gradient("color", images, np.float32(1.0)), np.ones_like(images), atol=1e-4)


def test_no_policy_changes_nothing():
    images = pictures(3)
    np.testing.assert_array_equal(augmented("", images), images)


def test_the_policy_is_applied_in_order_with_or_without_spaces():
    images = pictures(20)
    zeros = {names: (augmented(names, images) == 0.0).mean() for names in ("color, translation", "translation,color")}
    assert zeros["color, translation"] > 0.05  # what moved in last stays 0
    assert zeros["translation,color"] == 0.0  # what moved in first was recolored


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(UserError, match="--diffaugment cutuot: .* mean cutout"):
        make_augmentation(make_config(diffaugment="color,cutuot"))


@pytest.mark.parametrize("names", [*AUGMENTATIONS, EVERYTHING])
def test_xla_compiles_it_and_its_gradient(names):
    """As for a TPU, where no shape may depend on a value. Other random numbers may be drawn."""
    change = make_augmentation(make_config(diffaugment=names))

    @tf.function(jit_compile=True, autograph=False)
    def compiled(images, seed):
        with tf.GradientTape() as tape:
            tape.watch(images)
            result = change(images, seed)
        return result, tape.gradient(result, images)

    images = pictures(4)
    result, slope = compiled(tf.constant(images), SEED)
    assert result.shape == slope.shape == images.shape
    assert np.isfinite(result).all()
    assert np.abs(slope).max() > 0
    if names == "translation":
        assert [shift_between(*pair) for pair in zip(images, result.numpy(), strict=True)]
