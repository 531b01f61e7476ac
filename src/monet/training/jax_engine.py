"""The engine that computes on JAX's devices: the steps of `TensorFlowEngine`, translated, with the same numbers."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
from tensorflow import keras

from monet.core.config import Config
from monet.core.keras_compat import tf_variable, weight_names
from monet.core.pixels import pad_batch
from monet.data.pipeline import training_pairs
from monet.data.records import Data
from monet.gan.optimizers import copy_averaged
from monet.machine.jax_devices import AXIS, JaxDevices
from monet.machine.jax_functions import JaxFunction, to_jax
from monet.networks.build import build_generator
from monet.submission.painter import make_painter
from monet.training.arrays import LazyArray
from monet.training.engine import TensorFlowEngine, seed_and_progress
from monet.training.overfitting import judging
from monet.training.state import player_variables, system_variables
from monet.training.train_step import make_gradients

LENGTH = "run_length"  # name of the variable of that name


class JaxEngine(TensorFlowEngine):
    """An engine on JAX's devices. TensorFlow, on the CPU, reads the data and traces the step.

    Between steps the weights are on the devices: `values`, arrays by the names of `all_variables`. TensorFlow's
    variables follow when they are saved or painted with.
    """

    name = "jax"

    def __init__(self, config: Config, data: Data, devices: JaxDevices):
        """Builds the system.

        Args:
            config: settled for `devices.device`.
            data: the two sets.
            devices: from `monet.machine.jax_devices.open_jax_devices`.

        Raises:
            UserError: for an unknown name, or a size that a network cannot take.
        """
        self.devices = devices
        super().__init__(config, data, tf.distribute.get_strategy())
        self.device = devices.device

    def prepare(self) -> None:
        """Makes the function that paints; the first steps make theirs, which takes longest."""
        self.variables = all_variables(self.system)
        self.own = own_variables(self.system)
        self.step_function, self.ahead = None, deque()
        self.paint = JaxPainter(self.painter, self.config.paint_margin, self.devices)
        self.put_values()

    def put_values(self) -> None:
        """Gives the devices the values of TensorFlow's variables."""
        self.values = {name: self.put_variable(name, np.asarray(variable))
                       for name, variable in self.variables.items()}

    def put_variable(self, name: str, value: np.ndarray):
        """A variable's value, on all devices; a variable that each device has of its own gets an axis for them."""
        if name not in self.own:
            return self.devices.put(value)
        return self.devices.put(np.stack([value] * self.devices.device.count), AXIS)

    def take_values(self, prefix: str = "") -> None:
        """Gives TensorFlow's variables whose names begin with `prefix` the values on the devices."""
        for name, variable in self.variables.items():
            if name.startswith(prefix):
                value = self.values[name]
                variable.assign(np.asarray(value[0] if name in self.own else value))

    # Training.

    def seek(self, position: int) -> None:
        """Makes the next step read batch `position`, counted as in an unbroken run."""
        if position != self.position:
            self.ahead.clear()
        super().seek(position)

    def new_batches(self) -> Iterator:
        """The global batches from `position` on, as arrays."""
        return training_pairs(self.data, self.config, self.position).as_numpy_iterator()

    def read_ahead(self) -> None:
        """Sends the devices the batches of the next call, while they compute this one."""
        while len(self.ahead) < self.config.steps_per_call:
            self.ahead.append(tuple(self.devices.put(images, AXIS) for images in next(self.batches)))

    def run_steps(self, step: int, count: int):
        """Runs `count` steps, at most `steps_per_call`: see `TensorFlowEngine.run_steps`."""
        self.open_data()
        if self.step_function is None:
            self.step_function = compiled_steps(self.system, self.config, self.devices)
        self.read_ahead()
        with explain_full_memory():
            sums, self.values = self.step_function(
                self.values, tuple(self.ahead), *map(np.int32, (self.position, step, count)))
        for _ in range(count):
            self.ahead.popleft()
        self.position += count
        self.read_ahead()
        return sums

    # Overfitting.

    def make_judge(self) -> Callable:
        """The function of `judging` on the devices, each of which does all of it, with the current weights."""
        signature = [tf.TensorSpec(pictures.shape) for pictures in self.sample]
        judge = to_jax(judging(self.system, self.config), signature, self.variables)
        layout = {name: AXIS if name in self.own else None for name in judge.reads}

        def on_device(values, *pictures):
            return judge({name: value[0] if name in self.own else value for name, value in values.items()},
                         *pictures)[0][0]

        run = self.devices.compile(on_device, (layout, *[None] * len(signature)), None)
        return lambda *pictures: run({name: self.values[name] for name in judge.reads}, *map(np.asarray, pictures))

    def set_length(self, steps: int) -> None:
        """Sets the steps of the whole run: see `TensorFlowEngine.set_length`."""
        super().set_length(steps)
        self.values[LENGTH] = self.put_variable(LENGTH, np.float32(steps))

    # Weights.

    def state(self) -> Iterator[tuple[str, LazyArray]]:
        """All that training needs to resume: arrays by name."""
        self.take_values()
        return super().state()

    def load(self, arrays: dict[str, np.ndarray], source: str) -> None:
        """Loads what an engine's `state()` returned: see `TensorFlowEngine.load`."""
        super().load(arrays, source)
        self.put_values()

    # Painting.

    def copy_to_painter(self) -> None:
        """Gives the network that `paint` uses the latest weights, or their moving average."""
        self.take_values("photo_to_monet/")
        super().copy_to_painter()
        self.painter_changed()

    def set_matching(self, weights: dict[str, list]) -> None:
        """Gives the painter and the generator these weights, on the devices, too."""
        super().set_matching(weights)
        for name, variable in self.variables.items():
            if name.startswith(tuple(f"photo_to_monet/{layer}/" for layer in weights)):
                self.values[name] = self.put_variable(name, np.asarray(variable))

    def painter_changed(self) -> None:
        """Gives the devices the painter's weights."""
        super().painter_changed()
        self.paint.put_weights()

    def paint_function(self, name: str) -> Callable | None:
        """A function that paints with the generator `name`: see `TensorFlowEngine.paint_function`."""
        if name not in self.system.networks:
            return None
        self.take_values(f"{name}/")
        network = build_generator(self.config, name)
        copy_averaged(self.system.networks[name], self.system.optimizers[name], network)
        return JaxPainter(network, self.config.paint_margin, self.devices)


def all_variables(system) -> dict[str, tf.Variable]:
    """Every variable that training a system reads or changes, by name: those of its state, learning rates, and the
    run's length if it is one."""
    variables = {name: tf_variable(variable) for name, variable in system_variables(system).items()}
    if isinstance(system.length, tf.Variable):
        variables[LENGTH] = system.length
    known = {id(variable) for variable in variables.values()}
    for name, optimizer in system.optimizers.items():
        variables |= {f"{name}/adam/{variable.name}": tf_variable(variable) for variable in optimizer.variables
                      if id(tf_variable(variable)) not in known}
    return variables


def variables_of(network: keras.Model) -> dict[str, tf.Variable]:
    """The network's variables by name, as `to_jax` takes them."""
    return {name: tf_variable(variable) for name, variable in weight_names(network).items()}


def own_variables(system) -> set[str]:
    """Names of the variables that each device has for itself, as under tf.distribute: pools of past fakes, and the
    statistics of batch normalization. Checkpoints hold the first device's."""
    return set(player_variables(system)) | {
        f"{name}/{key}" for name, network in system.networks.items()
        for key, variable in weight_names(network).items() if not variable.trainable}


def translated_step(system, config: Config, devices: int) -> tuple[JaxFunction, JaxFunction]:
    """A training step in its two parts, between which several devices add up their gradients.

    Args:
        system: the one to train.
        config: the settled config.
        devices: number sharing the global batch.

    Returns:
        Two functions of the values of `all_variables`. The first takes (photo, monet, position, step, device) and
        returns this device's share of each loss and of each gradient. The second takes the summed gradients, returns
        nothing, and changes the weights.
    """
    variables = all_variables(system)
    gradients_of_batch, share = make_gradients(system, config), 1.0 / devices

    def losses_and_gradients(photo, monet, position, step, device):
        seed, progress = seed_and_progress(config, system.length, position, step, device)
        losses, gradients = gradients_of_batch(photo, monet, seed, progress, share)
        return [share * losses[name] for name in system.loss_names], [gradients[name] for name in system.networks]

    def update(*gradients):
        remaining = iter(gradients)
        for name, optimizer in system.optimizers.items():
            weights = system.networks[name].trainable_variables
            optimizer.apply_gradients([(next(remaining), weight) for weight in weights])
        return []

    images = tf.TensorSpec([config.batch_size // devices, config.image_size, config.image_size, 3])
    numbers = [tf.TensorSpec([], tf.int32)] * 3
    compute = to_jax(losses_and_gradients, [images, images, *numbers], variables)
    return compute, to_jax(update, compute.results[len(system.loss_names):], variables)


def steps_of_device(system, config: Config, devices: int) -> Callable:
    """The steps of one call, as each of `devices` makes them with its part of every batch.

    Returns:
        A function of (values of the variables; batches: a pair of images each; position, step, count: see
        `monet.training.engine.make_steps`) to the sums of the losses and the new values.
    """
    import jax

    loss_count, own = len(system.loss_names), own_variables(system)
    compute, update = translated_step(system, config, devices)

    def one_step(values, photo, monet, position, step):
        device = jax.lax.axis_index(AXIS).astype(np.int32)
        results, own_changed = compute(values, photo, monet, position, step, device)
        results = jax.lax.psum(results, AXIS)
        _, changed = update(values, *results[loss_count:])
        return values | own_changed | changed, jax.numpy.stack(results[:loss_count])

    def steps(values, batches, position, step, count):
        values = values | {name: values[name][0] for name in own}
        if len(batches) == 1:
            values, sums = one_step(values, *batches[0], position, step)
        else:
            photos, monets = (jax.numpy.stack(images) for images in zip(*batches, strict=True))

            def body(done, carry):
                values, losses = one_step(carry[0], photos[done], monets[done], position + done, step + done)
                return values, carry[1] + losses

            zeros = jax.numpy.zeros([loss_count], np.float32)
            values, sums = jax.lax.fori_loop(np.int32(0), count, body, (values, zeros))
        return sums, values | {name: values[name][None] for name in own}

    return steps


def compiled_steps(system, config: Config, devices: JaxDevices) -> Callable:
    """`steps_of_device` on all devices; the first call compiles it. The memory of the values is used again."""
    with devices.random_numbers():
        steps = steps_of_device(system, config, devices.device.count)
    own = own_variables(system)
    layout = {name: AXIS if name in own else None for name in all_variables(system)}
    return devices.compile(steps, (layout, AXIS, None, None, None), (None, layout), donated=(0,))


@contextlib.contextmanager
def explain_full_memory() -> Iterator[None]:
    """Turns JAX's error about full memory into the one of TensorFlow, which the program explains."""
    import jax

    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise tf.errors.ResourceExhaustedError(None, None, str(error).splitlines()[0]) from None


def painting_program(paint: Callable, shape: tuple, variables: dict[str, tf.Variable], devices: JaxDevices) -> Callable:
    """A function of (the values of `variables`, images of `shape`) to paintings, on all devices.

    Args:
        paint: from `make_painter`.
        shape: `[n, height, width, 3]`; the devices share the n images evenly.
        variables: those of the network, by name.
        devices: the devices.
    """
    part = to_jax(paint, [tf.TensorSpec([shape[0] // devices.device.count, *shape[1:]])], variables)
    return devices.compile(lambda values, images: part(values, images)[0][0], (None, AXIS), AXIS)


class JaxPainter:
    """Paints with a network on JAX's devices, which share each batch.

    Compiled once per shape of images.
    """

    def __init__(self, network: keras.Model, margin: int, devices: JaxDevices):
        """Prepares to paint with the current weights of `network`; `margin` is that of `make_painter`."""
        self.painter, self.devices, self.programs = make_painter(network, margin), devices, {}
        self.variables = variables_of(network)
        self.put_weights()

    def put_weights(self) -> None:
        """Gives the devices the network's current weights."""
        self.values = {name: self.devices.put(np.asarray(variable)) for name, variable in self.variables.items()}

    def __call__(self, images) -> np.ndarray:
        """Paints images, `[n, height, width, 3]` in [-1, 1]."""
        images = np.asarray(images, np.float32)
        padded = np.asarray(pad_batch(images, len(images) + -len(images) % self.devices.device.count))
        if padded.shape not in self.programs:
            self.programs[padded.shape] = painting_program(self.painter, padded.shape, self.variables, self.devices)
        with explain_full_memory():
            painted = self.programs[padded.shape](self.values, self.devices.put(padded, AXIS))
            return np.asarray(painted)[:len(images)]
