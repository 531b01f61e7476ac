"""monet.doubling: the convolution of a doubled picture, without the doubled picture."""

import numpy as np
import pytest
import tensorflow as tf

from monet.doubling import DoublingConv2D, conv_of_doubled, doubled_along


def normal(seed, shape):
    return tf.random.stateless_normal(shape, [seed, 0])


def straightforward(x, kernel):
    """Keras's UpSampling2D, and then the convolution."""
    doubled = tf.image.resize(x, [2 * x.shape[1], 2 * x.shape[2]])
    return tf.nn.conv2d(doubled, kernel, 1, "SAME")


def result_and_gradients(convolve, x, kernel):
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        y = convolve(x, kernel)
        total = tf.reduce_sum(tf.sin(y))
    return [y, *tape.gradient(total, [x, kernel])]


@pytest.mark.parametrize("shape", [(2, 8, 12, 5), (1, 1, 1, 3), (1, 2, 2, 3), (3, 16, 16, 4)])
def test_it_is_the_convolution_of_the_doubled_picture_up_to_its_border(shape):
    x, kernel = normal(1, shape), normal(2, (3, 3, shape[3], 7))
    expected = result_and_gradients(straightforward, x, kernel)
    for ours, theirs in zip(result_and_gradients(conv_of_doubled, x, kernel), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("axis", [1, 2])
def test_doubling_along_an_axis_interpolates(axis):
    x = normal(1, (2, 5, 6, 3))
    sides = [size * (1 + (place == axis)) for place, size in enumerate(x.shape)]
    np.testing.assert_allclose(doubled_along(x, axis), tf.image.resize(x, sides[1:3]), atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 4, 4, 3), (1, 16, 16, 3)])
def test_the_layer_gives_the_same_whichever_way_it_takes(shape):
    """Few pixels are doubled; many are not."""
    layer = DoublingConv2D(7, activation="tanh")
    x = normal(1, shape)
    y = layer(x)
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel, bias + 0.5])
    expected = tf.tanh(straightforward(x, tf.constant(kernel)) + bias + 0.5)
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)
    assert y.shape == expected.shape
    inputs = tf.keras.Input((None, None, 3))
    assert tf.keras.Model(inputs, layer(inputs)).output_shape == (None, None, None, 7)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_in_half_precision_it_stays_in_half_precision(precision):
    x, kernel = normal(1, (1, 16, 16, 8)), 0.1 * normal(2, (3, 3, 8, 4))
    expected = straightforward(x, kernel)
    found = result_and_gradients(conv_of_doubled, tf.cast(x, precision), tf.cast(kernel, precision))
    assert {tensor.dtype.name for tensor in found} == {precision}
    np.testing.assert_allclose(tf.cast(found[0], tf.float32), expected, atol=0.02 * np.abs(expected).max())
