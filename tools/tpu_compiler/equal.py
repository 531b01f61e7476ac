"""Compares the gradients of the program for the TPU, run on CPU devices, with TensorFlow's own."""

import dataclasses

import jax
import numpy as np
import tensorflow as tf
from jax.sharding import Mesh
from tpu_compiler.program import TPU
from tpu_compiler.v5e import CORES

from monet.core.config import Config
from monet.gan.systems import build_system
from monet.machine.devices import Device
from monet.machine.jax_devices import AXIS, JaxDevices
from monet.training.engine import seed_and_progress
from monet.training.jax_engine import all_variables, translated_step
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

    CUT compares all places, not some. Normalization gets a large epsilon: dividing by almost 0 amplifies rounding.
    """
    return dataclasses.replace(
        config, precision="float32", image_size=SIZE, jitter=0, batch_size=CORES, dropout=0.0, diffaugment="",
        image_pool=0, instance_noise=0.0, nce_patches=SIZE**2, minutes=0.0, gamma_mean=1.0, norm_epsilon=1.0,
        generator_levels=min(config.generator_levels, 5), generator_filters=filters, discriminator_filters=filters)


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
    compute, _ = translated_step(system, tpu_config, CORES)
    variables = all_variables(system)
    values = {name: variables[name].numpy() for name in compute.reads}
    devices = JaxDevices(Device("CPU", CORES, engine="jax"), Mesh(np.array(jax.devices("cpu")), (AXIS,)))
    number = config.total_steps // 2  # of the step; half of what changes over the run has changed

    def of_device(values, photo, monet):
        step, device = np.int32(number), jax.lax.axis_index(AXIS).astype(np.int32)
        return jax.lax.psum(compute(values, photo, monet, step, step, device)[0], AXIS)

    program = devices.compile(of_device, (None, AXIS, AXIS), None)

    def of_batch(place: int) -> list[float]:
        photo, monet = (smooth_images(CORES, 2 * place + side) for side in (1, 2))
        seed, progress = seed_and_progress(config, plain.length, number, number, 0)
        losses, gradients = plain.losses_and_gradients(photo, monet, seed, progress)
        expected = [[losses[name]] for name in plain.loss_names] + [gradients[name] for name in plain.networks]
        results = iter(program(values, photo.numpy(), monet.numpy()))
        actual = [[next(results) for _ in arrays] for arrays in expected]
        return list(map(relative_distance, actual, expected))

    names = [*(f"loss {name}" for name in system.loss_names), *system.networks]
    return dict(zip(names, map(min, *map(of_batch, range(BATCHES))), strict=True))
