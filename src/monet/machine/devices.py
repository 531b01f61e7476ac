"""Which `tf.distribute` strategy, and which number format, this machine gets."""

import os
import threading
from collections.abc import Callable
from concurrent import futures

import numpy as np
import tensorflow as tf
from tensorflow import keras

from monet.core.config import Config
from monet.core.errors import LOG, UserError
from monet.machine.cluster import cluster_task, signals_kept, spans_machines
from monet.machine.kaggle_machine import has_tpu

TPU_START_SECONDS = 60  # a TPU answers in seconds; without one, TensorFlow asks a metadata server for minutes
ACCELERATOR_STEPS = 25  # steps a call, so that the host's part of one is lost beside them; the CPU is asked every step
# NVIDIA's compute capabilities: Ampere computes in bfloat16, Volta and Turing (T4) have tensor cores for float16.
BFLOAT16_SINCE, FLOAT16_SINCE = (8, 0), (7, 0)


def devices_found() -> str:
    """The devices TensorFlow sees, for a message: '1 CPU, 2 GPU'."""
    kinds = [device.device_type for device in tf.config.list_physical_devices()]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))


def within(seconds: float, action: Callable[[], object]):
    """What `action()` returns, if it does so in time; the thread that it runs in is left behind if not.

    Raises:
        TimeoutError: if it does not.
        Exception: what `action` raises.
    """
    outcome = futures.Future()

    def attempt():
        try:
            outcome.set_result(action())
        except Exception as error:  # raised in the thread that asked
            outcome.set_exception(error)

    # A daemon, unlike a pool's: it neither keeps the program from ending nor writes of its own end.
    threading.Thread(target=attempt, daemon=True).start()
    futures.wait([outcome], seconds)
    if not outcome.done():
        raise TimeoutError(f"no answer in {seconds:g} s")
    return outcome.result()


def remote_tpu() -> str:
    """The name of a TPU that is another machine, from $TPU_NAME; empty if there is none."""
    name = os.environ.get("TPU_NAME", "")
    return "" if name == "local" else name


def connect_tpu() -> tf.distribute.Strategy:
    """A strategy over the TPU's cores: of the machine that $TPU_NAME names, or of this one.

    Raises:
        UserError: if there is none, or it does not start.
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
        resolver = within(TPU_START_SECONDS, start)
    except (ValueError, OSError, RuntimeError, ImportError, tf.errors.OpError) as error:  # also of Google's own client
        reason = (str(error) or repr(error)).splitlines()[0]
        raise UserError(f"The TPU of this machine does not start ({reason}; found: {devices_found()}). "
                        f"{advice}") from error
    return tf.distribute.TPUStrategy(resolver)


def strategy_over(kind: str) -> tf.distribute.Strategy:
    """A strategy over all logical devices of `kind`, 'GPU' or 'CPU': mirrored if there are several."""
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    if len(names) > 1:
        return tf.distribute.MirroredStrategy(names)
    return tf.distribute.get_strategy()


def choose_strategy(config: Config, alone: bool = False) -> tf.distribute.Strategy:
    """The strategy for `config.accelerator`; `auto` takes a TPU before GPUs before the CPU.

    With a cluster in $TF_CONFIG it spans the GPUs, or the CPUs, of all its machines, and waits for them. To be called
    before TensorFlow computes anything: a TPU cannot be started, and GPUs not be left alone, after that.

    Args:
        config: gives the accelerator.
        alone: leave other machines alone, for what needs only this one.

    Raises:
        UserError: for a device that is not there or does not start, or a $TF_CONFIG that cannot be understood.
    """
    gpus = tf.config.list_physical_devices("GPU")
    task = None if alone else cluster_task()
    if config.accelerator == "tpu" or (config.accelerator == "auto" and not task and has_tpu()):
        return connect_tpu()
    if config.accelerator == "gpu" and not gpus:
        raise UserError(f"--accelerator gpu: there is no GPU here that TensorFlow can use (found: {devices_found()}). "
                        "Give --accelerator cpu or auto, or install the CUDA libraries: make setup EXTRAS=and-cuda.")
    if config.accelerator == "cpu" and gpus:
        tf.config.set_visible_devices([], "GPU")
    if task:
        LOG.info("%s %d of a cluster of %d machines: waiting for the others", task.kind, task.index, task.machines)
        with signals_kept():
            return tf.distribute.MultiWorkerMirroredStrategy()
    return strategy_over("CPU" if config.accelerator == "cpu" or not gpus else "GPU")


def device_kind(strategy: tf.distribute.Strategy) -> str:
    """What the strategy's replicas run on: 'TPU', 'GPU' or 'CPU'."""
    if isinstance(strategy, tf.distribute.TPUStrategy):
        return "TPU"
    if strategy.num_replicas_in_sync == 1 and not spans_machines(strategy):
        return "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return "GPU" if "GPU" in strategy.extended.worker_devices[0] else "CPU"


def check_batch(config: Config, strategy: tf.distribute.Strategy) -> None:
    """Raises UserError if the strategy's replicas do not divide the global batch."""
    replicas = strategy.num_replicas_in_sync
    if config.batch_size % replicas:
        raise UserError(f"--batch-size {config.batch_size} cannot be shared by {replicas} devices: "
                        f"give a multiple of {replicas}.")


def check_reach(root: str) -> None:
    """Raises UserError if the TPU is another machine, and the data at `root` is on this one."""
    if remote_tpu() and not root.startswith("gs://"):
        raise UserError(f"The TPU {remote_tpu()} is another machine and cannot read {root} on this one. Copy the data "
                        "to a bucket and give --data gs://BUCKET/FOLDER.")


def gpu_capability() -> tuple[int, int]:
    """The lowest CUDA compute capability of the GPUs that are used; (0, 0) if one does not say."""
    details = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.get_visible_devices("GPU")]
    return min((detail.get("compute_capability") or (0, 0) for detail in details), default=(0, 0))


def precision_for(asked: str, kind: str, capability: tuple[int, int] = (0, 0)) -> str:
    """The number format of the networks' arithmetic.

    Args:
        asked: `config.precision`.
        kind: 'TPU', 'GPU' or 'CPU'.
        capability: of the GPUs, as `gpu_capability`.

    Returns:
        'float32', 'bfloat16' or 'float16': the fastest that trains well there, if `asked` is 'auto'.

    Raises:
        UserError: for one that the device does not have. (A CPU has all of them, slowly.)
    """
    on_gpu = "bfloat16" if capability >= BFLOAT16_SINCE else "float16" if capability >= FLOAT16_SINCE else "float32"
    best = {"TPU": "bfloat16", "GPU": on_gpu, "CPU": "float32"}[kind]
    if (kind == "TPU" and asked == "float16") or (kind == "GPU" and asked == "bfloat16" and on_gpu != "bfloat16"):
        raise UserError(f"--precision {asked}: this {kind} does not compute in it. Give auto, which takes {best} here, "
                        "or float32.")
    return best if asked == "auto" else asked


def set_precision(config: Config, strategy: tf.distribute.Strategy) -> str:
    """Makes `config.precision` the format that networks built from now on compute in, and returns its name.

    Raises:
        UserError: if the strategy's devices do not have it.
    """
    precision = precision_for(config.precision, device_kind(strategy), gpu_capability())
    keras.mixed_precision.set_global_policy("float32" if precision == "float32" else f"mixed_{precision}")
    return precision


def over_replicas(function: Callable, strategy: tf.distribute.Strategy | None = None) -> Callable:
    """`function` of a batch, `[n, …]`, to another, as a graph that the strategy's replicas share; traced once a shape.

    Args:
        function: what a replica does with its part of the batch.
        strategy: its replicas are all on this machine; None: one device computes.
    """
    strategy = strategy or tf.distribute.get_strategy()
    replicas = strategy.num_replicas_in_sync

    @tf.function(autograph=False)
    def run(batch):
        return strategy.run(function, args=(batch,))

    def shared(batch):
        batch = tf.convert_to_tensor(batch)
        if replicas == 1:
            return run(batch)
        filled = tf.concat([batch, *[batch[-1:]] * (-len(batch) % replicas)], 0)
        parts = tf.split(filled, replicas)
        split = strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group])
        done = strategy.experimental_local_results(run(split))
        return np.concatenate([np.asarray(part) for part in done])[:len(batch)]

    return shared


def compiles(config: Config, strategy: tf.distribute.Strategy) -> bool:
    """Whether the step is to be compiled by XLA; on a TPU everything is, unasked."""
    return config.xla == "on" or (config.xla == "auto" and device_kind(strategy) == "GPU")


def first_call_compiles(config: Config, strategy: tf.distribute.Strategy) -> bool:
    """Whether the first call of the step takes minutes, because XLA compiles it."""
    return compiles(config, strategy) or device_kind(strategy) == "TPU"


def steps_a_call(config: Config, strategy: tf.distribute.Strategy) -> int:
    """Steps that the devices make at one call of the host: `config.steps_per_call`, or what suits them."""
    return config.steps_per_call or (1 if device_kind(strategy) == "CPU" else ACCELERATOR_STEPS)
