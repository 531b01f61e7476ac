"""The engine of a run: runs training steps, paints, and exports and loads weights. It decides nothing.

The Trainer says when to step, save, preview, stop and go back; an engine says how. The Trainer and the tools use
only the public part of `TensorFlowEngine`. Another engine must offer the same, with the same names in `state()`, so
that a run begun with one can resume with the other.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
from tensorflow import keras

from monet.core.config import Config
from monet.core.random_numbers import fold_in
from monet.data.pipeline import training_pairs
from monet.data.records import Data
from monet.gan.optimizers import copy_averaged
from monet.gan.systems import build_system
from monet.machine.cluster import ONE_MACHINE, OneMachine
from monet.machine.devices import device_of, set_precision
from monet.networks.build import build_generator
from monet.networks.generators import matching_layers
from monet.submission.painter import make_painter
from monet.training.arrays import LazyArray, value_of
from monet.training.matching import Matching
from monet.training.overfitting import judging, sample_of, signals_of
from monet.training.state import load_state, state_of
from monet.training.train_step import make_gradients, train_step

SEED_OF_STEPS = 2  # separates the random numbers of training steps from those of the data's two sides, 0 and 1


class TensorFlowEngine:
    """An engine on the devices of a `tf.distribute` strategy.

    Attributes:
        name: what users call it.
        config: the settled config.
        device: what it computes on.
        cluster: the machines that take part.
        loss_names: names of the sums that `run_steps` returns, in order.
        position: batches of the data consumed so far, including those that setbacks skipped.
        painter: the network that paints.
        painter_at: the position at which the painter got its weights; None if they are not the latest of any.
        paint: a function that paints images, `[n, height, width, 3]` in [-1, 1], with the painter.
        system: the players, for tools that look at networks.
    """

    name = "tensorflow"

    def __init__(self, config: Config, data: Data, strategy: tf.distribute.Strategy,
                 cluster: OneMachine = ONE_MACHINE):
        """Builds the system on the strategy's devices, with weights from the config's seed.

        Args:
            config: settled for the strategy's device (`monet.training.settled`).
            data: the two sets.
            strategy: from `monet.machine.devices.choose_strategy`.
            cluster: the machines that train together.

        Raises:
            UserError: for an unknown name, or a size that a network cannot take.
        """
        self.config, self.data, self.strategy = config, data, strategy
        self.device, self.cluster = device_of(strategy), cluster
        set_precision(config.precision)
        keras.utils.set_random_seed(config.seed)
        with strategy.scope():
            self.system = build_system(config)
        self.loss_names = self.system.loss_names
        self.position, self.batches, self.judge, self.painter_at = 0, None, None, None
        self.painter = self.build_painter()
        self.prepare()

    def prepare(self) -> None:
        """Makes the functions that step and paint."""
        self.step_function = make_steps(self.strategy, self.system, self.config)
        # In a cluster each machine paints by itself.
        own_strategy = self.strategy if self.cluster.is_single else None
        self.paint = make_painter(self.painter, self.config.paint_margin, own_strategy)

    def build_painter(self) -> keras.Model:
        """The network that paints: the generator itself, or a separate one that can hold other weights than the latest.

        A cluster needs the latter, because its machines must read the generator's weights all together.
        """
        generator = self.system.networks["photo_to_monet"]
        if not self.cluster.is_single:
            return build_generator(self.config, generator.name)
        with self.strategy.scope():
            separate = self.config.ema_decay or self.config.select_by != "last"
            return build_generator(self.config, generator.name) if separate else generator

    # Training.

    def seek(self, position: int) -> None:
        """Makes the next step read batch `position`, counted as in an unbroken run."""
        if position != self.position:
            self.position, self.batches = position, None

    def open_data(self) -> bool:
        """Opens the data at `position`; returns whether that was still to do. The first steps do it, too."""
        if self.batches is not None:
            return False
        self.batches = self.new_batches()
        return True

    def new_batches(self):
        """The batches from `position` on, as the steps take them."""
        return open_batches(self.strategy, self.data, self.config, self.position)

    def run_steps(self, step: int, count: int) -> tf.Tensor:
        """Runs `count` steps, the first of them number `step`, counted from 0.

        Returns:
            For each loss, the sum over these steps of its mean over the global batch: float32 `[losses]`. Reading
            its value waits for the device.
        """
        self.open_data()
        sums = self.step_function(self.batches, *map(tf.constant, (self.position, step, count)))
        self.position += count
        return sums

    def set_length(self, steps: int) -> None:
        """Sets the steps of the whole run, which rates and weights follow, if `minutes` decide it."""
        self.system.length.assign(steps)

    def stop_compiling(self) -> None:
        """Makes steps without XLA from now on."""
        self.config = dataclasses.replace(self.config, xla="off")
        self.step_function = make_steps(self.strategy, self.system, self.config)
        self.batches = None  # a call that failed may have taken some

    # Overfitting.

    def overfitting(self) -> dict[str, float | None]:
        """What the Monet discriminator now makes of paintings that it knows and of others: `signals_of`, by name.

        In a cluster each machine computes them by itself. The first call makes the function, which takes longest.
        """
        if self.judge is None:
            self.sample = sample_of(self.data, self.config)
            self.judge = self.make_judge()
        return signals_of(self.judge(*self.sample))

    def make_judge(self) -> Callable:
        """The function of `judging` on the devices, each of which does all of it, with the current weights."""
        judge = judging(self.system, self.config)
        run = tf.function(lambda *pictures: self.strategy.run(judge, args=pictures), autograph=False)
        return lambda *pictures: self.strategy.experimental_local_results(run(*pictures))[0]

    # Weights.

    def state(self) -> Iterator[tuple[str, LazyArray]]:
        """All that training needs to resume: arrays by name."""
        return state_of(self.system)

    def load(self, arrays: dict[str, np.ndarray], source: str) -> None:
        """Loads what an engine's `state()` returned, perhaps under other settings with the same networks.

        Raises:
            UserError: naming `source` and the first array that does not fit.
        """
        load_state(self.system, arrays, source)
        self.painter_at = None

    def read_state(self) -> None:
        """Reads the whole state and discards it. While the chief of a cluster saves, the other machines must take part,
        because some variables are sums over all of them."""
        for _, array in self.state():
            value_of(array.variable)

    # Painting.

    def update_painter(self) -> None:
        """Gives the network that `paint` uses the latest weights, or their moving average, and matches its paintings.

        If it has those weights, nothing is done: matching paints a hundred photos.
        """
        if self.painter_at != self.position:
            self.copy_to_painter()
            self.painter_at = self.position

    def copy_to_painter(self) -> None:
        """What `update_painter` does."""
        generator = self.system.networks["photo_to_monet"]
        if self.painter is not generator:
            copy_averaged(generator, self.system.optimizers[generator.name], self.painter)
        if matching_layers(self.config):
            self.set_matching(self.matching.without_effect())
            self.set_matching(self.matching.found(self.paint))

    @functools.cached_property
    def matching(self) -> Matching:
        """What finds the weights of the layers that match colours and detail."""
        return Matching(self.config, self.data)

    def set_matching(self, weights: dict[str, list]) -> None:
        """Gives the layers with these names their weights: the painter's, and the generator's, so that checkpoints have
        them."""
        for network in (self.system.networks["photo_to_monet"], self.painter):
            for layer, arrays in weights.items():
                network.get_layer(layer).set_weights(arrays)
        self.painter_changed()

    def painter_changed(self) -> None:
        """Says that somebody else gave the painter other weights."""
        self.painter_at = None

    def paint_function(self, name: str) -> Callable | None:
        """A function that paints like `paint`, with the current weights of the generator `name`; None if the system
        has no such generator."""
        if name not in self.system.networks:
            return None
        network = build_generator(self.config, name)
        copy_averaged(self.system.networks[name], self.system.optimizers[name], network)
        return make_painter(network, self.config.paint_margin)


def open_batches(strategy: tf.distribute.Strategy, data: Data, config: Config, position: int):
    """An iterator over the training batches from number `position` on, each split among the replicas.

    With several devices TensorFlow adds autotuned iterators of its own, which no option reaches; releasing one can take
    a minute (see `monet.data.records.list_rows`). So a run releases its iterator only after everything is written, or
    when it goes back to a checkpoint.
    """
    return iter(strategy.distribute_datasets_from_function(
        lambda context: training_pairs(data, config, position, context)))


def seed_and_progress(config: Config, length, position: tf.Tensor, step: tf.Tensor, replica: tf.Tensor) -> tuple:
    """What a step depends on besides its images: the seed of its random numbers, int32 `[2]`, and the fraction of the
    run completed. `length` is the system's; the other arguments are int32 scalars: batches consumed before, steps done
    before, and the device."""
    seed = fold_in(fold_in([config.seed, SEED_OF_STEPS], position), replica)
    return seed, tf.cast(step, tf.float32) / length


def make_steps(strategy: tf.distribute.Strategy, system, config: Config) -> Callable:
    """The training steps of one call of the host, as a graph.

    Only counters go in and only sums come out, so that between two calls the host does nothing but wait. With XLA,
    losses and gradients are compiled; the optimizers' sum over the replicas is not, because XLA cannot compile it on
    GPUs.

    Args:
        strategy: the one to compute on.
        system: the system to train.
        config: the settled config.

    Returns:
        A function of (batches: from `open_batches`, position: int32, batches consumed before; step: int32, steps done
        before; count: int32, steps to make) to the sums of losses that `TensorFlowEngine.run_steps` returns.
    """
    devices = strategy.num_replicas_in_sync
    gradients_of_batch = make_gradients(system, config, compiled=config.xla == "on")

    def replica_step(photo, monet, position, step):
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        seed, progress = seed_and_progress(config, system.length, position, step, replica)
        return train_step(system, gradients_of_batch, photo, monet, seed, progress, devices)

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

        zeros = tf.zeros([len(system.loss_names)])
        return tf.while_loop(lambda done, _: done < count, body, (0, zeros), parallel_iterations=1)[1]

    return single_step if config.steps_per_call == 1 else several_steps
