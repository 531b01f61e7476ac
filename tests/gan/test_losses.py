"""monet.gan.losses: closed forms."""

import numpy as np
import pytest
import tensorflow as tf

from monet.gan.cut import patch_nce
from monet.gan.losses import ADVERSARIAL_LOSSES, BOUNDARIES, DISTANCES

REAL, FAKE = np.array([2.0, -1.0, 0.5], np.float32), np.array([0.5, 3.0, -2.0], np.float32)


def called_real(logits):
    return 1 / (1 + np.exp(-logits))


# By name: the generator's loss on fakes, and the discriminator's on reals and fakes, each as in its paper.
FORMULAS = {
    "bce": (lambda fake: -np.log(called_real(fake)).mean(),
            lambda real, fake: -np.log(called_real(real)).mean() - np.log(1 - called_real(fake)).mean()),
    "lsgan": (lambda fake: ((fake - 1) ** 2).mean(),
              lambda real, fake: ((real - 1) ** 2).mean() + (fake**2).mean()),
    "hinge": (lambda fake: -fake.mean(),
              lambda real, fake: np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + fake).mean()),
}


def test_undecided_discriminator_costs_log_2_a_side():
    bce = ADVERSARIAL_LOSSES["bce"]
    logits = tf.zeros([2, 3, 3, 1])
    assert float(bce.generator(logits)) == pytest.approx(np.log(2))
    assert float(bce.discriminator(logits, logits)) == pytest.approx(2 * np.log(2))


@pytest.mark.parametrize("name", ADVERSARIAL_LOSSES)
def test_each_adversarial_loss_follows_its_formula(name):
    loss, (generator, discriminator) = ADVERSARIAL_LOSSES[name], FORMULAS[name]
    assert float(loss.generator(tf.constant(FAKE))) == pytest.approx(generator(FAKE), rel=1e-5)
    found = loss.discriminator(tf.constant(REAL), tf.constant(FAKE))
    assert float(found) == pytest.approx(discriminator(REAL, FAKE), rel=1e-5)


@pytest.mark.parametrize("name", ADVERSARIAL_LOSSES)
def test_the_two_sides_of_a_loss_oppose_each_other(name):
    """The generator gains if fakes are rated higher; the discriminator if they are rated lower and reals higher."""
    real, fake = tf.constant(0.1), tf.constant(-0.1)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([real, fake])
        generator = ADVERSARIAL_LOSSES[name].generator(fake)
        discriminator = ADVERSARIAL_LOSSES[name].discriminator(real, fake + 0.3)
    assert tape.gradient(generator, fake) < 0
    assert tape.gradient(discriminator, real) < 0 < tape.gradient(discriminator, fake)


@pytest.mark.parametrize("name", ADVERSARIAL_LOSSES)
def test_at_the_boundary_reals_and_fakes_pull_alike(name):
    output = tf.constant(BOUNDARIES[name])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(output)
        real = ADVERSARIAL_LOSSES[name].discriminator(output, tf.constant(0.0))
        fake = ADVERSARIAL_LOSSES[name].discriminator(tf.constant(0.0), output)
    assert float(tape.gradient(real, output)) == -float(tape.gradient(fake, output)) < 0


def test_hinge_gains_nothing_beyond_the_margin():
    hinge = ADVERSARIAL_LOSSES["hinge"]
    assert float(hinge.discriminator(tf.constant([1.0, 7.0]), tf.constant([-1.0, -9.0]))) == 0.0


def test_saturated_logits_stay_finite():
    far = tf.constant([1e4])
    for loss in ADVERSARIAL_LOSSES.values():
        assert np.isfinite(loss.generator(-far))
        assert np.isfinite(loss.discriminator(-far, far))


@pytest.mark.parametrize(("name", "expected"), [("l1", 2.5), ("l2", 8.5)])
def test_distances(name, expected):
    """The means of the differences 1 and 4, and of their squares."""
    assert float(DISTANCES[name](tf.constant([1.0, -2.0]), tf.constant([0.0, 2.0]))) == expected


def unit_vectors(seed, batch=2, places=5, features=4):
    vectors = np.random.default_rng(seed).normal(size=(batch, places, features))
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def test_patch_nce_follows_its_formula():
    """Equation 3, query by query: the key of the same place against the keys of the same image only."""
    queries, keys, temperature = unit_vectors(0), unit_vectors(1), 0.5
    costs = []
    for image_queries, image_keys in zip(queries, keys, strict=True):
        for place, query in enumerate(image_queries):
            weights = np.exp([query @ key / temperature for key in image_keys])
            costs.append(-np.log(weights[place] / weights.sum()))
    assert float(patch_nce(tf.constant(queries), tf.constant(keys), temperature)) == pytest.approx(
        np.mean(costs), rel=1e-5)


def test_patch_nce_of_places_that_look_alike_is_the_log_of_their_number():
    alike = tf.broadcast_to(tf.constant([0.6, 0.8]), [3, 7, 2])
    assert float(patch_nce(alike, alike, 0.07)) == pytest.approx(np.log(7), rel=1e-5)


def test_patch_nce_is_near_0_for_matching_places_and_large_for_exchanged_ones():
    places = tf.constant(unit_vectors(2))
    assert float(patch_nce(places, places, 0.01)) < 1e-3
    assert float(patch_nce(places, tf.roll(places, 1, axis=1), 0.01)) > 10


def test_patch_nce_has_gradients_for_queries_and_not_for_keys():
    queries, keys = tf.constant(unit_vectors(3)), tf.constant(unit_vectors(4))
    with tf.GradientTape() as tape:
        tape.watch([queries, keys])
        loss = patch_nce(queries, keys, 0.07)
    to_queries, to_keys = tape.gradient(loss, [queries, keys])
    assert np.abs(to_queries).max() > 0
    assert to_keys is None
