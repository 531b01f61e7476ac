"""The gradient penalty: its formula, its gradients, when it is due, and that it compiles."""

import numpy as np
import pytest
import tensorflow as tf
from support.discriminators import images, make_discriminator

from monet.core.config import make_config
from monet.core.errors import UserError
from monet.gan.gradient_penalty import squared_slope
from monet.machine.devices import set_precision

SMALL = {"discriminator_filters": 4}
SEED = tf.constant([1, 2])


def make_player(side="monet", **values):
    return make_discriminator(side, **{**SMALL, **values})


def penalty_gradients(player, step=0, share=1.0):
    """What the penalty adds to the gradients of the discriminator's loss in a step."""
    batch = images(0), images(1)
    _, gradients = player.loss_and_gradients(*batch, SEED, share, step)
    penalty, player.penalty = player.penalty, None
    _, plain = player.loss_and_gradients(*batch, SEED, share, step)
    player.penalty = penalty
    return [(one - other).numpy() for one, other in zip(gradients, plain, strict=True)]


@pytest.mark.parametrize("heads", [1, 2])
def test_the_squared_slope_follows_its_formula(heads):
    """Logits w_k x + c_k |x|^2 / 2 have the gradients w_k + c_k x; their mean over places and heads is squared."""
    random = np.random.default_rng(0)
    x, w, c = random.normal(size=(3, 2, 4, 3)), random.normal(size=(6 * heads, 2, 4, 3)), random.normal(size=6 * heads)

    def judge(batch, training):
        logits = (tf.einsum("bijk,nijk->bn", batch, tf.constant(w, tf.float32))
                  + tf.constant(c, tf.float32) * tf.reduce_sum(tf.square(batch), [1, 2, 3])[:, None] / 2)
        maps = tf.split(tf.reshape(logits, [3, 6 * heads, 1, 1]), heads, 1)
        return maps if heads > 1 else maps[0]

    expected = np.mean([((w.mean(0) + c.mean() * image) ** 2).sum() for image in x])
    assert float(squared_slope(judge, tf.constant(x, tf.float32))) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("values", [
    {"discriminator": "two_objective"}, {"discriminator": "strided", "discriminator_norm": "batch"},
    {"discriminator_norm": "none", "discriminator_weight": 1.0}])
def test_its_gradients_are_those_of_the_formula(values):
    """By central differences of the penalty along a random direction of all weights, without ReLU's kinks."""
    player = make_player(**values, gradient_penalty=3.0, discriminator_leak=1.0)
    found, weights = penalty_gradients(player), player.network.trainable_variables
    before, directions = [weight.numpy() for weight in weights], np.random.default_rng(0)

    def moved(by, direction):
        for weight, value, way in zip(weights, before, direction, strict=True):
            weight.assign(value + by * way)
        return player.config.discriminator_weight * 3.0 / 2 * float(squared_slope(player.judge, images(0)))

    direction = [directions.normal(size=value.shape) * 0.02 for value in before]
    slope = (moved(0.05, direction) - moved(-0.05, direction)) / 0.1
    assert sum((one * way).sum() for one, way in zip(found, direction, strict=True)) == pytest.approx(slope, rel=0.03)
    assert slope


def test_the_loss_does_not_show_it():
    losses = [float(make_player(gradient_penalty=weight).loss_and_gradients(images(0), images(1), SEED, 1.0)[0])
              for weight in (0.0, 100.0)]
    assert losses[0] == pytest.approx(losses[1])


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("values", "times"), [
    ({"penalty_every": 3}, (3, 0, 0, 3)), ({"penalty_rise": 2.0}, (0, 0.5, 1, 1)),
    ({"penalty_every": 2, "penalty_rise": 5.0}, (0, 0, 0.8, 0, 1.6, 0, 2))])
def test_a_penalty_is_due_at_its_steps_with_its_weight(compiled, values, times):
    """By the step in the graph, as a loop of steps needs it."""
    always, lazy = make_player(gradient_penalty=2.0), make_player(gradient_penalty=2.0, **values)
    real = images(0)
    each = always.penalty.gradients(always.judge, real, always.network.trainable_variables, 0, 1.0)

    @tf.function(jit_compile=compiled, autograph=False)
    def gradients(step):
        return lazy.penalty.gradients(lazy.judge, real, lazy.network.trainable_variables, step, 1.0)

    for step, factor in enumerate(times):
        for found, expected in zip(gradients(tf.constant(step)), each, strict=True):
            np.testing.assert_allclose(found, factor * expected, atol=1e-4 * np.abs(expected).max() + 1e-9)
    assert max(np.abs(gradient).max() for gradient in each) > 1e-4


def test_each_device_adds_its_share():
    player = make_player(gradient_penalty=2.0)
    for whole, half in zip(penalty_gradients(player), penalty_gradients(player, share=0.5), strict=True):
        np.testing.assert_allclose(half, 0.5 * whole, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("norm", ["", "spectral"])
def test_low_precision_changes_the_slope_little(norm):
    found, weights = {}, None
    try:
        for precision in ("float32", "float16", "bfloat16"):
            set_precision(precision)
            player = make_player(discriminator_norm=norm)
            weights = weights or player.network.get_weights()
            player.network.set_weights(weights)
            slope = squared_slope(player.judge, images(0))
            assert slope.dtype == tf.float32
            found[precision] = float(slope)
    finally:
        set_precision("float32")
    assert found["float16"] == pytest.approx(found["float32"], rel=0.01)
    assert found["bfloat16"] == pytest.approx(found["float32"], rel=0.1)


@pytest.mark.parametrize("setting", ["penalty_every", "penalty_rise"])
def test_a_time_without_a_penalty_is_refused(setting):
    with pytest.raises(UserError, match=f"--{setting.replace('_', '-')} 16"):
        make_config(**{setting: 16})
