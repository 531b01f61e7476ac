"""Compiles training steps and painting for a TPU that is not here: python -m tpu_compiler.program REQUEST.

REQUEST is JSON with `config`, `part` (one of `PARTS`) and `batch`; prints the costs as JSON. tpu_check.py sets the
environment variables that the compiler reads.
"""

import json
import sys
from collections.abc import Callable

import jax
import numpy as np
import tensorflow as tf
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxlib.mlir.ir import MLIRError
from tpu_compiler.to_jax import JaxFunction, to_jax, tpu_random
from tpu_compiler.traffic import memory_traffic
from tpu_compiler.v5e import CORES, TOPOLOGY

from monet.core.config import SUBMISSION_SIZE, Config, make_config
from monet.core.errors import UserError
from monet.gan.systems import build_system, check_config
from monet.machine.devices import Device, set_precision
from monet.submission.painter import make_painter
from monet.training.settled import settled
from monet.training.train_step import make_gradients

TPU = Device("TPU", CORES)
REPLICATED, SPLIT = PartitionSpec(), PartitionSpec("cores")


def image_batch(config: Config, batch: int) -> tf.TensorSpec:
    """Returns the signature of a batch of images."""
    return tf.TensorSpec([batch, config.image_size, config.image_size, 3])


def to_jax_gradients(system, config: Config, batch: int, cores: int = CORES) -> JaxFunction:
    """Translates a system's losses and gradients for one core's part of a batch; `config` is settled.

    Returns:
        A function of (photo, monet, seed, progress) to the losses, in the order of `system.loss_names`, and then the
        gradients, in the order of `system.networks`.
    """
    gradients_of_batch = make_gradients(system, config)

    def gradients_of_core(photo, monet, seed, progress):
        losses, gradients = gradients_of_batch(photo, monet, seed, progress, 1.0 / cores)
        shares = [losses[name] / cores for name in system.loss_names]
        return shares, [gradients[name] for name in system.networks]

    images = image_batch(config, batch)
    return to_jax(gradients_of_core, [images, images, tf.TensorSpec([2], tf.int32), tf.TensorSpec([])])


def to_jax_update(system, gradients: list[tf.TensorSpec]) -> JaxFunction:
    """Translates the optimizers' step, moving averages included, as a function of the gradients."""
    def update(*values):
        remaining = iter(values)
        for name, optimizer in system.optimizers.items():
            variables = system.networks[name].trainable_variables
            optimizer.apply_gradients([(next(remaining), variable) for variable in variables])
        return []

    return to_jax(update, gradients)


def core_seed(seed):
    """Returns a seed that differs between cores."""
    return seed + jax.numpy.array([0, 1], np.int32) * jax.lax.axis_index("cores").astype(np.int32)


def summed_gradients(compute: JaxFunction, mesh: Mesh) -> Callable:
    """Returns a function of (variables, photo, monet, seed, progress) to the whole batch's losses and gradients.

    The cores of `mesh` share the batch.
    """
    def of_core(variables, photo, monet, seed, progress):
        return jax.lax.psum(compute.exported.call(photo, monet, core_seed(seed), progress, *variables), "cores")

    return jax.shard_map(of_core, mesh=mesh, in_specs=(REPLICATED, SPLIT, SPLIT, REPLICATED, REPLICATED),
                         out_specs=REPLICATED, check_vma=False)


def full_step(compute: JaxFunction, update: JaxFunction, loss_count: int, mesh: Mesh) -> Callable:
    """Returns a function of (`update`'s variables, photo, monet, seed, progress) to losses and new variables."""
    positions = {id(handle): position for position, handle in enumerate(update.variables)}
    read = [positions[id(handle)] for handle in compute.variables]
    gradients = summed_gradients(compute, mesh)

    def step(variables, *batch):
        results = gradients([variables[position] for position in read], *batch)
        apply = jax.shard_map(lambda *arguments: update.exported.call(*arguments), mesh=mesh, in_specs=REPLICATED,
                              out_specs=REPLICATED, check_vma=False)
        return results[:loss_count], apply(*results[loss_count:], *variables)

    return step


def tpu_mesh(cores: int = CORES) -> Mesh:
    """Returns the first cores of a TPU that is not here."""
    devices = topologies.get_topology_desc(topology_name=TOPOLOGY, platform="tpu").devices
    return Mesh(np.array(devices[:cores]), ("cores",))


def compile_for_tpu(function: Callable, mesh: Mesh, arguments: tuple, donated: tuple = ()):
    """Compiles a function of arrays for the TPU.

    Args:
        function: what to compile.
        mesh: from `tpu_mesh`.
        arguments: for each argument its shape and dtype, possibly nested, and its `PartitionSpec`.
        donated: indices of the arguments whose memory may be reused.
    """
    shapes = [jax.tree.map(lambda shape, spec=spec: jax.ShapeDtypeStruct(
        shape.shape, shape.dtype, sharding=NamedSharding(mesh, spec)), tree) for tree, spec in arguments]
    return jax.jit(function, donate_argnums=donated).lower(*shapes).compile()


def compile_for_core(function: JaxFunction):
    """Compiles a function for one core."""
    return compile_for_tpu(function.exported.call, tpu_mesh(1),
                           tuple((shape, REPLICATED) for shape in function.exported.in_avals))


def compile_step(system, config: Config, batch: int):
    """Compiles one training step on all cores: gradients, their sum over the cores, and the optimizers' update.

    Args:
        system: what trains, built in the precision to measure.
        config: the settled config.
        batch: pairs per core.
    """
    compute = to_jax_gradients(system, config, batch)
    loss_count = len(system.loss_names)
    update = to_jax_update(system, compute.results[loss_count:])
    mesh = tpu_mesh()
    photo, monet, seed, progress = compute.exported.in_avals[:4]
    batches = [jax.ShapeDtypeStruct((CORES * batch, *side.shape[1:]), side.dtype) for side in (photo, monet)]
    variables = list(update.exported.in_avals[len(compute.results) - loss_count:])
    return compile_for_tpu(full_step(compute, update, loss_count, mesh), mesh, (
        (variables, REPLICATED), (batches[0], SPLIT), (batches[1], SPLIT), (seed, REPLICATED),
        (progress, REPLICATED)), donated=(0,))


def compile_gradients(system, config: Config, batch: int):
    """Compiles the gradients alone, on one core; arguments as for `compile_step`."""
    return compile_for_core(to_jax_gradients(system, config, batch, cores=1))


def compile_painting(system, config: Config, batch: int):
    """Compiles painting `batch` photos on one core, as `make_painter` does it."""
    photos = tf.TensorSpec([batch, SUBMISSION_SIZE, SUBMISSION_SIZE, 3])
    return compile_for_core(to_jax(make_painter(system.networks["photo_to_monet"], config.paint_margin), [photos]))


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
        with tpu_random():
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
