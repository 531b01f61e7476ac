"""monet.gan.shared_gradients: large kernels get the gradients that a tape would add up call by call."""

import numpy as np
import tensorflow as tf

from monet.core.config import make_config
from monet.gan.shared_gradients import Calls, tapped
from monet.networks.build import build_generator

CONFIG = make_config(generator_filters=4, generator_levels=5, gamma_mean=1.0)
SEED = tf.constant([3, 4])


def two_calls(call, images):
    """What a cycle does: one call on two pictures, another on the first of what comes out of it."""
    painted = call([images, SEED])
    return tf.reduce_mean(tf.square(painted)) + tf.reduce_mean(tf.abs(call([painted[:1], SEED]) - images[:1]))


def test_gradients_over_all_calls_are_those_of_a_tape():
    network = build_generator(CONFIG, "photo_to_monet")
    images = tf.random.stateless_uniform([2, 64, 64, 3], [0, 1], -1, 1)
    with tf.GradientTape() as tape:
        total = two_calls(lambda inputs: network(inputs, training=True), images)
    expected = tape.gradient(total, network.trainable_variables)

    calls = Calls(network, tapped(network))
    with tf.GradientTape() as tape:
        total = two_calls(calls, images)
    late = [layer.name for layer, _, _ in calls.late_layers()]
    assert {"down5_conv", "up1_conv"} <= set(late)  # the innermost, whose features are few
    assert not {"down1_conv", "image_conv"} & set(late)
    gradients = calls.gradients(tape.gradient(total, calls.sources()))
    for variable, ours, theirs in zip(network.trainable_variables, gradients, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max() + 1e-9, err_msg=variable.name)


def test_nothing_is_late_where_features_outnumber_the_weights():
    network = build_generator(make_config(generator_filters=1, generator_levels=2), "photo_to_monet")
    calls = Calls(network, tapped(network))
    calls([tf.zeros([8, 64, 64, 3]), SEED])
    assert calls.late_layers() == []
