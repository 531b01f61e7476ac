"""Network calls in a step: joint calls match separate ones, and gradients over all calls match a tape's."""

import numpy as np
import pytest
import tensorflow as tf

from monet.core.config import make_config
from monet.networks import step_calls
from monet.networks.build import build_discriminator, build_generator
from monet.networks.step_calls import StepGenerator, call_each, gradients_of

CONFIG = make_config(generator_filters=4, generator_levels=5, gamma_mean=1.0, dropout=0.0)
SEED = tf.constant([3, 4])


def noise(salt, batch=2, size=32):
    return tf.random.stateless_uniform([batch, size, size, 3], [3, salt], -1, 1)


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("kind", ["patch", "two_objective"])
def test_joint_calls_give_the_results_of_separate_ones(norm, kind):
    config = make_config(norm=norm, discriminator_filters=2, discriminator_levels=2, gamma_mean=1.0)
    network = build_discriminator(config, "d", kind)
    batches = [noise(0), 0.2 * noise(1) + 0.5]
    together = call_each(lambda images: network(images, training=True), batches, config)
    for batch, outputs in zip(batches, together, strict=True):
        expected = network(batch, training=True)
        assert isinstance(outputs, list) == isinstance(expected, list)
        for found, head in zip(tf.nest.flatten(outputs), tf.nest.flatten(expected), strict=True):
            assert np.abs(head).max() > 1e-3
            np.testing.assert_allclose(found, head, atol=1e-5)


def cycle(paint, images):
    """Paints two batches, then the first result again: a number that depends on all of it."""
    first, second = paint(images, images[::-1])
    return (tf.reduce_mean(tf.square(first)) + tf.reduce_mean(tf.square(second))
            + tf.reduce_mean(tf.abs(paint(first) - images)))


def paint_plainly(network):
    def paint(*batches):
        painted = [network([batch, SEED], training=True) for batch in batches]
        return painted if len(batches) > 1 else painted[0]

    return paint


@pytest.mark.parametrize("most", [100, 3])  # joint and separate calls
def test_gradients_over_all_calls_are_those_of_a_tape(monkeypatch, most):
    monkeypatch.setattr(step_calls, "tile_size", lambda config: 2 if most == 3 else 1)
    monkeypatch.setattr(step_calls, "MOST_TILED", most)
    network = build_generator(CONFIG, "photo_to_monet")
    images = noise(1, size=64)
    with tf.GradientTape() as tape:
        total = cycle(paint_plainly(network), images)
    expected = tape.gradient(total, network.trainable_variables)

    calls = StepGenerator(network, CONFIG).new_step()
    with tf.GradientTape() as tape:
        total = cycle(lambda *batches: calls(*batches, seed=SEED), images)
    shared = [layer.name for layer, _, _ in calls.shared_layers()]
    assert {"down5_conv", "up1_conv"} <= set(shared)  # the innermost, whose features are few
    assert not {"down1_conv", "image_conv"} & set(shared)
    assert len(calls.features[0][0]) == (3 if most == 3 else 2)
    [gradients] = gradients_of(tape, total, [calls])
    for variable, ours, theirs in zip(network.trainable_variables, gradients, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max() + 1e-9, err_msg=variable.name)


def test_nothing_is_shared_where_features_outnumber_the_weights():
    network = build_generator(make_config(generator_filters=1, generator_levels=2), "photo_to_monet")
    calls = StepGenerator(network, CONFIG).new_step()
    calls(tf.zeros([8, 64, 64, 3]), seed=SEED)
    assert calls.shared_layers() == []
