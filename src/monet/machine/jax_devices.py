"""The devices that JAX sees. JAX is optional: it is imported only when it is asked for."""

import contextlib
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from monet.core.config import Config
from monet.core.errors import UserError
from monet.core.random_numbers import device_generator
from monet.machine.cluster import ONE_MACHINE, OneMachine
from monet.machine.devices import Device, call_with_timeout

AXIS = "devices"  # that a batch is split among
OLDEST_JAX = (0, 7)
JAX_START_SECONDS = 180  # for a device to answer
KINDS = {"tpu": "TPU", "gpu": "GPU", "cuda": "GPU", "cpu": "CPU"}  # JAX's names of platforms
# Executed by another Python process, which is over before the run begins: a TPU has one owner at a time.
JAX_PROBE = """
import json, jax
devices = jax.devices()
print(json.dumps([jax.__version__, devices[0].platform, len(devices)]))
"""


class JaxDevices(NamedTuple):
    """Devices of one kind that share each batch.

    Attributes:
        device: what they are.
        mesh: a jax.sharding.Mesh of one axis, `AXIS`.
    """

    device: Device
    mesh: object

    def sharding(self, axis: str | None):
        """How an array lies on the devices: split by its first axis, or whole on each of them."""
        import jax

        return jax.sharding.NamedSharding(self.mesh, partition(axis))

    def put(self, array: np.ndarray, axis: str | None = None):
        """The array on the devices: whole on each of them, or split among them by its first axis."""
        import jax

        return jax.device_put(array, self.sharding(axis))

    def compile(self, function: Callable, ins, outs, donated: tuple = ()) -> Callable:
        """Compiles what each device does, at the first call.

        Args:
            function: of one device's parts of the arguments.
            ins: for each argument, or part of it, the mesh's axis if it is split among the devices, else None.
            outs: the same for the results.
            donated: places of arguments whose memory the results may take.
        """
        import jax

        def specs(tree):
            return jax.tree.map(partition, tree, is_leaf=lambda axis: not isinstance(axis, tuple | dict))

        return jax.jit(jax.shard_map(function, mesh=self.mesh, in_specs=specs(ins), out_specs=specs(outs),
                                     check_vma=False), donate_argnums=donated)

    def random_numbers(self):
        """A context in which what is traced draws its random numbers as suits the devices."""
        return contextlib.nullcontext() if self.device.kind == "CPU" else device_generator()


def partition(axis: str | None):
    """A jax.sharding.PartitionSpec: split by the first axis among the mesh's `axis`; None: not at all."""
    import jax

    return jax.sharding.PartitionSpec(axis) if axis else jax.sharding.PartitionSpec()


def check_jax() -> None:
    """Raises UserError if JAX is not installed, or too old, or does not go with this TensorFlow."""
    if sys.version_info < (3, 12):
        raise UserError("--engine jax needs Python 3.12 or later: no JAX goes with the TensorFlow of Python "
                        f"{sys.version_info.major}.{sys.version_info.minor}. Give --engine tensorflow, or make setup "
                        "PYTHON=python3.12 EXTRAS=jax.")
    advice = "Install it with make setup EXTRAS=jax (jax-cuda for NVIDIA's GPUs), or give --engine tensorflow."
    try:
        version = importlib.metadata.version("jax")
    except importlib.metadata.PackageNotFoundError:
        raise UserError(f"--engine jax: JAX is not installed. {advice}") from None
    if tuple(map(int, version.split(".")[:2])) < OLDEST_JAX:
        raise UserError(f"--engine jax: JAX {version} is older than {'.'.join(map(str, OLDEST_JAX))}. {advice}")


def probe_jax(seconds: float = JAX_START_SECONDS) -> tuple[Device | None, str]:
    """Asks JAX in a process of its own which devices it sees.

    Returns:
        The device, or None if JAX cannot be used or does not answer; and what it saw, in words.
    """
    try:
        check_jax()
    except UserError:
        return None, "no usable JAX"
    try:
        process = subprocess.run([sys.executable, "-c", JAX_PROBE], capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return None, f"JAX did not answer in {seconds:g} s"
    if process.returncode:
        return None, f"JAX failed: {(process.stderr.strip().splitlines() or ['no output'])[-1][:300]}"
    version, platform, count = json.loads(process.stdout.splitlines()[-1])
    device = Device(KINDS.get(platform, "CPU"), count, engine="jax")
    return device, f"JAX {version} sees {count} {device.kind}"


def capability_of(device) -> tuple[int, int]:
    """The CUDA compute capability of one of JAX's devices; (0, 0) if it has none."""
    return tuple(map(int, str(getattr(device, "compute_capability", "0.0")).split(".")))


def open_jax_devices(config: Config, cluster: OneMachine = ONE_MACHINE) -> JaxDevices:
    """The devices that `config.accelerator` names; auto: the best that JAX sees.

    Raises:
        UserError: if JAX cannot be used, or does not see the device.
    """
    check_jax()
    if not cluster.is_single:
        raise UserError("--engine jax trains on one machine. Give --engine tensorflow for a cluster, or unset "
                        "$TF_CONFIG.")
    if tf.config.list_physical_devices("GPU"):
        tf.config.set_visible_devices([], "GPU")  # TensorFlow would take the memory that JAX needs
    import jax

    jax.config.update("jax_enable_x64", True)  # Keras counts its steps in int64
    if config.accelerator == "cpu":
        jax.config.update("jax_platforms", "cpu")
    platform = None if config.accelerator == "auto" else config.accelerator
    try:
        devices = call_with_timeout(JAX_START_SECONDS, lambda: jax.devices(platform))
    except (RuntimeError, OSError) as error:
        raise UserError(f"--engine jax --accelerator {config.accelerator}: JAX {jax.__version__} does not see it "
                        f"({str(error).splitlines()[0]}). Give another --accelerator, or --engine "
                        "tensorflow.") from None
    device = Device(KINDS.get(devices[0].platform, "CPU"), len(devices), min(map(capability_of, devices)), "jax")
    return JaxDevices(device, jax.sharding.Mesh(np.array(devices), (AXIS,)))
