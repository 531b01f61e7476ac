"""artifacts: droplets, halos and frames are measured where they are, and only there."""

import numpy as np
import pytest
from scipy import ndimage

from monet.scoring.artifacts import changes, droplet_share, frame_levels, halo_levels
from monet.scoring.health import find_faults, measure_health

COUNT, SIDE = 16, 256
Y, X = np.mgrid[:SIDE, :SIDE]
FROM_BORDER = np.minimum(np.minimum(Y, SIDE - 1 - Y), np.minimum(X, SIDE - 1 - X))


def scenes(seed):
    """Skies over darker hills, with a little texture, `[COUNT, SIDE, SIDE, 3]` in [-1, 1], and where the hills are."""
    draw = np.random.default_rng(seed)
    images, hills = [], []
    for _ in range(COUNT):
        crest = draw.uniform(110, 150) + 30 * np.sin(X / draw.uniform(20, 50) + draw.uniform(0, 6))
        hills.append(crest < Y)
        sky, ground = draw.uniform(0.1, 0.6, 3), draw.uniform(-0.7, -0.3, 3)
        images.append(np.where(hills[-1][..., None], ground, sky))
    texture = ndimage.gaussian_filter(draw.normal(0, 0.03, (COUNT, SIDE, SIDE, 3)), (0, 1, 1, 0))
    return (np.stack(images) + texture).astype(np.float32), np.stack(hills)


PHOTOS, HILLS = scenes(0)
PAINTED = (0.8 * PHOTOS[..., [0, 2, 1]] + [0.1, 0.0, -0.1]).astype(np.float32)  # another palette
LEVELS = (10, 20, 40)
CLEAN = {"untouched": PHOTOS, "another palette": PAINTED, "blurred": ndimage.gaussian_filter(PHOTOS, (0, 1.5, 1.5, 0)),
         "unrelated": scenes(1)[0], "grey": np.zeros_like(PHOTOS),
         "brushed": PAINTED + ndimage.gaussian_filter(np.random.default_rng(2).normal(0, 0.3, PHOTOS.shape),
                                                      (0, 2, 2, 0)).astype(np.float32)}


def measured(painted, photos=PHOTOS):
    """Share of images with droplets, levels of halos, levels of the frame."""
    rest = changes(photos, painted)
    return droplet_share(photos, rest), halo_levels(photos, painted, rest), frame_levels(rest)


def with_droplets(count, levels, size=14, colour=(-0.6, 1, -0.6)):
    """A soft blob in the sky of `count` paintings."""
    painted = PAINTED.copy()
    blob = np.exp(-((Y - 50) ** 2 + (X - 120) ** 2) / (size / 3) ** 2)
    painted[:count] += blob[..., None] * np.array(colour, np.float32) * levels / 127.5
    return painted


def with_halos(levels, width=6, colour=(1, 1, 1), of_hills=False):
    """A rim of `width` pixels around the hills, in the sky, or within them."""
    inside = HILLS if of_hills else ~HILLS
    rims = np.stack([(ndimage.distance_transform_edt(mask) <= width) & mask for mask in inside])
    return PAINTED + rims[..., None] * np.array(colour, np.float32) * levels / 127.5


def with_frame(levels, width=4, sides=FROM_BORDER):
    return PAINTED + (sides < width)[..., None] * np.array([1.0, 0.5, -0.5], np.float32) * levels / 127.5


def faults_of(painted, photos=PHOTOS):
    return find_faults(measure_health(photos, painted, ()))


@pytest.mark.parametrize("name", CLEAN)
def test_clean_paintings_have_no_fault(name):
    assert not {"droplets", "halos", "frame"} & set(faults_of(CLEAN[name]))


@pytest.mark.parametrize("size", [8, 14, 26])
@pytest.mark.parametrize("colour", [(-0.6, 1, -0.6), (1, -0.4, 1)], ids=["green", "purple"])
def test_droplets_in_one_of_sixteen_paintings_are_found(size, colour):
    assert droplet_share(PHOTOS, changes(PHOTOS, with_droplets(1, 40, size, colour))) == 1 / COUNT
    assert faults_of(with_droplets(1, 40, size, colour)) == ["droplets"]


def test_the_share_of_droplets_counts_paintings():
    assert [measured(with_droplets(count, 40))[0] for count in (0, 2, 5)] == [0, 2 / COUNT, 5 / COUNT]
    assert measured(with_droplets(5, 3))[0] == 0  # invisible


def test_a_spot_that_the_photo_has_and_a_light_are_no_droplets():
    with_spots = with_droplets(5, 40)
    assert measured(0.8 * with_spots + 0.1, with_spots)[0] == 0
    assert measured(with_droplets(5, 60, colour=(1, 1, 1)))[0] == 0


@pytest.mark.parametrize("options", [{}, {"width": 3}, {"width": 10}, {"of_hills": True}, {"colour": (-1, -1, -1)},
                                     {"colour": (0.5, 1, -1)}],
                         ids=["bright", "narrow", "wide", "within", "dark", "coloured"])
def test_halos_are_found_and_grow_with_their_strength(options):
    found = [measured(with_halos(levels, **options))[1] for levels in (0, *LEVELS)]
    assert found == sorted(found)
    assert found[0] < 0.5
    assert faults_of(with_halos(40, **options)) == ["halos"]


@pytest.mark.parametrize("width", [2, 4, 8])
def test_frames_are_found_and_grow_with_their_strength(width):
    assert [measured(with_frame(levels, width))[2] for levels in LEVELS] == pytest.approx(LEVELS, rel=0.1, abs=1)
    assert faults_of(with_frame(10, width)) == ["frame"]


@pytest.mark.parametrize("sides", [Y, SIDE - 1 - Y, X, SIDE - 1 - X], ids=["top", "bottom", "left", "right"])
def test_a_line_along_one_side_is_a_frame(sides):
    assert faults_of(with_frame(10, sides=sides)) == ["frame"]


def test_frames_of_a_few_photos_or_paintings_are_none():
    painted = PAINTED.copy()
    painted[:4] = with_frame(60)[:4]
    assert measured(painted)[2] < 1
    framed = with_frame(60)
    assert measured(0.8 * framed + 0.1, framed)[2] < 1


def test_pictures_without_silhouettes_have_no_halos():
    assert measured(np.zeros_like(PHOTOS), np.zeros_like(PHOTOS)) == (0, 0, 0)
    assert halo_levels(PHOTOS[:1], PHOTOS[:1], np.zeros_like(PHOTOS[:1])) == 0
