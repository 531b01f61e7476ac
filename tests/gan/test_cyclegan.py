"""monet.gan.cyclegan: one tape gives the gradients of the tutorial's four, and a step trains every player."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

from monet.core.config import make_config
from monet.core.errors import UserError
from monet.gan.cyclegan import CycleGan
from monet.training.train_step import make_gradients, train_step

SEED = tf.constant([3, 4])
CONFIG = make_config(generator_filters=4, generator_levels=4, discriminator_filters=4, gamma_mean=1.0, dropout=0.0)


@pytest.fixture(scope="module")
def system():
    tf.keras.utils.set_random_seed(1)
    return CycleGan(CONFIG)


def smooth_batch():
    """Photos and paintings `[2, 64, 64, 3]` of soft blobs, which even a tiny network can learn to reproduce."""
    return tuple(tf.image.resize(tf.random.stateless_uniform([2, 4, 4, 3], [0, side], -1, 1), [64, 64])
                 for side in (1, 2))


@pytest.fixture(scope="module")
def batch():
    return smooth_batch()


def straightforward(system, photo, monet):
    """The tutorial's form: one persistent tape, four losses, four gradients, each by its own definition."""
    to_monet, to_photo, monet_critic, photo_critic = system.networks.values()
    bce = tf.keras.losses.BinaryCrossentropy(from_logits=True)

    def call(network, x):
        return network([x, SEED], training=True)

    with tf.GradientTape(persistent=True) as tape:
        fake_monet, fake_photo = call(to_monet, photo), call(to_photo, monet)
        cycled_photo, cycled_monet = call(to_photo, fake_monet), call(to_monet, fake_photo)
        same_monet, same_photo = call(to_monet, monet), call(to_photo, photo)
        real_monet_logits, real_photo_logits = monet_critic(monet), photo_critic(photo)
        fake_monet_logits, fake_photo_logits = monet_critic(fake_monet), photo_critic(fake_photo)
        cycle = 10.0 * (tf.reduce_mean(tf.abs(monet - cycled_monet)) + tf.reduce_mean(tf.abs(photo - cycled_photo)))
        fool_monet = bce(tf.ones_like(fake_monet_logits), fake_monet_logits)
        fool_photo = bce(tf.ones_like(fake_photo_logits), fake_photo_logits)
        monet_identity = 5.0 * tf.reduce_mean(tf.abs(monet - same_monet))
        photo_identity = 5.0 * tf.reduce_mean(tf.abs(photo - same_photo))
        totals = {
            "photo_to_monet": fool_monet + cycle + monet_identity,
            "monet_to_photo": fool_photo + cycle + photo_identity,
            "monet_discriminator": 0.5 * (bce(tf.ones_like(real_monet_logits), real_monet_logits)
                                          + bce(tf.zeros_like(fake_monet_logits), fake_monet_logits)),
            "photo_discriminator": 0.5 * (bce(tf.ones_like(real_photo_logits), real_photo_logits)
                                          + bce(tf.zeros_like(fake_photo_logits), fake_photo_logits)),
        }
    gradients = {name: tape.gradient(total, system.networks[name].trainable_variables)
                 for name, total in totals.items()}
    losses = {"cycle": cycle, "identity": monet_identity + photo_identity, "photo_to_monet": fool_monet,
              "monet_to_photo": fool_photo, "monet_discriminator": totals["monet_discriminator"],
              "photo_discriminator": totals["photo_discriminator"]}
    return losses, gradients


def test_the_step_has_the_losses_and_gradients_of_the_straightforward_form(system, batch):
    losses, gradients = system.losses_and_gradients(*batch, SEED)
    expected_losses, expected_gradients = straightforward(system, *batch)
    assert {name: float(loss) for name, loss in losses.items()} == pytest.approx(
        {name: float(loss) for name, loss in expected_losses.items()}, rel=1e-5)
    for name, expected in expected_gradients.items():
        for ours, theirs in zip(gradients[name], expected, strict=True):
            scale = float(tf.reduce_max(tf.abs(theirs)))
            np.testing.assert_allclose(ours, theirs, atol=1e-4 * scale + 1e-7, err_msg=name)


def test_every_trainable_variable_gets_a_gradient(system, batch):
    _, gradients = system.losses_and_gradients(*batch, SEED)
    for name, network in system.networks.items():
        for variable, gradient in zip(network.trainable_variables, gradients[name], strict=True):
            assert gradient is not None, variable.name
            assert np.abs(gradient).max() > 0, (name, variable.name)


def test_gradients_scale_with_the_share_of_the_global_batch(system, batch):
    _, whole = system.losses_and_gradients(*batch, SEED)
    _, half = system.losses_and_gradients(*batch, SEED, share=0.5)
    for name in whole:
        np.testing.assert_allclose(half[name][0], 0.5 * whole[name][0], rtol=1e-3, atol=1e-7)


def test_a_step_moves_every_player_and_learns():
    tf.keras.utils.set_random_seed(1)
    system = CycleGan(dataclasses.replace(CONFIG, learning_rate=5e-3))
    batch = smooth_batch()
    before = {name: network.get_weights() for name, network in system.networks.items()}
    step = tf.function(functools.partial(train_step, system, make_gradients(system, system.config)), autograph=False)
    cycles = [float(step(*batch, SEED)["cycle"]) for _ in range(20)]
    for name, network in system.networks.items():
        assert all(np.abs(new - old).max() > 0 for new, old in zip(network.get_weights(), before[name], strict=True))
    assert cycles[-1] < 0.9 * cycles[0]


def test_the_first_update_is_adams():
    """The first step of Kingma & Ba 2015: the rate times g / (|g| + epsilon / sqrt(1 - beta_2))."""
    tf.keras.utils.set_random_seed(1)
    system = CycleGan(CONFIG)
    batch = smooth_batch()
    _, gradients = system.losses_and_gradients(*batch, SEED)
    before = {name: network.get_weights() for name, network in system.networks.items()}
    train_step(system, make_gradients(system, CONFIG), *batch, SEED)
    for name, network in system.networks.items():
        for new, old, gradient in zip(network.get_weights(), before[name], gradients[name], strict=True):
            expected = -2e-4 * gradient / (np.abs(gradient) + 1e-7 / np.sqrt(1 - 0.999))
            np.testing.assert_allclose(new - old, expected, rtol=0.01, atol=2e-6, err_msg=name)


def test_an_unknown_adversarial_loss_is_refused():
    with pytest.raises(UserError, match="--adversarial-loss bse: .* mean bce"):
        CycleGan(make_config(adversarial_loss="bse"))
