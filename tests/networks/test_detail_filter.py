"""monet.networks.detail_filter: a filter that matches fine detail, and the layer that applies it."""

import numpy as np
import pytest
import tensorflow as tf

from monet.core.config import make_config
from monet.core.keras_compat import weight_names
from monet.networks.build import build_generator
from monet.networks.detail_filter import (
    BAND_WIDTH,
    BANDS,
    DETAIL,
    FILTER_SIZE,
    FINE_FROM,
    MOST_GAIN,
    DetailFilter,
    detail_kernel,
    no_filter,
    spectrum,
)

PAINTINGS = np.random.default_rng(0).normal(0, 0.1, [8, 128, 128, 3]).astype(np.float32)
BLURRED = tf.nn.avg_pool2d(PAINTINGS, 2, 1, "SAME").numpy()
FINE_BANDS = BAND_WIDTH * (np.arange(BANDS) + 0.5) > FINE_FROM


def layer_of(kernel):
    layer = DetailFilter(dtype="float32")
    layer.build((None, None, None, 3))
    layer.set_weights([kernel])
    return layer


def waves(cycles_per_pixel, size=64):
    """An image of vertical stripes."""
    stripes = 0.1 * np.cos(2 * np.pi * cycles_per_pixel * np.arange(size))
    return np.tile(stripes[None, :, None], [size, 1, 3]).astype(np.float32)


@pytest.mark.parametrize("cycles", [0.05, 0.2, 0.36, 0.45])
def test_the_power_of_stripes_is_in_their_band(cycles):
    assert np.argmax(spectrum([waves(cycles)])) == int(cycles / BAND_WIDTH)


def test_a_spectrum_is_the_median_of_the_images_and_knows_no_brightness():
    one, other = spectrum([PAINTINGS[0]]), spectrum([4 * PAINTINGS[0] + 0.3])
    np.testing.assert_allclose(other - one, np.log(16), atol=1e-3)
    np.testing.assert_allclose(spectrum([PAINTINGS[0], 4 * PAINTINGS[0], PAINTINGS[0]]), one, atol=1e-3)


def test_the_filter_gives_blurred_paintings_the_fine_detail_of_the_sharp():
    wanted, found = spectrum(PAINTINGS), spectrum(BLURRED)
    filtered = spectrum(layer_of(detail_kernel(found, wanted))(BLURRED).numpy())
    assert np.abs(filtered - wanted)[FINE_BANDS].mean() < np.abs(found - wanted)[FINE_BANDS].mean() / 3


def test_the_filter_leaves_coarse_detail_and_flat_colours():
    kernel = detail_kernel(np.zeros(BANDS), np.full(BANDS, 2.0))
    coarse, fine = waves(0.06), waves(0.45)
    inner = np.s_[:, FILTER_SIZE:-FILTER_SIZE, FILTER_SIZE:-FILTER_SIZE]
    assert np.abs(layer_of(kernel)(coarse[None]) - coarse)[inner].max() < 0.01
    assert np.abs(layer_of(kernel)(fine[None])[inner]).max() > 0.2
    flat = np.full([1, 32, 32, 3], [0.2, -0.4, 0.6], np.float32)
    np.testing.assert_allclose(layer_of(kernel)(flat), flat, atol=1e-4)


def test_each_image_of_a_batch_is_filtered_by_itself():
    layer, batch = layer_of(detail_kernel(spectrum(BLURRED), spectrum(PAINTINGS))), BLURRED[:3, :, :96]
    alone = np.concatenate([layer(batch[index:index + 1]).numpy() for index in range(3)])
    np.testing.assert_allclose(layer(batch), alone, atol=1e-6)
    assert np.abs(alone[0] - batch[0]).max() > 0.02


def test_a_filter_is_bounded_and_the_same_in_all_directions():
    """Also for paintings of one colour, which have no detail at all."""
    flat = spectrum([np.full([64, 64, 3], 0.25, np.float32)])
    kernel = detail_kernel(flat, spectrum(PAINTINGS))
    assert np.isfinite(kernel).all() and np.abs(np.fft.fft2(kernel)).max() < 1.5 * MOST_GAIN
    for other in (kernel.T, kernel[::-1], kernel[:, ::-1]):
        np.testing.assert_array_equal(kernel, other)
    assert kernel.sum() == pytest.approx(1, abs=1e-2)


def test_a_broken_generator_gets_a_filter_without_effect():
    found = spectrum([np.full([64, 64, 3], np.nan)])
    np.testing.assert_allclose(detail_kernel(found, spectrum(PAINTINGS)), no_filter(), atol=1e-3)


@pytest.mark.parametrize("training", [False, True])
def test_without_a_filter_nothing_changes(training):
    np.testing.assert_array_equal(layer_of(no_filter().numpy())(PAINTINGS, training=training), PAINTINGS)


def test_the_filter_does_not_act_in_training_and_stays_in_range():
    layer = layer_of(detail_kernel(np.zeros(BANDS), np.full(BANDS, 4.0)))
    image = np.sign(PAINTINGS)
    np.testing.assert_array_equal(layer(image, training=True), image)
    painted = layer(image).numpy()
    assert np.abs(painted - image).max() > 0.1 and np.abs(painted).max() <= 1


def test_all_channels_change_alike():
    """So colours stay: only brightness is filtered."""
    change = layer_of(detail_kernel(np.zeros(BANDS), np.full(BANDS, 1.0)))(PAINTINGS).numpy() - PAINTINGS
    assert np.abs(change).max() > 0.05
    np.testing.assert_allclose(change, np.repeat(change[..., :1], 3, -1), atol=1e-6)


@pytest.mark.parametrize("match_colors", [False, True])
def test_only_the_painting_generator_has_a_filter_and_it_comes_last(match_colors):
    config = make_config(generator_filters=2, generator_levels=3, match_colors=match_colors, match_detail=True)
    generator = build_generator(config, "photo_to_monet")
    assert generator.layers[-1].name == DETAIL
    image = tf.random.stateless_uniform([1, 32, 32, 3], [1, 2], -1, 1)
    before = generator([image, tf.constant([0, 0])])
    generator.get_layer(DETAIL).set_weights([detail_kernel(np.zeros(BANDS), np.full(BANDS, 4.0))])
    assert np.abs(generator([image, tf.constant([0, 0])]) - before).max() > 1e-3
    assert f"{DETAIL}/kernel" in weight_names(generator)
    assert f"{DETAIL}/kernel" not in weight_names(build_generator(config, "monet_to_photo"))
