"""Compares the gradients of the program for the TPU, run on CPU devices, with TensorFlow's own."""

import dataclasses

import jax
import numpy as np
import tensorflow as tf
from jax.sharding import Mesh
from tpu_compiler.program import TPU, summed_gradients, to_jax_gradients
from tpu_compiler.v5e import CORES

from monet.core.config import Config
from monet.core.keras_compat import tf_variable
from monet.gan.systems import build_system
from monet.machine.devices import Device
from monet.training.settled import settled

SIZE = 64  # pixels; enough for five downsamplings and a residual block
BATCHES = 3


def smooth_images(count: int, seed: int) -> tf.Tensor:
    """Returns images of soft blots, `[count, SIZE, SIZE, 3]` in [-1, 1]."""
    return tf.image.resize(tf.random.stateless_uniform([count, 4, 4, 3], [0, seed], -1, 1), [SIZE, SIZE])


def relative_distance(actual: list, expected: list) -> float:
    """Returns the norm of the difference of two lists of arrays, relative to the norm of `expected`."""
    actual, expected = (np.concatenate([np.ravel(array) for array in arrays]) for arrays in (actual, expected))
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def comparable_config(config: Config, filters: int) -> Config:
    """Returns the preset narrow, in float32 and without random draws, which each core makes for itself.

    Normalization gets a large epsilon: dividing by almost 0 would amplify rounding errors.
    """
    return dataclasses.replace(
        config, precision="float32", image_size=SIZE, jitter=0, batch_size=CORES, dropout=0.0, diffaugment="",
        image_pool=0, gamma_mean=1.0, norm_epsilon=1.0, generator_levels=min(config.generator_levels, 5),
        generator_filters=filters, discriminator_filters=filters)


def differences(config: Config, filters: int) -> dict[str, float]:
    """Returns the relative distance of each loss, and of each network's gradients, from TensorFlow's own on a CPU.

    Each is the smallest over several batches. Rounding may push a value across the kink of a leaky ReLU or a hinge
    loss, and then the gradients of that batch differ visibly; those of a wrong program differ for every batch.

    Args:
        config: the preset.
        filters: width of its networks here.
    """
    config = comparable_config(config, filters)
    tpu_config = settled(config, TPU)
    plain, system = build_system(settled(config, Device("CPU"))), build_system(tpu_config)
    for name, network in plain.networks.items():
        system.networks[name].set_weights(network.get_weights())
    function = to_jax_gradients(system, tpu_config, 1)
    step = jax.jit(summed_gradients(function, Mesh(np.array(jax.devices("cpu")), ("cores",))))
    values = {id(tf_variable(variable).handle): tf_variable(variable).numpy() for network in system.networks.values()
              for variable in network.variables}
    variables = [values[id(handle)] for handle in function.variables]

    def of_batch(number: int) -> list[float]:
        photo, monet = (smooth_images(CORES, 2 * number + side) for side in (1, 2))
        seed, progress = tf.constant([3, 4]), tf.constant(0.5)
        losses, gradients = plain.losses_and_gradients(photo, monet, seed, progress)
        expected = [[losses[name]] for name in plain.loss_names] + [gradients[name] for name in plain.networks]
        results = iter(step(variables, photo.numpy(), monet.numpy(), seed.numpy(), np.float32(0.5)))
        actual = [[next(results) for _ in arrays] for arrays in expected]
        return list(map(relative_distance, actual, expected))

    names = [*(f"loss {name}" for name in system.loss_names), *system.networks]
    return dict(zip(names, map(min, *map(of_batch, range(BATCHES))), strict=True))
