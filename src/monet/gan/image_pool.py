"""Past fakes for a discriminator."""

import tensorflow as tf

from monet.core.config import Config
from monet.core.errors import UserError


class ImagePool:
    """Past fakes (Shrivastava et al. 2017): half of what a discriminator is shown are fakes of earlier steps.

    Each device has a pool of its own. Positions are drawn from the step's seed; both variables belong to the checkpoint
    (of several devices' pools, the first's).
    """

    def __init__(self, config: Config):
        """An empty pool of `config.image_pool` images.

        Raises:
            UserError: if a batch does not fit into it.
        """
        self.size = config.image_pool
        batch = config.batch_size // tf.distribute.get_strategy().num_replicas_in_sync
        if self.size < batch:
            raise UserError(f"--image-pool {self.size} is smaller than a device's batch of {batch} (--batch-size "
                            f"{config.batch_size}), which must fit into it. Give a larger pool, or 0 for none.")
        side = config.image_size
        options = {"trainable": False, "synchronization": tf.VariableSynchronization.ON_READ,
                   "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}
        self.images = tf.Variable(tf.zeros([self.size, side, side, 3]), name="pool_images", **options)
        self.count = tf.Variable(0, dtype=tf.int64, name="pool_count", **options)

    def swapped(self, fakes: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Puts fakes into the pool and returns as many to show: each the new one or, once the pool is full, as likely
        an old one whose place it takes.

        Args:
            fakes: float32 `[batch, height, width, 3]`; the batch is at most the pool's size.
            seed: int32 `[2]`.
        """
        batch = fakes.shape[0]
        filling = self.count < self.size
        order, chance = tf.split(tf.random.stateless_uniform([self.size + batch], seed), [self.size, batch])
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
