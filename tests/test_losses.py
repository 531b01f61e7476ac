"""monet.losses: closed forms."""

import numpy as np
import pytest
import tensorflow as tf

from monet.losses import ADVERSARIAL_LOSSES, mean_absolute


def test_undecided_discriminator_costs_log_2():
    bce = ADVERSARIAL_LOSSES["bce"]
    logits = tf.zeros([2, 3, 3, 1])
    assert float(bce.generator(logits)) == pytest.approx(np.log(2))
    assert float(bce.discriminator(logits, logits)) == pytest.approx(np.log(2))  # half of two of them


def test_cross_entropy_follows_its_formula():
    real, fake = np.array([2.0, -1.0], np.float32), np.array([0.5, 3.0], np.float32)
    real_share, fake_share = 1 / (1 + np.exp(-real)), 1 / (1 + np.exp(-fake))
    bce = ADVERSARIAL_LOSSES["bce"]
    assert float(bce.generator(tf.constant(fake))) == pytest.approx(-np.log(fake_share).mean(), rel=1e-5)
    expected = 0.5 * (-np.log(real_share).mean() - np.log(1 - fake_share).mean())
    assert float(bce.discriminator(tf.constant(real), tf.constant(fake))) == pytest.approx(expected, rel=1e-5)


def test_mean_absolute_difference():
    assert float(mean_absolute(tf.constant([1.0, -2.0]), tf.constant([0.0, 2.0]))) == 2.5
