"""The command `describe`: shows a run before it is started."""

import dataclasses

import tensorflow as tf
from tensorflow import keras

from monet.core.config import FIELDS, Config
from monet.core.errors import UserError
from monet.gan.systems import build_system
from monet.machine.devices import device_of, devices_found, set_precision
from monet.machine.jax_devices import probe_jax
from monet.training.engines import choose_devices
from monet.training.overfitting import HOW_TO_READ
from monet.training.run import open_data
from monet.training.settled import settled


def describe_command(config: Config) -> int:
    """`describe`: show the settings, the networks' sizes, the device and the data."""
    for name, value in dataclasses.asdict(config).items():
        mark = " " if value == FIELDS[name].default else "*"
        print(f"{mark} {name:22} {value!s:12} {FIELDS[name].metadata['help']}")
    print("(* not the tutorial's value)\n")
    device = device_of(choose_devices(config))
    run = settled(config, device)
    set_precision(run.precision)
    for name, network in build_system(run).networks.items():
        print(f"{name:22} {parameter_count(network):>12,} parameters")
    print(f"engines                TensorFlow sees {devices_found()}; {probe_jax()[1]}")
    print(f"device                 {device.count} of {devices_found()}, {run.precision}")
    print(f"length                 {length_in_words(config)}")
    try:
        print(f"data                   {open_data(config).describe()}")
    except UserError as error:
        if config.data:
            raise
        print(f"data                   none: {error}")
    print(f"\nOn overfitting: {HOW_TO_READ}")
    return 0


def length_in_words(config: Config) -> str:
    """How long the run is."""
    if config.minutes:
        return f"{config.minutes:g} minutes of training, with as many steps as their pace allows"
    each = f"{config.steps_per_epoch} steps" if config.steps_per_epoch else "one pass over the larger set"
    return f"{config.epochs} epochs, each of {each}"


def parameter_count(model: keras.Model) -> int:
    """Number of trainable parameters."""
    return sum(int(tf.size(variable)) for variable in model.trainable_variables)
