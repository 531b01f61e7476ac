"""Space to depth: computing in tiles gives the same as in pixels, borders and gradients included."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from monet.core.config import make_config
from monet.core.keras_compat import instance_norm, weight_names
from monet.core.presets import resolve_config
from monet.gan.systems import SYSTEMS
from monet.networks.build import build_generator
from monet.networks.space_to_depth import (
    bilinear_taps,
    convolve_tiles,
    nearest_taps,
    strided_taps,
    tile_size,
    to_pixels,
    to_tiles,
    transposed_taps,
)
from monet.networks.tiled_layers import ENTRANCE, TiledInstanceNorm, tiled_ends
from monet.training.train_step import make_gradients

SEED, PROGRESS = tf.constant([3, 4]), tf.constant(0.5)
# The networks and losses of `tpu` as a CycleGAN: CUT does not work in tiles.
CYCLEGAN = {"preset": "tpu", "system": "cyclegan", "cycle_weight": 3.0, "identity_weight": 0.5, "cycle_fall": 0.5}
SMALL = {"generator_filters": 4, "discriminator_filters": 4, "dropout": 0.0, "gamma_mean": 1.0, "norm_epsilon": 1.0,
         "image_size": 64, "jitter": 0, "batch_size": 2}


def numbers(*shape, salt=0):
    return tf.random.stateless_normal(shape, [7, salt])


def apply_plain(operation, x, kernel):
    """Applies the plain operation that `operation` describes."""
    if operation is strided_taps:
        return tf.nn.conv2d(x, kernel, 2, "SAME")
    if operation is transposed_taps:
        batch, height, width, _ = x.shape
        return tf.nn.conv2d_transpose(x, tf.transpose(kernel, [0, 1, 3, 2]),
                                      [batch, 2 * height, 2 * width, kernel.shape[3]], 2, "SAME")
    how = "bilinear" if operation is bilinear_taps else "nearest"
    return tf.nn.conv2d(keras.layers.UpSampling2D(2, interpolation=how)(x), kernel, 1, "SAME")


@pytest.mark.parametrize(("operation", "tile"), [
    (strided_taps, 4), (strided_taps, 2), (transposed_taps, 1), (transposed_taps, 2),
    (nearest_taps, 1), (nearest_taps, 2), (bilinear_taps, 1), (bilinear_taps, 2),
])
def test_an_operation_in_tiles_equals_the_plain_one(operation, tile):
    taps = 3 if operation is bilinear_taps else 4
    x, kernel = numbers(2, 8, 12, 5), numbers(taps, taps, 5, 3, salt=1)
    result = tile // 2 if operation is strided_taps else 2 * tile
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, kernel])
        expected = apply_plain(operation, x, kernel)
        found = to_pixels(tf.function(convolve_tiles)([to_tiles(x, tile)], kernel, operation, tile), result)
        weights = numbers(*expected.shape, salt=2)
        sums = [tf.reduce_sum(weights * y) for y in (expected, found)]
    np.testing.assert_allclose(found, expected, atol=2e-5)
    for theirs, ours in zip(*(tape.gradient(total, [x, kernel]) for total in sums), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


def test_separately_tiled_channels_meet_their_own_weights():
    x, kernel = numbers(1, 8, 8, 6), numbers(4, 4, 6, 2, salt=1)
    parts = [to_tiles(part, 2) for part in tf.split(x, 2, -1)]
    for operation in (transposed_taps, nearest_taps):
        found = to_pixels(convolve_tiles(parts, kernel, operation, 2), 4)
        np.testing.assert_allclose(found, apply_plain(operation, x, kernel), atol=2e-5)


@pytest.mark.parametrize("tile", [1, 2])
@pytest.mark.parametrize(("mean", "error"), [(0, 1e-5), (20, 2e-3)])  # bfloat16, its use, has steps of 0.015 at 3
def test_normalization_in_one_pass_equals_the_plain_one(tile, mean, error):
    x = mean + numbers(2, 16, 12, 5)
    options = {"epsilon": 1e-5, "center": True, "scale": True, "gamma_initializer": "ones"}
    found = to_pixels(TiledInstanceNorm(tile, **options)(to_tiles(x, tile)), tile)
    np.testing.assert_allclose(found, instance_norm(**options)(x), atol=error)


def step(**values):
    """The system, and its losses and gradients in a first step from weights that tiles do not affect."""
    config = resolve_config({**SMALL, **values})
    system = SYSTEMS[config.system](config)
    for salt, network in enumerate(system.networks.values()):
        for place, (name, variable) in enumerate(sorted(weight_names(network).items())):
            mean = 1.0 if "gamma" in name else 0.0
            variable.assign(mean + 0.1 * numbers(*variable.shape, salt=100 * salt + place))
    photo, monet = (tf.image.resize(numbers(2, 8, 8, 3, salt=side), [64, 64]) / 4 for side in (1, 2))
    return system, *make_gradients(system, config)(photo, monet, SEED, PROGRESS, 1.0)


def check_equal(found, expected):
    """Fails unless the losses and gradients are equal for each player."""
    (losses, gradients), (expected_losses, expected_gradients) = found, expected
    for name, loss in expected_losses.items():
        assert float(losses[name]) == pytest.approx(float(loss), rel=1e-5), name
    for name, theirs in expected_gradients.items():
        ours, theirs = (np.concatenate([np.ravel(part) for part in parts]) for parts in (gradients[name], theirs))
        assert np.linalg.norm(ours - theirs) < 1e-5 * np.linalg.norm(theirs), name


@pytest.mark.parametrize("values", [
    CYCLEGAN, {"preset": "tutorial", "generator_levels": 5}, {"preset": "unet-32"},
    {**CYCLEGAN, "feature_cycle": 0.5, "image_pool": 4},
], ids=lambda values: "-".join(map(str, values.values())))
def test_a_step_in_tiles_equals_the_plain_step(values):
    plain, *expected = step(space_to_depth="off", **values)
    tiled, *found = step(space_to_depth="on", **values)
    assert tile_size(plain.config) == 1 and tile_size(tiled.config) == 4
    for name, network in plain.networks.items():
        assert list(weight_names(network)) == list(weight_names(tiled.networks[name]))  # one checkpoint for both
    check_equal(found, expected)


def test_a_network_in_tiles_paints_pictures_of_any_size():
    pictures = numbers(1, 64, 96, 3)
    painted = []
    for space_to_depth in ("off", "on"):
        network = build_generator(resolve_config({**SMALL, **CYCLEGAN, "space_to_depth": space_to_depth}), "g")
        for place, variable in enumerate(network.trainable_variables):
            variable.assign(0.2 * numbers(*variable.shape, salt=place))
        painted.append(network([pictures, SEED]).numpy())
    assert painted[0].shape == (1, 64, 96, 3)
    np.testing.assert_allclose(*painted, atol=1e-5)


@pytest.mark.parametrize(("values", "tile"), [
    ({}, 1),
    ({"space_to_depth": "off"}, 1),
    ({"space_to_depth": "on"}, 4),
    ({"space_to_depth": "on", "norm": "batch"}, 1),
    ({"space_to_depth": "on", "generator": "resnet"}, 1),
    ({"space_to_depth": "on", "generator_levels": 1}, 1),
    ({"space_to_depth": "on", "system": "cut", "cycle_weight": 0, "identity_weight": 0}, 1),
])
def test_only_networks_that_support_tiles_use_them(values, tile):
    config = make_config(**values)
    assert tile_size(config) == tile
    names = [layer.name for layer in build_generator(make_config(generator_filters=2, **values), "g").layers]
    assert (ENTRANCE in names) == (tile > 1)


def test_the_ends_of_a_network_without_tiles_are_its_own():
    network = build_generator(make_config(generator_filters=2), "g")
    inputs, outputs = tiled_ends(network)
    assert [tensor.name for tensor in inputs] == [tensor.name for tensor in network.inputs]
    assert [tensor.name for tensor in outputs] == [tensor.name for tensor in network.outputs]
