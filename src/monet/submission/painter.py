"""A trained generator as a function that paints."""

from collections.abc import Callable

import tensorflow as tf
from tensorflow import keras

from monet.machine.devices import over_replicas


def make_painter(generator: keras.Model, margin: int = 0, strategy: tf.distribute.Strategy | None = None) -> Callable:
    """A function that paints images `[batch, height, width, 3]` in [-1, 1], traced once for each shape.

    Args:
        generator: the network, built in the strategy's scope.
        margin: pixels that are mirrored around the images before, and cut off after.
        strategy: whose replicas, all on this machine, share the batch; None: one device paints.
    """
    seed = tf.zeros([2], tf.int32)  # no dropout without training: the seed is unused

    def replica_paint(images):
        height, width = images.shape[1:3]
        around = [[0, 0], [margin, margin], [margin, margin], [0, 0]]
        painted = generator([tf.pad(images, around, "REFLECT"), seed], training=False)
        return painted[:, margin:margin + height, margin:margin + width]

    return over_replicas(replica_paint, strategy)
