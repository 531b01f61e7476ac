"""monet.networks.color_curves: curves that match colours, and the layer that applies them."""

import numpy as np
import pytest
import tensorflow as tf

from monet.core.config import make_config
from monet.core.keras_compat import weight_names
from monet.networks.build import build_generator
from monet.networks.color_curves import CURVES, KNOTS, ColorCurves, quantile_curves, straight_curves

RANDOM = np.random.default_rng(0)
PHOTOS = np.clip(RANDOM.normal(-0.2, 0.4, [20000, 3]), -1, 1)
PAINTINGS = np.clip(RANDOM.normal([0.1, 0.0, -0.1], [0.2, 0.3, 0.25], [15000, 3]), -1, 1)


def layer_of(curves):
    layer = ColorCurves(dtype="float32")
    layer.build((None, None, None, 3))
    layer.set_weights(curves)
    return layer


def as_image(pixels):
    return tf.constant(pixels.reshape(1, -1, 100, 3), tf.float32)


def test_matched_pixels_have_the_targets_distribution():
    matched = layer_of(quantile_curves(PHOTOS, PAINTINGS))(as_image(PHOTOS)).numpy().reshape(-1, 3)
    shares = np.linspace(0.05, 0.95, 25)
    expected = np.quantile(PAINTINGS, shares, axis=0)
    before = np.abs(np.quantile(PHOTOS, shares, axis=0) - expected).max()
    assert np.abs(np.quantile(matched, shares, axis=0) - expected).max() < 0.02 < before / 10


def test_a_curve_is_numpys_interpolation():
    positions, values = quantile_curves(PHOTOS, PAINTINGS)
    image = as_image(1.2 * PHOTOS)  # some pixels beyond the ends
    curves = zip(np.moveaxis(image.numpy(), -1, 0), positions, values, strict=True)
    expected = np.stack([np.interp(*curve) for curve in curves], -1)
    np.testing.assert_allclose(layer_of((positions, values))(image), expected, atol=1e-5)


def test_one_colour_is_moved_to_the_paintings():
    """All quantiles are the same then, and no slope may become infinite."""
    gray = np.full([1000, 3], 0.25)
    found = layer_of(quantile_curves(gray, PAINTINGS))(as_image(gray))
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 1


@pytest.mark.parametrize("training", [False, True])
def test_straight_curves_change_nothing(training):
    image = as_image(PHOTOS)
    np.testing.assert_allclose(layer_of(straight_curves())(image, training=training), image, atol=1e-6)


def test_curves_do_not_act_in_training():
    image, layer = as_image(PHOTOS), layer_of(quantile_curves(PHOTOS, PAINTINGS))
    np.testing.assert_array_equal(layer(image, training=True), image)
    assert np.abs(layer(image, training=False) - image).max() > 0.1


@pytest.mark.parametrize("space_to_depth", ["off", "on"])
def test_only_the_painting_generator_has_curves(space_to_depth):
    config = make_config(generator_filters=2, generator_levels=3, match_colors=True, space_to_depth=space_to_depth)
    generator = build_generator(config, "photo_to_monet")
    image = tf.random.stateless_uniform([1, 32, 32, 3], [1, 2], -1, 1)
    before = generator([image, tf.constant([0, 0])])
    generator.get_layer(CURVES).set_weights([straight_curves()[0], np.full([3, KNOTS], 0.5, np.float32)])
    np.testing.assert_allclose(generator([image, tf.constant([0, 0])]), np.full(before.shape, 0.5))
    assert f"{CURVES}/positions" in weight_names(generator)
    assert f"{CURVES}/positions" not in weight_names(build_generator(config, "monet_to_photo"))
