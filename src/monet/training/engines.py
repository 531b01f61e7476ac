"""Which engine runs the training steps, and on which devices: `--engine`.

In this package, *devices* are a `tf.distribute` strategy, or `monet.machine.jax_devices.JaxDevices`.
"""

import dataclasses
import os
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
from tensorflow import keras

from monet.core.config import Config, look_up
from monet.core.errors import LOG, UserError
from monet.data.records import Data
from monet.machine.cluster import ONE_MACHINE, OneMachine
from monet.machine.devices import choose_strategy, devices_found
from monet.machine.jax_devices import open_jax_devices, probe_jax
from monet.machine.kaggle_machine import has_tpu
from monet.machine.restarts import past_hangs
from monet.machine.tpu_environment import can_use_tpu
from monet.submission.painter import make_painter
from monet.training.engine import TensorFlowEngine
from monet.training.jax_engine import JaxEngine, JaxPainter

NVIDIA_DRIVER = "/dev/nvidiactl"  # exists where NVIDIA's driver does


class JaxSupport(NamedTuple):
    """What it takes to compute with JAX."""

    open_devices: Callable
    probe: Callable
    engine: Callable
    painter: Callable


JAX = {False: None, True: JaxSupport(open_jax_devices, probe_jax, JaxEngine, JaxPainter)}  # by `may_use_jax`


def may_use_jax(config: Config) -> bool:
    """Whether the config allows the engine for JAX's devices, and could need it."""
    return config.engine == "jax" or (config.engine == "auto" and config.accelerator != "cpu")


def choose_devices(config: Config, cluster: OneMachine = ONE_MACHINE):
    """The devices to compute on, for the engine `config.engine`.

    `auto` takes TensorFlow, unless the machine has a TPU or GPU that TensorFlow does not see and JAX does. The log says
    which, and why. After a hang, see `devices_after_hang`.

    Args:
        config: gives the engine and the accelerator.
        cluster: the machines that train together.

    Raises:
        UserError: if the device does not exist or does not start, or JAX is asked for and cannot be used.
    """
    if past_hangs():
        return devices_after_hang(config, past_hangs()[-1])
    return devices_for(config, cluster)


def devices_after_hang(config: Config, hang: str):
    """The devices to go on with: by JAX if TensorFlow hung on a TPU, by TensorFlow if JAX hung and TensorFlow sees the
    device, else by the same engine. If that device is lost, the CPU."""
    engine = "jax" if hang == "TPU:tensorflow" else "auto" if hang.endswith(":jax") else config.engine
    try:
        return devices_for(dataclasses.replace(config, engine=engine))
    except UserError as error:
        LOG.warning("Going on with the CPU. %s", error)
        return devices_for(dataclasses.replace(config, engine="tensorflow", accelerator="cpu"))


def devices_for(config: Config, cluster: OneMachine = ONE_MACHINE):
    """`choose_devices`, whatever happened before."""
    jax = look_up(JAX, may_use_jax(config), "engine")
    if config.engine == "jax":
        return jax.open_devices(config, cluster)
    missed = missed_accelerator(config) if jax and cluster.is_single else ""
    if not missed:
        return choose_strategy(config, cluster)
    device, seen = jax.probe()
    if device and device.kind == missed:
        LOG.info("Engine: jax, because TensorFlow does not see this machine's %s, and %s", missed, seen)
        return jax.open_devices(config, cluster)
    LOG.warning("Neither engine sees a %s: TensorFlow sees %s, and %s", missed, devices_found(), seen)
    return choose_strategy(config, cluster)


def missed_accelerator(config: Config) -> str:
    """'TPU' or 'GPU' if `config.accelerator` asks for one, or the machine has one that it allows, and TensorFlow cannot
    use it; else empty."""
    if config.accelerator == "tpu" or (config.accelerator == "auto" and has_tpu()):
        return "" if can_use_tpu() else "TPU"
    if config.accelerator == "gpu" or (config.accelerator == "auto" and os.path.exists(NVIDIA_DRIVER)):
        return "" if tf.config.list_physical_devices("GPU") else "GPU"
    return ""


def make_engine(config: Config, data: Data, devices, cluster: OneMachine = ONE_MACHINE) -> TensorFlowEngine:
    """The engine for the devices.

    Args:
        config: settled for them.
        data: the two sets.
        devices: from `choose_devices`.
        cluster: the machines that train together.

    Raises:
        UserError: for an unknown name, or a size that a network cannot take.
    """
    if isinstance(devices, tf.distribute.Strategy):
        return TensorFlowEngine(config, data, devices, cluster)
    return look_up(JAX, may_use_jax(config), "engine").engine(config, data, devices)


def own_strategy(devices) -> tf.distribute.Strategy:
    """The strategy to build networks in: those for JAX are built on TensorFlow's CPU."""
    return devices if isinstance(devices, tf.distribute.Strategy) else tf.distribute.get_strategy()


def make_device_painter(network: keras.Model, config: Config, devices, any_size: bool = False) -> Callable:
    """A function that paints with the network on the devices: see `make_painter`."""
    if isinstance(devices, tf.distribute.Strategy):
        return make_painter(network, config.paint_margin, devices, any_size)
    return look_up(JAX, may_use_jax(config), "engine").painter(network, config.paint_margin, devices)
