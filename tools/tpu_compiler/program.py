"""Compiles training steps and painting for a TPU that is not here: python -m tpu_compiler.program REQUEST.

REQUEST is JSON with `config`, `part` (one of `PARTS`) and `batch`; prints the costs as JSON. tpu_check.py sets the
environment variables that the compiler reads.
"""

import dataclasses
import json
import sys
from collections.abc import Set

import jax
import numpy as np
import tensorflow as tf
from jax.experimental import topologies
from jax.sharding import Mesh
from jaxlib.mlir.ir import MLIRError
from tpu_compiler.traffic import memory_traffic
from tpu_compiler.v5e import CORES, TOPOLOGY

from monet.core.config import SUBMISSION_SIZE, Config, make_config
from monet.core.errors import UserError
from monet.gan.systems import build_system, check_config
from monet.machine.devices import Device, set_precision
from monet.machine.jax_devices import AXIS, JaxDevices
from monet.submission.painter import make_painter
from monet.training.jax_engine import (
    all_variables,
    compiled_steps,
    own_variables,
    painting_program,
    translated_step,
    variables_of,
)
from monet.training.settled import settled

jax.config.update("jax_enable_x64", True)  # Keras counts its steps in int64
TPU = Device("TPU", CORES, engine="jax")


def tpu_devices(cores: int = CORES) -> JaxDevices:
    """Returns the first cores of a TPU that is not here."""
    devices = topologies.get_topology_desc(topology_name=TOPOLOGY, platform="tpu").devices
    return JaxDevices(TPU._replace(count=cores), Mesh(np.array(devices[:cores]), (AXIS,)))


def signature(devices: JaxDevices, shape, dtype, axis: str | None = None) -> jax.ShapeDtypeStruct:
    """Returns the signature of an array on the devices, whole on each or split by its first axis."""
    return jax.ShapeDtypeStruct(tuple(shape), dtype, sharding=devices.sharding(axis))


def signatures_of(devices: JaxDevices, variables: dict[str, tf.Variable], own: Set[str] = frozenset()) -> dict:
    """Returns the signatures of variables' values; of those in `own`, each device has one."""
    cores = devices.device.count
    return {name: signature(devices, [cores, *variable.shape] if name in own else variable.shape,
                            variable.dtype.as_numpy_dtype, AXIS if name in own else None)
            for name, variable in variables.items()}


def batch_signatures(devices: JaxDevices, config: Config) -> list:
    """Returns the signatures of the photos and the paintings of a global batch."""
    shape = [config.batch_size, config.image_size, config.image_size, 3]
    return [signature(devices, shape, np.float32, AXIS)] * 2


def compile_step(system, config: Config, batch: int):
    """Compiles one training step on all cores, as `JaxEngine` runs it.

    Args:
        system: what trains, built in the precision to measure.
        config: the settled config.
        batch: pairs per core.
    """
    devices, config = tpu_devices(), dataclasses.replace(config, batch_size=CORES * batch)
    values = signatures_of(devices, all_variables(system), own_variables(system))
    number = signature(devices, [], np.int32)
    return compiled_steps(system, config, devices).lower(
        values, (tuple(batch_signatures(devices, config)),), number, number, number).compile()


def compile_gradients(system, config: Config, batch: int):
    """Compiles the losses and gradients alone, on one core; arguments as for `compile_step`."""
    devices, config = tpu_devices(1), dataclasses.replace(config, batch_size=batch)
    with devices.random_numbers():
        compute, _ = translated_step(system, config, 1)
    values = signatures_of(devices, {name: all_variables(system)[name] for name in compute.reads})
    number = signature(devices, [], np.int32)
    program = devices.compile(compute, (None, AXIS, AXIS, None, None, None), None)
    return program.lower(values, *batch_signatures(devices, config), number, number, number).compile()


def compile_painting(system, config: Config, batch: int):
    """Compiles painting `batch` photos on one core, as `JaxPainter` does it."""
    devices, network = tpu_devices(1), system.networks["photo_to_monet"]
    shape = (batch, SUBMISSION_SIZE, SUBMISSION_SIZE, 3)
    variables = variables_of(network)
    program = painting_program(make_painter(network, config.paint_margin), shape, variables, devices)
    return program.lower(signatures_of(devices, variables), signature(devices, shape, np.float32, AXIS)).compile()


PARTS = {"step": compile_step, "gradients": compile_gradients, "painting": compile_painting}


def main_line(error: Exception) -> str:
    """Returns the line of an error that names the unsupported operation, or else its first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "supported" in line.lower() or "No registered" in line or "requires" in line]
    return (named or lines or [repr(error)])[0]


def program_costs(config: Config, part: str, batch: int) -> dict:
    """Compiles one part and returns its costs.

    Returns:
        flops, accessed (bytes by the compiler's count), moved (bytes to and from the core's memory) and memory (bytes
        needed at once); or only `refused`, if the memory is too small, or `error`.
    """
    try:
        check_config(config)
        config = settled(config, TPU)
        set_precision(config.precision)
        program = PARTS[part](build_system(config), config, batch)
    except UserError as error:
        return {"error": str(error)}
    except (ValueError, tf.errors.OpError, jax.errors.JaxRuntimeError, MLIRError) as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            return {"refused": str(error).splitlines()[0]}
        return {"error": main_line(error)}
    costs, memory = program.cost_analysis(), program.memory_analysis()
    return {"flops": costs["flops"], "accessed": costs["bytes accessed"], "moved": memory_traffic(program.as_text()),
            "memory": memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes
            - memory.alias_size_in_bytes}


def main() -> None:
    """Compiles what the command line asks for, and prints its costs."""
    request = json.loads(sys.argv[1])
    print(json.dumps(program_costs(make_config(**request["config"]), request["part"], request["batch"])))


if __name__ == "__main__":
    main()
