"""Layers: instance normalization under both libraries, and reproducible dropout."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from monet.core import keras_compat
from monet.core.config import make_config
from monet.networks import layers


def images(seed, shape=(3, 9, 7, 5)):
    return np.random.default_rng(seed).normal(2.0, 3.0, shape).astype(np.float32)


def built(layer, gamma, beta):
    layer.build((None, None, None, len(gamma)))
    layer.set_weights([gamma, beta])
    return layer


MAKERS = [keras_compat.keras_instance_norm] + ([keras_compat.addons_instance_norm] if keras_compat.tfa else [])


def test_python_3_11_uses_tensorflow_addons_and_later_versions_keras():
    expected = keras_compat.addons_instance_norm if sys.version_info < (3, 12) else keras_compat.keras_instance_norm
    assert keras_compat.instance_norm is expected


@pytest.mark.parametrize("make", MAKERS)
def test_instance_normalization_follows_its_formula(make):
    x, gamma, beta = images(0), images(1, (5,)), images(2, (5,))
    layer = built(make(epsilon=1e-3), gamma, beta)
    mean, variance = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    expected = (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_both_libraries_name_shape_and_initialize_weights_alike():
    layer = layers.norm_layer(make_config(gamma_mean=1.0, gamma_stddev=0.0), "norm")
    layer.build((None, None, None, 5))
    assert [weight.name.split("/")[-1].split(":")[0] for weight in layer.weights] == ["gamma", "beta"]
    np.testing.assert_array_equal(layer.get_weights(), [np.ones(5), np.zeros(5)])


@pytest.mark.parametrize("norm", layers.NORMS)
def test_normalization_without_scale_and_shift_has_nothing_to_learn(norm):
    layer = layers.norm_layer(make_config(norm=norm, norm_affine=False, norm_epsilon=1e-5), "norm")
    x = images(0)
    values = layer(x, training=True).numpy()
    assert layer.trainable_weights == []
    axes = (1, 2) if norm == "instance" else (0, 1, 2)
    np.testing.assert_allclose(values.mean(axes), 0.0, atol=1e-5)
    np.testing.assert_allclose(values.std(axes), 1.0, atol=1e-4)


def test_batch_normalization_paints_with_the_statistics_of_training():
    layer = layers.norm_layer(make_config(norm="batch", gamma_stddev=0.0, gamma_mean=1.0), "norm")
    x = images(0, (4, 32, 32, 5))  # many: TensorFlow's moving variance is the unbiased one, n / (n - 1) times as large
    for _ in range(100):
        layer(x, training=True)
    np.testing.assert_allclose(layer(x[:1]), layer(x, training=True)[:1], atol=1e-3)


def test_gamma_starts_as_the_config_says():
    layer = layers.norm_layer(make_config(gamma_mean=0.0, gamma_stddev=0.02), "norm")
    layer.build((None, None, None, 20000))
    gamma = layer.get_weights()[0]
    assert abs(gamma.mean()) < 1e-3
    assert gamma.std() == pytest.approx(0.02, rel=0.05)


def test_dropout_follows_the_seed_and_keeps_the_mean():
    x = np.ones((4, 32, 32, 8), np.float32)
    dropout = layers.SeededDropout(0.5, salt=1)
    first = dropout(x, seed=tf.constant([1, 2]), training=True).numpy()
    np.testing.assert_array_equal(first, dropout(x, seed=tf.constant([1, 2]), training=True))
    assert set(np.unique(first)) == {0.0, 2.0}
    assert first.mean() == pytest.approx(1.0, abs=0.02)
    other_seed = dropout(x, seed=tf.constant([1, 3]), training=True).numpy()
    other_layer = layers.SeededDropout(0.5, salt=2)(x, seed=tf.constant([1, 2]), training=True).numpy()
    for other in (other_seed, other_layer):
        assert (first != other).mean() == pytest.approx(0.5, abs=0.02)


def test_dropout_does_nothing_outside_training():
    x = images(0)
    np.testing.assert_array_equal(layers.SeededDropout(0.5, salt=1)(x, seed=tf.constant([1, 2])), x)


def test_reflection_padding_mirrors_at_the_edge():
    x = images(0)
    expected = np.pad(x, [(0, 0), (2, 2), (2, 2), (0, 0)], "reflect")
    np.testing.assert_array_equal(layers.reflected(x, 2), expected)


def test_a_residual_block_adds_to_its_input():
    """With a scale of 0 it adds nothing."""
    config = make_config(gamma_mean=0.0, gamma_stddev=0.0)
    image = tf.keras.Input((9, 7, 5))
    block = tf.keras.Model(image, layers.residual_block(image, (1, 3, 1), config, "block"))
    x = images(0)
    np.testing.assert_array_equal(block(x), x)
    block.get_layer("block_3_norm").set_weights([np.ones(5), np.zeros(5)])
    assert np.abs(block(x) - x).max() == 0  # the first two are still 0
    for part in (1, 2):
        block.get_layer(f"block_{part}_norm").set_weights([np.ones(5), np.zeros(5)])
    assert np.abs(block(x) - x).max() > 0.1


@pytest.mark.parametrize("upsample", ["transpose", "resize", "nearest"])
def test_doubling_doubles(upsample):
    x = layers.doubled([tf.zeros([1, 5, 6, 4])], 7, make_config(upsample=upsample), "up")
    assert x.shape == (1, 10, 12, 7)


@pytest.mark.parametrize("shape", [(2, 8, 12, 5), (1, 1, 1, 3), (1, 2, 3, 4)])
def test_interpolated_pixels_are_those_of_keras(shape):
    """And so are the gradients."""
    x = tf.constant(images(0, shape))
    found = []
    for layer in (layers.interpolate_pixels, tf.keras.layers.UpSampling2D(2, interpolation="bilinear")):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            total = tf.reduce_sum(tf.sin(y))
        found.append((y, tape.gradient(total, x)))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_bfloat16_stays_bfloat16_where_pictures_are_doubled():
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    layer = layers.bilinear(make_config(precision="bfloat16"), "resize")
    x = tf.cast(images(0, (1, 8, 8, 3)), tf.bfloat16)
    assert layer(x).dtype == tf.bfloat16
    expected = tf.image.resize(tf.cast(x, tf.float32), [16, 16])
    np.testing.assert_allclose(tf.cast(layer(x), tf.float32), expected, rtol=0.02, atol=0.1)
    symbolic = tf.keras.Input((None, None, 3))
    assert tf.keras.Model(symbolic, layer(symbolic)).output_shape == (None, None, None, 3)
    tf.keras.mixed_precision.set_global_policy("float32")
    assert isinstance(layers.bilinear(make_config(), "resize"), tf.keras.layers.UpSampling2D)
