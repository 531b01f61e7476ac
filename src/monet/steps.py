"""Training steps and painting on the devices of a strategy, and what several machines must agree on between them."""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
from tensorflow import keras

from monet.accelerator import compiles, over_replicas, spans_machines, steps_a_call
from monet.config import Config
from monet.pipeline import training_pairs
from monet.players import train_step
from monet.records import Data, explained

# A mean loss beyond this, times the largest weight, has diverged: cycle losses are at most twice their weight, and
# adversarial ones get there with logits of a hundred and more.
DIVERGED = 1e4


def open_batches(strategy: tf.distribute.Strategy, data: Data, config: Config, position: int):
    """An iterator over the batches from step `position` of an unbroken run on, each shared by the replicas.

    For several devices TensorFlow puts iterators of its own behind it, which no option reaches and which are tuned: to
    let go of it can take up to a minute (see `monet.records.list_rows`). A run does so when all is written, or when it
    goes back to a checkpoint.
    """
    return iter(strategy.distribute_datasets_from_function(
        lambda context: training_pairs(data, config, position, context)))


def make_steps(strategy: tf.distribute.Strategy, system, config: Config) -> Callable:
    """The training steps of one call of the host, as a graph.

    Nothing but counters goes in and nothing but sums comes out, so that between two calls the host only waits. XLA
    compiles what computes losses and gradients; the optimizers, which add up over replicas, stay outside of it on GPUs.

    Args:
        strategy: whose devices compute.
        system: what learns.
        config: gives the seed, the length of the run, `xla` and `steps_per_call`.

    Returns:
        A function of (batches: of `open_batches`, position: int32, the steps' worth of data seen before, step: int32,
        the steps done before, count: int32, the steps to make) to the sums over these steps of the global means of the
        losses, float32 `[losses]`, in the order of `system.loss_names`.
    """
    compute = system.losses_and_gradients
    if compiles(config, strategy):
        compute = tf.function(compute, jit_compile=True, autograph=False)

    def replica_step(photo, monet, position, step):
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        seed = tf.random.experimental.stateless_fold_in([config.seed, 2], position)
        seed = tf.random.experimental.stateless_fold_in(seed, replica)
        return train_step(system, photo, monet, seed, tf.cast(step, tf.float32) / config.total_steps, compute)

    def one_step(batches, position, step):
        losses = strategy.run(replica_step, args=(*next(batches), position, step))
        return tf.stack([strategy.reduce("SUM", losses[name], axis=None) for name in system.loss_names])

    @tf.function(autograph=False)
    def single_step(batches, position, step, count):
        return one_step(batches, position, step)

    @tf.function(autograph=False)
    def several_steps(batches, position, step, count):
        def body(done, sums):
            return done + 1, sums + one_step(batches, position + done, step + done)

        none = tf.zeros([len(system.loss_names)])
        return tf.while_loop(lambda done, _: done < count, body, (0, none), parallel_iterations=1)[1]

    return single_step if steps_a_call(config, strategy) == 1 else several_steps


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


def make_agreement(strategy: tf.distribute.Strategy) -> Callable[[list[bool]], list[bool]]:
    """A function that makes each flag true on all machines if it is true on one, so that all do the same next."""
    if not spans_machines(strategy):
        return lambda flags: flags

    def agreed(flags: list[bool]) -> list[bool]:
        own = tf.constant(flags, tf.float32)
        return [bool(sum_ > 0) for sum_ in strategy.reduce("SUM", strategy.run(lambda: own), axis=None).numpy()]

    return agreed


def same_everywhere(agreed: Callable[[list[bool]], list[bool]], number: int) -> bool:
    """Whether all machines, asked by `make_agreement`'s function, hold the same non-negative number below 2**32."""
    bits = [bool(number >> place & 1) for place in range(32)]
    some_one, some_zero = np.split(np.array(agreed([*bits, *(not bit for bit in bits)])), 2)
    return not (some_one & some_zero).any()


@contextlib.contextmanager
def step_explained(root: str) -> Iterator[None]:
    """Turns errors of reading the data at `root`, raised inside the block as a part of steps, into a UserError."""
    try:
        yield
    except tf.errors.OpError as error:
        if "IteratorGetNext" in str(error):  # the operation's name
            with explained(root):
                raise
        raise


def broken_loss(losses: dict[str, float], config: Config) -> str:
    """The name of a loss that is NaN, infinite or beyond `DIVERGED` times the largest weight; empty if none is."""
    largest = DIVERGED * max(1.0, config.cycle_weight, config.identity_weight, config.nce_weight)
    return next((name for name, loss in losses.items() if not abs(loss) < largest), "")
