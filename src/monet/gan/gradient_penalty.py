"""A penalty on the slope of a discriminator at real images, which keeps it from singling them out."""

from collections.abc import Callable

import tensorflow as tf

from monet.core.config import Config, look_up


def squared_slope(judge: Callable, images: tf.Tensor) -> tf.Tensor:
    """The mean over images of the squared gradient of the image's mean logit, a float32 scalar.

    Args:
        judge: from images to logits `[batch, rows, columns, 1]`, or a list of them, one for each head.
        images: float32 `[batch, height, width, channels]`.
    """
    images = tf.identity(images)  # a tape inside of tf.cond does not watch what comes from outside
    with tf.GradientTape() as tape:
        tape.watch(images)
        heads = tf.nest.flatten(judge(images, training=True))
        total = tf.add_n([tf.reduce_sum(logits) for logits in heads])
    # The sum has the larger gradient, of which float16 keeps more digits; it becomes the mean's in float32.
    logits_per_image = sum(logits.shape[1:].num_elements() for logits in heads)
    slopes = tf.cast(tape.gradient(total, images), tf.float32) / logits_per_image
    return tf.reduce_mean(tf.reduce_sum(tf.square(slopes), [1, 2, 3]))


class GradientPenalty:
    """R1 (Mescheder et al. 2018): gamma / 2 times `squared_slope` at real images, part of the discriminator's loss.

    With `penalty_every` n over 1 it is lazy (Karras et al. 2020, StyleGAN2): n times the penalty, every n steps. Its
    weight rises from 0 at step 0 to gamma at step `penalty_rise`, linearly.
    """

    def __init__(self, config: Config):
        """Takes gradient_penalty, penalty_every, penalty_rise and the weight of the discriminator's loss.

        Args:
            config: settled, so that penalty_rise is in steps.
        """
        self.every, self.rise = config.penalty_every, config.penalty_rise
        self.factor = config.discriminator_weight * 0.5 * config.gradient_penalty * self.every

    def gradients(self, judge: Callable, images: tf.Tensor, weights: list, step: tf.Tensor, share: float) -> list:
        """`share` times the gradients of the penalty for `weights`; zeros in a step without one.

        Args:
            judge: the discriminator; see `squared_slope`.
            images: real images, as the discriminator is shown them.
            weights: its trainable variables.
            step: steps that it has been trained, an integer scalar.
            share: factor on the gradients.
        """
        zeros = [tf.zeros(weight.shape) for weight in weights]
        if self.rise:
            share *= tf.minimum(tf.cast(step, tf.float32) / self.rise, 1.0)

        def due() -> list:
            with tf.GradientTape() as tape:
                penalty = share * self.factor * squared_slope(judge, images)
            found = tape.gradient(penalty, weights)  # None for the last bias
            return [zero if gradient is None else gradient for zero, gradient in zip(zeros, found, strict=True)]

        if self.every == 1:
            return due()
        return tf.cond(tf.equal(tf.cast(step, tf.int32) % self.every, 0), due, lambda: zeros)


PENALTIES = {False: None, True: GradientPenalty}  # by whether the config asks for one


def make_penalty(config: Config):
    """A `GradientPenalty` as the config says; None if its weight is 0."""
    make = look_up(PENALTIES, config.gradient_penalty > 0, "gradient_penalty")
    return make(config) if make else None
