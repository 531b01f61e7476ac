"""The devices to compute on: choosing the `tf.distribute` strategy, and describing its device."""

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent import futures
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow import keras

from monet.core.config import Config
from monet.core.errors import UserError
from monet.core.pixels import pad_batch
from monet.machine.cluster import ONE_MACHINE, OneMachine
from monet.machine.kaggle_machine import has_tpu

TPU_START_SECONDS = 180  # a TPU answers in seconds; without one, TensorFlow queries a metadata server for minutes
# NVIDIA's compute capabilities: Ampere computes in bfloat16; Volta and Turing (T4) have tensor cores for float16.
BFLOAT16_SINCE, FLOAT16_SINCE = (8, 0), (7, 0)


class Device(NamedTuple):
    """What a run computes on.

    Attributes:
        kind: 'TPU', 'GPU' or 'CPU'.
        count: devices that share each batch, over all machines.
        capability: the lowest CUDA compute capability of the GPUs; (0, 0) if unknown, or without GPUs.
        engine: what runs the steps on it: 'tensorflow' or 'jax'.
    """

    kind: str
    count: int = 1
    capability: tuple[int, int] = (0, 0)
    engine: str = "tensorflow"


def devices_found() -> str:
    """The devices that TensorFlow sees, for a message: '1 CPU, 2 GPU'."""
    kinds = [device.device_type for device in tf.config.list_physical_devices()]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))


def call_with_timeout(seconds: float, action: Callable[[], object]):
    """Returns what `action()` returns; its thread is abandoned if it takes too long.

    Raises:
        TimeoutError: after `seconds`.
        Exception: what `action` raises.
    """
    outcome = futures.Future()

    def attempt():
        try:
            outcome.set_result(action())
        except Exception as error:  # raised in the calling thread
            outcome.set_exception(error)

    # A daemon thread, unlike a pool's, does not keep the program from ending.
    threading.Thread(target=attempt, daemon=True).start()
    futures.wait([outcome], seconds)
    if not outcome.done():
        raise TimeoutError(f"no answer in {seconds:g} s")
    return outcome.result()


def remote_tpu() -> str:
    """The name of a TPU on another machine, from $TPU_NAME; empty if there is none."""
    name = os.environ.get("TPU_NAME", "")
    return "" if name == "local" else name


def connect_tpu() -> tf.distribute.Strategy:
    """A strategy over the cores of the TPU that $TPU_NAME names, or of this machine's TPU.

    Raises:
        UserError: if there is no TPU, or it does not start.
    """
    advice = "Give --accelerator gpu or cpu to train without it (on Kaggle: make kernel-push ACCELERATOR=gpu)."
    if not has_tpu():
        raise UserError(f"--accelerator tpu: there is no TPU here (found: {devices_found()}). {advice}")

    def start():
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=remote_tpu() or "local")
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return resolver

    try:
        resolver = call_with_timeout(TPU_START_SECONDS, start)
    except (ValueError, OSError, RuntimeError, ImportError, tf.errors.OpError) as error:  # some from Google's client
        cause = (str(error) or repr(error)).splitlines()[0]
        raise UserError(f"The TPU of this machine does not start ({cause}; found: {devices_found()}). "
                        f"{advice}") from error
    return tf.distribute.TPUStrategy(resolver)


def strategy_over(kind: str) -> tf.distribute.Strategy:
    """A strategy over all logical devices of `kind`, 'GPU' or 'CPU'; mirrored if there are several."""
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    if len(names) > 1:
        return tf.distribute.MirroredStrategy(names)
    return tf.distribute.get_strategy()


def keep_operations_on_one_core() -> None:
    """On two cores, gives each operation one thread, before TensorFlow computes anything; later it changes nothing.

    A training step has enough operations that do not wait for each other to keep two cores busy, and splitting each of
    them costs more than it saves. With more cores TensorFlow's own number of threads stays, as does one that
    $TF_NUM_INTRAOP_THREADS gives.
    """
    if os.cpu_count() == 2 and "TF_NUM_INTRAOP_THREADS" not in os.environ:
        with contextlib.suppress(RuntimeError):  # TensorFlow has computed
            tf.config.threading.set_intra_op_parallelism_threads(1)


def operations_at_once() -> int:
    """Operations that it takes to keep all cores busy: 1 unless each of them has one thread."""
    return (os.cpu_count() or 1) if tf.config.threading.get_intra_op_parallelism_threads() == 1 else 1


def choose_strategy(config: Config, cluster: OneMachine = ONE_MACHINE) -> tf.distribute.Strategy:
    """The strategy for `config.accelerator`; `auto` takes a TPU before GPUs before the CPU.

    In a cluster it spans the GPUs, or the CPUs, of all machines, and waits for them. Call it before TensorFlow computes
    anything: afterwards a TPU cannot be started, nor GPUs hidden.

    Args:
        config: gives the accelerator.
        cluster: the machines that train together.

    Raises:
        UserError: if the device does not exist or does not start.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if config.accelerator == "tpu" or (config.accelerator == "auto" and cluster.is_single and has_tpu()):
        return connect_tpu()
    if config.accelerator == "gpu" and not gpus:
        raise UserError(f"--accelerator gpu: there is no GPU here that TensorFlow can use (found: {devices_found()}). "
                        "Give --accelerator cpu or auto, or install the CUDA libraries: make setup EXTRAS=and-cuda.")
    if config.accelerator == "cpu" and gpus:
        tf.config.set_visible_devices([], "GPU")
    kind = "CPU" if config.accelerator == "cpu" or not gpus else "GPU"
    if kind == "CPU":
        keep_operations_on_one_core()
    return strategy_over(kind) if cluster.is_single else cluster.join()


def device_kind(strategy: tf.distribute.Strategy) -> str:
    """What the strategy's replicas run on: 'TPU', 'GPU' or 'CPU'."""
    if isinstance(strategy, tf.distribute.TPUStrategy):
        return "TPU"
    if strategy.num_replicas_in_sync == 1:
        return "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return "GPU" if "GPU" in strategy.extended.worker_devices[0] else "CPU"


def gpu_capability() -> tuple[int, int]:
    """The lowest CUDA compute capability of the GPUs in use; (0, 0) if one does not report it."""
    details = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.get_visible_devices("GPU")]
    return min((detail.get("compute_capability") or (0, 0) for detail in details), default=(0, 0))


def device_of(strategy: tf.distribute.Strategy) -> Device:
    """The device that the strategy, or `monet.machine.jax_devices.JaxDevices`, computes on."""
    if not isinstance(strategy, tf.distribute.Strategy):
        return strategy.device
    return Device(device_kind(strategy), strategy.num_replicas_in_sync, gpu_capability())


def precision_for(asked: str, device: Device) -> str:
    """The number format of the networks' arithmetic: the fastest that trains well on the device if `asked` is 'auto'.

    Args:
        asked: `config.precision`.
        device: the one to compute on.

    Returns:
        'float32', 'bfloat16' or 'float16'.

    Raises:
        UserError: for a format that the device does not have. (A CPU emulates all of them, slowly.)
    """
    scales = device.engine == "tensorflow"  # losses, which float16 needs
    if asked == "float16" and not scales:
        raise UserError("--precision float16 needs loss scaling, which --engine jax does not have. Give auto, float32 "
                        "or bfloat16, or --engine tensorflow.")
    on_gpu = ("bfloat16" if device.capability >= BFLOAT16_SINCE
              else "float16" if device.capability >= FLOAT16_SINCE and scales else "float32")
    best = {"TPU": "bfloat16", "GPU": on_gpu, "CPU": "float32"}[device.kind]
    if ((device.kind == "TPU" and asked == "float16")
            or (device.kind == "GPU" and asked == "bfloat16" and on_gpu != "bfloat16")):
        raise UserError(f"--precision {asked}: this {device.kind} does not support it. Give auto, which means "
                        f"{best} here, or float32.")
    return best if asked == "auto" else asked


def set_precision(precision: str) -> None:
    """Makes `precision`, from `precision_for`, the number format of networks that are built from now on."""
    keras.mixed_precision.set_global_policy("float32" if precision == "float32" else f"mixed_{precision}")


def check_reach(root: str) -> None:
    """Raises UserError if the TPU is on another machine, which cannot read the data at `root` on this one."""
    if remote_tpu() and not root.startswith("gs://"):
        raise UserError(f"The TPU {remote_tpu()} is another machine and cannot read {root} on this one. Copy the data "
                        "to a bucket and give --data gs://BUCKET/FOLDER.")


def over_replicas(function: Callable, strategy: tf.distribute.Strategy | None = None,
                  any_size: bool = False) -> Callable:
    """`function` of a batch, `[n, …]`, to another batch, as a graph whose work the strategy's replicas share.

    Args:
        function: what a replica does with its part of the batch.
        strategy: its replicas are all on this machine; None: one device does all the work.
        any_size: batches of many shapes share one graph, instead of one for each.
    """
    if strategy is None:
        return tf.function(function, autograph=False, reduce_retracing=any_size)
    replicas = strategy.num_replicas_in_sync
    run = tf.function(lambda part: strategy.run(function, args=(part,)), autograph=False, reduce_retracing=any_size)

    def shared(batch):
        batch = tf.convert_to_tensor(batch)
        if replicas == 1:
            return run(batch)
        parts = tf.split(pad_batch(batch, len(batch) + -len(batch) % replicas), replicas)
        split = strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group])
        done = strategy.experimental_local_results(run(split))
        return np.concatenate([np.asarray(part) for part in done])[:len(batch)]

    return shared
