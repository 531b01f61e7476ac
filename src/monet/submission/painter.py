"""Turns a trained generator into a function that paints."""

from collections.abc import Callable

import tensorflow as tf
from tensorflow import keras

from monet.machine.devices import operations_at_once, over_replicas


def make_painter(generator: keras.Model, margin: int = 0, strategy: tf.distribute.Strategy | None = None,
                 any_size: bool = False) -> Callable:
    """Makes a function that paints images `[batch, height, width, 3]` in [-1, 1].

    Args:
        generator: the network, built in the strategy's scope.
        margin: pixels to mirror around the images before painting and crop afterwards.
        strategy: its replicas, all on this machine, share the batch; None: one device.
        any_size: for pictures of many sizes, which share one graph, instead of one for each.
    """
    unused_seed = tf.zeros([2], tf.int32)  # of dropout, which is off outside training

    def paint_part(images):
        paddings = [[0, 0], [margin, margin], [margin, margin], [0, 0]]
        painted = generator([tf.pad(images, paddings, "REFLECT"), unused_seed], training=False)
        return painted[:, margin:-margin, margin:-margin] if margin else painted

    def paint_replica(images):
        count = operations_at_once()
        if count == 1 or not images.shape[0] or images.shape[0] % count:
            return paint_part(images)
        # The parts share nothing, so each core paints one.
        return tf.concat([paint_part(part) for part in tf.split(images, count)], axis=0)

    return over_replicas(paint_replica, strategy, any_size)
