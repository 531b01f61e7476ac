"""Training steps and painting on the devices of a strategy, and what several machines must agree on between them."""

from collections.abc import Callable

import tensorflow as tf

from monet.core.config import Config
from monet.data.pipeline import training_pairs
from monet.data.records import Data
from monet.machine.devices import compiles, steps_a_call


def train_step(system, photo: tf.Tensor, monet: tf.Tensor, seed: tf.Tensor, progress: float = 0.0,
               compute: Callable | None = None) -> dict:
    """One step of all players on this replica's part of the global batch; the optimizers sum over replicas.

    Args:
        system: a `monet.cyclegan.CycleGan`, or another that `monet.preparing.SYSTEMS` holds.
        photo: float32 `[batch, height, width, 3]` in [-1, 1].
        monet: the same for paintings.
        seed: int32 `[2]`, of all that is random.
        progress: the part of the run that is over, 0 to 1.
        compute: the system's `losses_and_gradients`, compiled; None: as it is.

    Returns:
        The losses by name, each this replica's share of the global mean: their sum over replicas is the mean.
    """
    share = 1.0 / tf.distribute.get_replica_context().num_replicas_in_sync
    scaled_share = share * system.loss_scale.scale if system.loss_scale else share
    losses, gradients = (compute or system.losses_and_gradients)(photo, monet, seed, progress, scaled_share)
    if system.loss_scale:
        gradients = system.loss_scale.unscaled(gradients)
    for name, optimizer in system.optimizers.items():
        optimizer.apply_gradients(zip(gradients[name], system.networks[name].trainable_variables, strict=True))
    return {name: share * loss for name, loss in losses.items()}


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


def broken_loss(losses: dict[str, float], config: Config) -> str:
    """The name of a loss that is NaN, infinite or beyond `DIVERGED` times the largest weight; empty if none is."""
    largest = DIVERGED * max(1.0, config.cycle_weight, config.identity_weight, config.nce_weight)
    return next((name for name, loss in losses.items() if not abs(loss) < largest), "")
