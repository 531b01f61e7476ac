"""A pool of past fakes, which a discriminator sees alongside new ones."""

import tensorflow as tf

from monet.core.config import Config, look_up
from monet.core.random_numbers import uniform


class ImagePool:
    """Past fakes (Shrivastava et al. 2017): half of the fakes that a discriminator sees come from earlier steps.

    Each device has a pool of its own. Draws follow from the step's seed. Checkpoints hold both variables, those of
    the first of several devices.

    Attributes:
        images: float32 `[image_pool, height, width, 3]`.
        count: images in the pool so far, int64.
    """

    def __init__(self, config: Config):
        """An empty pool of `config.image_pool` images; one device's batch must fit into it."""
        self.size = config.image_pool
        options = {"trainable": False, "synchronization": tf.VariableSynchronization.ON_READ,
                   "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}
        empty = tf.zeros([self.size, config.image_size, config.image_size, 3])
        self.images = tf.Variable(empty, name="pool_images", **options)
        self.count = tf.Variable(0, dtype=tf.int64, name="pool_count", **options)

    def exchange(self, fakes: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Puts fakes into the pool and returns as many images to show.

        While the pool fills, each fake is stored and shown. Once it is full, each fake is shown or, with
        probability 1/2, replaces an old image, which is shown instead.

        Args:
            fakes: float32 `[batch, height, width, 3]`; the batch is at most the pool's size.
            seed: int32 `[2]`.
        """
        batch = fakes.shape[0]
        filling = self.count < self.size
        order, chance = tf.split(uniform([self.size + batch], seed), [self.size, batch])
        shuffled = tf.argsort(order)[:batch]
        in_order = tf.cast((self.count + tf.range(batch, dtype=tf.int64)) % self.size, tf.int32)
        places = tf.where(filling, in_order, shuffled)
        stored = tf.logical_or(filling, chance < 0.5)[:, None, None, None]
        old = tf.gather(self.images, places)
        shown = tf.where(tf.logical_and(stored, tf.logical_not(filling)), old, fakes)
        kept = tf.where(stored, fakes, old)
        self.images.assign(tf.tensor_scatter_nd_update(self.images, places[:, None], kept))
        self.count.assign(tf.minimum(self.count + batch, self.size))
        return shown


POOLS = {False: None, True: ImagePool}  # by whether the config asks for one


def make_pool(config: Config):
    """An `ImagePool` of the size that the config gives; None if that is 0."""
    make = look_up(POOLS, config.image_pool > 0, "image_pool")
    return make(config) if make else None
