"""Which `tf.distribute` strategy, and which number format, this machine gets."""

import os

import tensorflow as tf
from tensorflow import keras

from monet.config import Config, UserError
from monet.kaggle_machine import tpu_expected


def devices_found() -> str:
    """The devices TensorFlow sees, for a message: '1 CPU, 2 GPU'."""
    kinds = [device.device_type for device in tf.config.list_physical_devices()]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))


def connect_tpu() -> tf.distribute.Strategy:
    """A strategy over the TPU's cores.

    Raises:
        UserError: if there is none, or it does not start.
    """
    advice = "Give --accelerator gpu, cpu or auto to train without it (on Kaggle: make kernel-push ACCELERATOR=gpu)."
    if not tpu_expected():
        raise UserError(f"--accelerator tpu: there is no TPU here (found: {devices_found()}). {advice}")
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=os.environ.get("TPU_NAME", "local"))
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"The TPU of this machine does not start ({reason}; found: {devices_found()}). "
                        f"{advice}") from error
    return tf.distribute.TPUStrategy(resolver)


def strategy_over(kind: str) -> tf.distribute.Strategy:
    """A strategy over all logical devices of `kind`, 'GPU' or 'CPU': mirrored if there are several."""
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    if len(names) > 1:
        return tf.distribute.MirroredStrategy(names)
    return tf.distribute.get_strategy()


def choose_strategy(config: Config) -> tf.distribute.Strategy:
    """The strategy for `config.accelerator`; `auto` takes a TPU before GPUs before the CPU.

    To be called before TensorFlow computes anything: a TPU cannot be started, and GPUs not be left alone, after that.

    Raises:
        UserError: for a device that is not there or does not start.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if config.accelerator == "tpu" or (config.accelerator == "auto" and tpu_expected()):
        return connect_tpu()
    if config.accelerator == "gpu" and not gpus:
        raise UserError(f"--accelerator gpu: there is no GPU here that TensorFlow can use (found: {devices_found()}). "
                        "Give --accelerator cpu or auto, or install the CUDA libraries: make setup EXTRAS=and-cuda.")
    if config.accelerator == "cpu" and gpus:
        tf.config.set_visible_devices([], "GPU")
    return strategy_over("CPU" if config.accelerator == "cpu" or not gpus else "GPU")


def check_batch(config: Config, strategy: tf.distribute.Strategy) -> None:
    """Raises UserError if the strategy's replicas do not divide the global batch."""
    replicas = strategy.num_replicas_in_sync
    if config.batch_size % replicas:
        raise UserError(f"--batch-size {config.batch_size} cannot be shared by {replicas} devices: "
                        f"give a multiple of {replicas}.")


def set_precision(config: Config, strategy: tf.distribute.Strategy) -> str:
    """Makes `config.precision` the format that networks built from now on compute in, and returns its name."""
    on_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
    precision = {"auto": "bfloat16" if on_tpu else "float32"}.get(config.precision, config.precision)
    keras.mixed_precision.set_global_policy("float32" if precision == "float32" else f"mixed_{precision}")
    return precision
