"""Loss scaling, without which float16 gradients become 0."""

import tensorflow as tf

from monet.core.config import Config, look_up

FIRST_SCALE, DOUBLED_AFTER = 2.0**15, 2000  # the first scale, and the good steps until it doubles (as in Keras)


class LossScale:
    """Dynamic loss scaling (Micikevicius et al. 2018).

    Losses are multiplied by a power of two before the gradients are taken, and the gradients divided by it. If a
    gradient on any device is not finite, all gradients of that step become 0 and the scale is halved.
    `DOUBLED_AFTER` good steps in a row double it.

    Attributes:
        scale: the current factor, float32.
        state: variables by name, for the checkpoint.
    """

    def __init__(self):
        """Starts at `FIRST_SCALE`."""
        options = {"trainable": False, "synchronization": tf.VariableSynchronization.ON_READ,
                   "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}  # all devices arrive at the same value
        self.scale = tf.Variable(FIRST_SCALE, name="loss_scale", **options)
        self.good_steps = tf.Variable(0, dtype=tf.int64, name="good_steps", **options)
        self.state = {"scale": self.scale, "good_steps": self.good_steps}

    def unscale(self, gradients: dict) -> dict:
        """Divides gradients of scaled losses by `scale`, and adjusts the scale for the next step."""
        context = tf.distribute.get_replica_context()
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in tf.nest.flatten(gradients)])
        good_devices = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(finite, tf.float32))
        good = good_devices > context.num_replicas_in_sync - 0.5
        factor = tf.where(good, 1.0 / self.scale, 0.0)
        result = tf.nest.map_structure(
            lambda gradient: tf.where(good, gradient * factor, tf.zeros_like(gradient)), gradients)
        counted = tf.where(good, self.good_steps + 1, 0)
        double = counted >= DOUBLED_AFTER
        change = tf.where(good, tf.where(double, 2.0, 1.0), 0.5)
        self.scale.assign(tf.clip_by_value(self.scale * change, 1.0, FIRST_SCALE**2))
        self.good_steps.assign(tf.where(double, tf.zeros_like(counted), counted))
        return result


LOSS_SCALES = {False: None, True: LossScale}  # by whether the precision needs one


def make_loss_scale(config: Config):
    """A `LossScale` if the config's precision is float16, whose smallest number is 6e-8; else None."""
    make = look_up(LOSS_SCALES, config.precision == "float16", "precision")
    return make() if make else None
