"""health: each fault is found where there is one, and only there."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from monet.scoring.health import (
    CHECKERBOARD_FREQUENCIES,
    checkerboard,
    find_faults,
    last_over_first,
    measure_health,
    shade_correlation,
    variety,
)

COUNT, SIDE = 12, 128
Y, X = np.mgrid[:SIDE, :SIDE]


def blurred(values, times):
    """Each pixel averaged with its neighbours; border pixels repeat, so that there is no frame."""
    kernel = np.array([[0, 1, 0], [1, 2, 1], [0, 1, 0]])[None, :, :, None] / 6
    for _ in range(times):
        values = ndimage.convolve(values, kernel, mode="nearest")
    return values


def landscapes(seed):
    """Images with a sky, a sharp horizon, a trunk and some texture: [COUNT, SIDE, SIDE, 3] in [-1, 1]."""
    draw = np.random.default_rng(seed)
    images = []
    for _ in range(COUNT):
        sky, ground = draw.uniform(0.0, 0.7, 3), draw.uniform(-0.7, 0.1, 3)
        image = np.where((draw.integers(30, 100) > Y)[..., None], sky, ground)
        trunk = draw.integers(20, 100)
        image[40:110, trunk:trunk + 7] = draw.uniform(-0.9, 0.0, 3)
        images.append(image)
    texture = blurred(draw.normal(0, 0.2, (COUNT, SIDE, SIDE, 3)), 1)
    return np.clip(np.stack(images) + texture, -1, 1)


PHOTOS = landscapes(0)
HEALTHY = blurred(PHOTOS, 2) * 0.8 + [0.1, 0.0, -0.1]  # blurred, paler, warmer


def grid(frequency, levels):
    """A pattern to add to images: `frequency` in cycles per pixel, amplitude in `levels` of 255."""
    vertical, horizontal = frequency
    return np.cos(2 * np.pi * (vertical * Y + horizontal * X))[..., None] * levels / 127.5


def faults_of(painted, rows=()):
    return find_faults(measure_health(PHOTOS, painted, rows))


def history(cycle, identity, count=40):
    """The history of a run whose losses change linearly from the first to the second number of each pair."""
    return [{"step": str(step), "cycle": f"{a:.5f}", "identity": f"{b:.5f}"} for step, a, b in
            zip(range(count), np.linspace(*cycle, count), np.linspace(*identity, count), strict=True)]


@pytest.mark.parametrize("painted", [PHOTOS, HEALTHY, np.clip(PHOTOS * 1.5, -1, 1), np.roll(HEALTHY, 3, 2)],
                         ids=["untouched", "pale", "stark", "shifted"])
def test_healthy_paintings_have_no_fault(painted):
    assert faults_of(painted, history((3, 1), (2, 1))) == []


def test_inverted_shades_are_found():
    assert shade_correlation(PHOTOS, -PHOTOS) == pytest.approx(-1)
    assert shade_correlation(PHOTOS, 0.3 * PHOTOS + 0.2) == pytest.approx(1)
    assert faults_of(-HEALTHY) == ["inverted"]


def test_a_few_inverted_images_or_other_colours_are_no_inversion():
    painted = HEALTHY.copy()
    painted[:4] *= -1
    assert faults_of(painted) == []
    assert faults_of(HEALTHY[..., ::-1]) == []  # blue for red, light still light


def test_uniform_images_do_not_correlate_with_the_photos():
    assert shade_correlation(PHOTOS, np.zeros_like(PHOTOS)) == 0


def test_an_identity_loss_that_rises_while_the_cycle_loss_falls_is_found():
    assert faults_of(HEALTHY, history(cycle=(3, 1), identity=(1, 2))) == ["identity rises"]


@pytest.mark.parametrize(("cycle", "identity"),
                         [((3, 1), (2, 1)), ((1, 3), (1, 3)), ((2, 2), (1, 2)), ((3, 1), (1, 1))])
def test_other_histories_are_no_fault(cycle, identity):
    assert faults_of(HEALTHY, history(cycle, identity)) == []


def test_a_history_too_short_or_without_the_loss_is_not_judged():
    assert last_over_first(history((4, 1), (1, 2), count=9), "cycle") is None  # too short
    assert last_over_first([{"step": "1", "nce": "2.0"}] * 20, "cycle") is None  # cut has none
    assert last_over_first(history((4, 1), (0, 0)), "identity") is None  # weight 0
    assert faults_of(HEALTHY, [{"step": "1", "nce": "2.0"}] * 20) == []


def test_the_change_of_a_loss_compares_its_first_and_last_fifth():
    rows = [{"cycle": value} for value in (4, 4, 9, 9, 9, 9, 9, 9, 1, 3)]
    assert last_over_first(rows, "cycle") == pytest.approx(2 / 4)


@pytest.mark.parametrize("frequency", CHECKERBOARD_FREQUENCIES)
def test_a_visible_checkerboard_is_found_at_every_frequency(frequency):
    ratio, levels = checkerboard(PHOTOS, blurred(HEALTHY, 4) + grid(frequency, 3))
    assert ratio > 10
    assert levels == pytest.approx(3, rel=0.1)
    assert faults_of(blurred(HEALTHY, 4) + grid(frequency, 3)) == ["checkerboard"]


def test_a_checkerboard_in_the_skies_alone_is_found():
    assert faults_of(HEALTHY + grid((1 / 2, 1 / 2), 3) * (Y < 50)[..., None]) == ["checkerboard"]


def test_an_invisible_checkerboard_is_not_reported():
    assert checkerboard(PHOTOS, blurred(HEALTHY, 4) + grid((0, 1 / 2), 0.2))[0] > 10
    assert faults_of(blurred(HEALTHY, 4) + grid((0, 1 / 2), 0.2)) == []


@pytest.mark.parametrize("frequency", [(0, 1 / 3), (0.4, 0), (0.3, 0.1)])
def test_other_patterns_are_no_checkerboard(frequency):
    assert faults_of(HEALTHY + grid(frequency, 4)) == []


def test_a_grid_that_the_photos_have_is_not_reported():
    photos = PHOTOS + grid((0, 1 / 4), 5)
    assert find_faults(measure_health(photos, 0.8 * photos + 0.1, ())) == []
    assert checkerboard(PHOTOS, 0.8 * photos + 0.1)[0] > 10


def test_jpeg_blocks_are_no_checkerboard():
    def through_jpeg(image):
        file = io.BytesIO()
        Image.fromarray(np.uint8((image + 1) * 127.5)).save(file, "JPEG", quality=60)
        return np.asarray(Image.open(file), np.float32) / 127.5 - 1

    assert faults_of(np.stack([through_jpeg(image) for image in PHOTOS])) == []


def transposed(images, kernel):
    """A stride-2 transposed convolution of half-size images with the outer product of `kernel` with itself."""
    stuffed = np.zeros_like(PHOTOS)
    stuffed[:, ::2, ::2] = images[:, ::2, ::2]
    for axis in (1, 2):
        stuffed = ndimage.convolve1d(stuffed, kernel, axis, mode="mirror")
    return stuffed


def test_an_uneven_transposed_convolution_leaves_a_checkerboard_and_an_even_one_does_not():
    """Three taps at stride 2 overlap on every second pixel; four, with pairwise equal sums, on all alike."""
    assert "checkerboard" in faults_of(transposed(HEALTHY, (0.4, 0.6, 0.4)))
    assert faults_of(transposed(HEALTHY, (0.25, 0.75, 0.75, 0.25))) == []


def test_collapse_is_found():
    same_for_all = np.repeat(HEALTHY[:1], COUNT, axis=0)
    assert variety(PHOTOS, same_for_all) == pytest.approx(0, abs=1e-6)
    assert "collapse" in faults_of(0.9 * same_for_all + 0.1 * HEALTHY)
    assert "collapse" in faults_of(0.1 * PHOTOS)  # all grey
    assert variety(PHOTOS, 0.5 * PHOTOS + 0.3) == pytest.approx(0.5)
    assert faults_of(0.5 * PHOTOS + 0.3) == []
