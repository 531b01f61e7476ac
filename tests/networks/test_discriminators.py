"""How discriminators are normalized: spectrally by its formula, or not at all; and what an unknown name says."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from monet.core.config import make_config
from monet.core.errors import UserError
from monet.core.keras_compat import weight_names
from monet.networks.build import build_discriminator, check_networks
from monet.networks.space_to_depth import tile_size
from monet.networks.spectral import SpectralConv2D
from monet.training.checkpoint import architecture_of

KINDS = pytest.mark.parametrize("kind", ["patch", "strided", "two_objective"])


def discriminator(kind="patch", **values):
    config = make_config(discriminator_filters=2, discriminator_levels=2, **values)
    return build_discriminator(config, "d", kind)


def spectral_layer():
    layer = SpectralConv2D(5, 4, keras.initializers.RandomNormal(seed=1), strides=2, padding="same", name="conv")
    layer.build((None, None, None, 3))
    return layer


def pictures():
    return tf.constant(np.random.default_rng(0).normal(size=(2, 8, 8, 3)), tf.float32)


def largest_singular_value(kernel):
    return np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), compute_uv=False)[0]


def test_the_kernel_is_divided_by_its_largest_singular_value_and_not_changed():
    layer = spectral_layer()
    kernel = np.asarray(layer.kernel)
    for _ in range(60):
        found = layer(pictures(), training=True)
    np.testing.assert_array_equal(layer.kernel, kernel)
    expected = tf.nn.conv2d(pictures(), kernel / largest_singular_value(kernel), 2, "SAME")
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_a_step_of_the_power_method_a_call_in_training():
    layer = spectral_layer()
    matrix, u = np.asarray(layer.kernel).reshape(-1, 5), np.asarray(layer.vector_u)
    layer(pictures())
    np.testing.assert_array_equal(layer.vector_u, u)
    for _ in range(2):
        v = u @ matrix.T / np.linalg.norm(u @ matrix.T)
        u = v @ matrix / np.linalg.norm(v @ matrix)
        layer(pictures(), training=True)
        np.testing.assert_allclose(layer.vector_u, u, rtol=1e-4)


def test_the_gradient_goes_through_the_division():
    """Equation 12 of the paper, for the loss sum(normalized kernel * weights): what lies along u and v is missing."""
    layer, weights = spectral_layer(), np.random.default_rng(1).normal(size=(48, 5))
    for _ in range(60):
        layer(pictures(), training=True)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.reshape(layer.normalized_kernel(True), [48, 5]) * tf.constant(weights, tf.float32))
    found = np.reshape(tape.gradient(loss, layer.trainable_weights[0]), [48, 5])
    matrix = np.asarray(layer.kernel).reshape(48, 5)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    along = np.outer(left[:, 0], right[0])
    expected = (weights - (weights * matrix / values[0]).sum() * along) / values[0]
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


@KINDS
@pytest.mark.parametrize("norm", ["none", "spectral"])
def test_without_normalization_every_convolution_has_a_bias(kind, norm):
    names = weight_names(discriminator(kind, discriminator_norm=norm))
    kernels = [name for name in names if name.endswith("/kernel")]
    assert {f"{name.partition('/')[0]}/bias" for name in kernels} <= set(names)
    assert not any("gamma" in name or "beta" in name for name in names)
    assert sum("vector_u" in name for name in names) == (len(kernels) if norm == "spectral" else 0)


@KINDS
def test_the_size_of_spectrally_normalized_kernels_does_not_matter(kind):
    network = discriminator(kind, discriminator_norm="spectral")
    image = tf.random.stateless_uniform([1, 32, 32, 3], [0, 1], -1, 1)
    for _ in range(20):
        network(image, training=True)
    before = tf.nest.flatten(network(image, training=True))
    for variable in network.trainable_variables:
        if len(variable.shape) == 4:
            variable.assign(100.0 * variable)
    for one, two in zip(before, tf.nest.flatten(network(image, training=False)), strict=True):
        np.testing.assert_allclose(one, two, atol=0.02 * np.abs(one).max())


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_the_discriminators_may_be_normalized_unlike_the_generators(norm):
    expected = weight_names(discriminator(norm=norm))
    other = "batch" if norm == "instance" else "instance"
    found = weight_names(discriminator(norm=other, discriminator_norm=norm))
    assert list(found) == list(expected)
    assert list(found) != list(weight_names(discriminator(norm=other)))


@pytest.mark.parametrize(("norm", "tile"), [("", 4), ("instance", 4), ("none", 4), ("batch", 1), ("spectral", 1)])
def test_tiles_are_used_where_the_normalization_works_in_them(norm, tile):
    assert tile_size(make_config(space_to_depth="on", discriminator_norm=norm)) == tile


def test_an_unknown_normalization_is_refused():
    with pytest.raises(UserError, match="--discriminator-norm spectrall: .* mean spectral"):
        check_networks(make_config(discriminator_norm="spectrall"))


def test_naming_the_normalization_that_was_meant_is_no_other_architecture():
    old = {name: value for name, value in vars(make_config()).items() if name != "discriminator_norm"}
    assert architecture_of(old) == architecture_of(vars(make_config(discriminator_norm="instance")))
    assert architecture_of(old) != architecture_of(vars(make_config(discriminator_norm="spectral")))
