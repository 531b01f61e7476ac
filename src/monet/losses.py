"""The losses of the game between generators and discriminators, by name."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


class AdversarialLoss(NamedTuple):
    """The two sides of one adversarial loss; each takes logits of any shape and returns a float32 scalar.

    Attributes:
        generator: from the logits of fakes.
        discriminator: from the logits of reals and those of fakes.
    """

    generator: Callable[[tf.Tensor], tf.Tensor]
    discriminator: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def cross_entropy(logits: tf.Tensor, target: float) -> tf.Tensor:
    """Mean binary cross-entropy of `logits` against one target for all of them."""
    targets = tf.fill(tf.shape(logits), target)
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits))


def bce_generator(fake_logits: tf.Tensor) -> tf.Tensor:
    """Non-saturating generator loss (Goodfellow et al. 2014): fakes should be called real."""
    return cross_entropy(fake_logits, 1.0)


def bce_discriminator(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of telling reals from fakes, halved so that the discriminator learns slower (Zhu et al. 2017)."""
    return 0.5 * (cross_entropy(real_logits, 1.0) + cross_entropy(fake_logits, 0.0))


ADVERSARIAL_LOSSES = {"bce": AdversarialLoss(bce_generator, bce_discriminator)}


def mean_absolute(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Mean absolute difference of two equally shaped tensors: the cycle and the identity loss before weighting."""
    return tf.reduce_mean(tf.abs(a - b))
