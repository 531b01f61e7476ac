"""The distance of colours: in closed form where there is one, and what it sees and overlooks."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from monet.core.errors import UserError
from monet.scoring.colour import (
    DIRECTIONS,
    colour_distance,
    colour_left,
    colour_profile,
    sphere_directions,
    to_lab,
)


def plain(*colours):
    """Images of one colour each."""
    return [np.broadcast_to(np.asarray(colour, np.float32), [256, 256, 3]) for colour in colours]


def textured(count, seed=0, shift=0.0):
    """Images of soft random shapes."""
    small = np.random.default_rng(seed).uniform(-1, 1, [count, 16, 16, 3]).astype(np.float32)
    return list(np.clip(small.repeat(16, axis=1).repeat(16, axis=2) + shift, -1, 1))


def test_lab_is_that_of_a_colour_management_system():
    """Pillow's works with white D50 in 8 bits: greys agree, and so does the order of lightness."""
    pixels = np.random.default_rng(0).integers(0, 256, [200, 3], np.uint8)
    pixels[:20] = np.linspace(0, 255, 20).astype(np.uint8)[:, None]
    srgb, lab = (ImageCms.createProfile(name) for name in ("sRGB", "LAB"))
    image = ImageCms.applyTransform(Image.fromarray(pixels[None]), ImageCms.buildTransform(srgb, lab, "RGB", "LAB"))
    theirs = np.asarray(image)[0]
    ours = to_lab(pixels / 127.5 - 1)
    np.testing.assert_allclose(ours[:20, 1:], 0, atol=0.02)
    np.testing.assert_allclose(ours[:20, 0], theirs[:20, 0] / 2.55, atol=0.5)
    # By definition, D65: white, black, and the published values of sRGB's red.
    np.testing.assert_allclose(to_lab(np.array([[1, 1, 1], [-1, -1, -1], [1, -1, -1]])),
                               [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]], atol=0.02)


def test_directions_cover_the_sphere_evenly():
    directions = sphere_directions()
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(directions.T @ directions / DIRECTIONS, np.eye(3) / 3, atol=0.02)


def test_the_distance_of_two_plain_colours_is_their_mean_distance_along_a_direction():
    """|d . w| averages to half of d's length over the directions w of a sphere."""
    grey, light = plain([0, 0, 0], [0.5, 0.5, 0.5])
    lengths = np.linalg.norm(np.diff(to_lab(np.array([[0, 0, 0], [0.5, 0.5, 0.5]])), axis=0))
    assert colour_distance(colour_profile([grey]), colour_profile([light] * 3)) == pytest.approx(lengths / 2, rel=0.02)


def test_the_distance_is_that_of_sets_not_of_pairs():
    few, more = textured(6), textured(6)[::-1] * 2
    same, other = colour_profile(few), colour_profile(textured(6, seed=1))
    assert colour_distance(same, same) == 0
    assert colour_distance(same, colour_profile(more)) < 0.3 * colour_distance(same, colour_profile(textured(6, 0, 0.5)))
    assert colour_distance(same, other) == colour_distance(other, same) > 0
    np.testing.assert_array_equal(same, colour_profile(iter(textured(6))))  # deterministic


def test_what_is_left_is_relative_to_the_photos():
    photos, half, paintings = (colour_profile(textured(4, shift=shift)) for shift in (0.0, 0.3, 0.6))
    assert colour_left(photos, photos, paintings) == 1
    assert 0.3 < colour_left(half, photos, paintings) < 0.7
    assert colour_left(paintings, photos, paintings) == 0
    assert colour_left(colour_profile(textured(4, shift=-0.6)), photos, paintings) > 1.5
    assert colour_left(paintings, photos, photos) > 1  # finite, though nothing was to be gained


def test_a_net_of_dots_is_seen_at_the_finest_scale_only():
    smooth = [image * 0.5 for image in textured(4)]
    dots = 0.2 * (-1) ** np.indices([256, 256]).sum(axis=0)[..., None]
    before, after = colour_profile(smooth), colour_profile([image + dots for image in smooth])
    by_scale = np.abs(before - after).mean(axis=(1, 2))
    assert by_scale[0] > 5 * by_scale[1:].max()


@pytest.mark.parametrize("broken", [[], [*plain([0, 0, 0]), np.full([256, 256, 3], np.nan)],
                                    [np.full([256, 256, 3], np.inf)]])
def test_images_that_have_no_colours_are_refused(broken):
    with pytest.raises(UserError):
        colour_profile(broken)
