"""Adversarial losses, and the distances of the cycle and identity losses."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


class AdversarialLoss(NamedTuple):
    """The two sides of one adversarial loss; each takes logits of any shape and returns a float32 scalar.

    Attributes:
        generator: from the logits of fakes.
        discriminator: from the logits of reals and those of fakes; with labels, it also takes the reals' `label`.
    """

    generator: Callable[[tf.Tensor], tf.Tensor]
    discriminator: Callable[..., tf.Tensor]


def cross_entropy(logits: tf.Tensor, target: float) -> tf.Tensor:
    """Mean binary cross-entropy of `logits` against one target for all of them."""
    targets = tf.fill(tf.shape(logits), target)
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits))


def bce_generator(fake_logits: tf.Tensor) -> tf.Tensor:
    """Non-saturating generator loss (Goodfellow et al. 2014): fakes should be judged real."""
    return cross_entropy(fake_logits, 1.0)


def bce_discriminator(real_logits: tf.Tensor, fake_logits: tf.Tensor, label: float = 1.0) -> tf.Tensor:
    """Cross-entropy of telling reals from fakes."""
    return cross_entropy(real_logits, label) + cross_entropy(fake_logits, 0.0)


def lsgan_generator(fake_logits: tf.Tensor) -> tf.Tensor:
    """Least squares (Mao et al. 2017): fakes should be given 1."""
    return tf.reduce_mean(tf.square(fake_logits - 1.0))


def lsgan_discriminator(real_logits: tf.Tensor, fake_logits: tf.Tensor, label: float = 1.0) -> tf.Tensor:
    """Least squares: reals should be given `label`, fakes 0."""
    return tf.reduce_mean(tf.square(real_logits - label)) + tf.reduce_mean(tf.square(fake_logits))


def hinge_generator(fake_logits: tf.Tensor) -> tf.Tensor:
    """Hinge loss (Lim & Ye 2017): fakes should be rated high, without bound."""
    return -tf.reduce_mean(fake_logits)


def hinge_discriminator(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """Hinge loss: reals should be rated above 1, fakes below -1; going further gains nothing."""
    return tf.reduce_mean(tf.nn.relu(1.0 - real_logits)) + tf.reduce_mean(tf.nn.relu(1.0 + fake_logits))


ADVERSARIAL_LOSSES = {
    "bce": AdversarialLoss(bce_generator, bce_discriminator),
    "lsgan": AdversarialLoss(lsgan_generator, lsgan_discriminator),
    "hinge": AdversarialLoss(hinge_generator, hinge_discriminator),
}
# The output halfway between the targets of reals and fakes, by the discriminator's loss.
BOUNDARIES = {"bce": 0.0, "lsgan": 0.5, "hinge": 0.0}


def mean_absolute(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Mean absolute difference of two equally shaped tensors."""
    return tf.reduce_mean(tf.abs(a - b))


def mean_squared(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Mean squared difference of two equally shaped tensors."""
    return tf.reduce_mean(tf.square(a - b))


# For the cycle and identity losses, before weighting.
DISTANCES = {"l1": mean_absolute, "l2": mean_squared}
