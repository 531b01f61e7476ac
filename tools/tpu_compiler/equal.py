"""Whether the program that is compiled for the TPU computes what TensorFlow does: its gradients, run on CPU devices."""

import dataclasses

import jax
import numpy as np
import tensorflow as tf
from jax.sharding import Mesh
from tpu_compiler.program import CORES, as_on_a_tpu, lifted_gradients, summed_gradients

from monet.core.config import Config
from monet.core.keras_compat import tf_variable
from monet.gan.systems import SYSTEMS

SIDE = 64  # pixels; enough for five halvings and a residual block


def smooth_pictures(count: int, salt: int) -> tf.Tensor:
    """So many pictures `[count, SIDE, SIDE, 3]` of soft blots."""
    return tf.image.resize(tf.random.stateless_uniform([count, 4, 4, 3], [0, salt], -1, 1), [SIDE, SIDE])


def distance(ours: list, theirs: list) -> float:
    """How far some arrays are from others, as a share of these: by the norm over all of their numbers."""
    ours, theirs = (np.concatenate([np.ravel(part) for part in parts]) for parts in (ours, theirs))
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def differences(config: Config, filters: int) -> dict[str, float]:
    """How far the losses, and the gradients of each network, are from those of TensorFlow's own step on a CPU.

    In float32, narrow, without what is drawn at random: each core draws for itself. What normalization divides by is
    kept from 0, where it would multiply what rounding left.
    """
    config = dataclasses.replace(
        config, image_size=SIDE, jitter=0, batch_size=CORES, dropout=0.0, diffaugment="", image_pool=0, gamma_mean=1.0,
        norm_epsilon=1.0, generator_levels=min(config.generator_levels, 5), generator_filters=filters,
        discriminator_filters=filters)
    plain, system = SYSTEMS[config.system](config), SYSTEMS[config.system](as_on_a_tpu(config))
    for name, network in plain.networks.items():
        system.networks[name].set_weights(network.get_weights())
    photo, monet = (smooth_pictures(CORES, salt) for salt in (1, 2))
    seed, progress = tf.constant([3, 4]), tf.constant(0.5)
    losses, gradients = plain.losses_and_gradients(photo, monet, seed, progress)
    expected = [losses[name] for name in plain.loss_names] + [gradients[name] for name in plain.networks]

    compute = lifted_gradients(system, config, 1)
    mesh = Mesh(np.array(jax.devices("cpu")), ("cores",))
    values = {id(tf_variable(variable).handle): tf_variable(variable).numpy() for network in system.networks.values()
              for variable in network.variables}
    variables = [values[id(handle)] for handle in compute.variables]
    results = iter(jax.jit(summed_gradients(compute, mesh))(
        variables, photo.numpy(), monet.numpy(), seed.numpy(), np.float32(0.5)))
    found = [[next(results)] if not isinstance(part, list) else [next(results) for _ in part] for part in expected]

    names = [*(f"loss {name}" for name in system.loss_names), *system.networks]
    return {name: distance(ours, theirs if isinstance(theirs, list) else [theirs])
            for name, ours, theirs in zip(names, found, expected, strict=True)}
