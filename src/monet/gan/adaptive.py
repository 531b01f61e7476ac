"""Adaptive augmentation (ADA, Karras et al. 2020): as much of it as keeps the discriminator in doubt."""

import tensorflow as tf

from monet.core.config import Config, look_up

MOST = 0.8  # of the probability: beyond it, fakes learn the augmentations (paper)
WINDOW = 256  # images over which signs are averaged (paper: 4 minibatches of 64)


class AugmentController:
    """The probability of each augmentation, by how certain the discriminator is about the paintings.

    The certainty r_t is the mean sign of the logits of real images, from the boundary between fakes and reals: 0 for a
    discriminator that cannot tell, 1 for one that knows each painting. Each step changes the probability by a fixed
    amount per image, up while r_t is above the target and down below it. Unlike the paper's, the mean over `WINDOW`
    images is a running one, so each step can act. Each device has its own probability, from its own part of the batch.

    Attributes:
        probability: of each augmentation, 0 to `MOST`, float32.
        certainty: r_t, float32.
        state: both, by name.
    """

    def __init__(self, config: Config):
        """Starts at `augment_start`, with a certainty equal to the target."""
        options = {"trainable": False, "synchronization": tf.VariableSynchronization.ON_READ,
                   "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}
        self.target, self.share = config.augment_target, min(config.batch_size / WINDOW, 1.0)
        self.change = config.batch_size / (1000 * config.augment_kimg)
        self.probability = tf.Variable(config.augment_start, name="augment_probability", **options)
        self.certainty = tf.Variable(config.augment_target, name="augment_certainty", **options)
        self.state = {"augment/probability": self.probability, "augment/certainty": self.certainty}

    def follow(self, real_heads: list[tf.Tensor], boundaries: list[float]) -> None:
        """Takes in a step's logits of real images, by head, with each head's boundary between fakes and reals."""
        signs = [tf.reduce_mean(tf.sign(logits - boundary))
                 for logits, boundary in zip(real_heads, boundaries, strict=True)]
        certainty = self.certainty + self.share * (tf.add_n(signs) / len(signs) - self.certainty)
        changed = self.probability + self.change * tf.sign(certainty - self.target)
        self.certainty.assign(certainty)
        self.probability.assign(tf.clip_by_value(changed, 0.0, MOST))


CONTROLLERS = {False: None, True: AugmentController}  # by whether the config asks for one


def make_controller(config: Config):
    """An `AugmentController` if the config augments adaptively."""
    make = look_up(CONTROLLERS, config.augment_target > 0 and config.diffaugment != "", "augment_target")
    return make(config) if make else None
