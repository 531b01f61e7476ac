"""Training steps and painting as programs for a TPU: TensorFlow's own graphs, handed to the TPU's compiler by JAX.

A TensorFlow for a CPU has no TPU to compile for, but it translates a traced function into XLA's language, with its
variables as arguments and what it assigns to them as results. JAX calls that like a function of its own: for the cores
of a TPU that is not here, or on as many CPU devices.

For the environment that `make tpu-env` builds: jax 0.7.2, whose `Exported` is put together here by hand. What the
compiler reads of the process's environment is `COMPILER` of `tpu_check.py`.
"""

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple
from unittest import mock

import jax
import numpy as np
import tensorflow as tf
from jax import export
from jax._src.export._export import _module_to_bytecode
from jax._src.interpreters.mlir import make_ir_context
from jax._src.lib import _jax
from jax._src.lib.mlir import ir
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxlib.mlir.ir import MLIRError
from tensorflow.compiler.tf2xla.python.xla import rng_bit_generator
from tpu_compiler.traffic import memory_traffic

from monet.core.config import SUBMISSION_SIZE, Config, make_config
from monet.core.errors import UserError
from monet.gan.systems import SYSTEMS, check_config
from monet.machine.devices import precision_for
from monet.submission.painter import make_painter

jax.config.update("jax_enable_x64", True)  # Keras counts its steps in int64

CORES = 8
AUTO_SELECT = 3  # TensorFlow's number for "the device's own generator", XLA's RNG_DEFAULT
TOPOLOGY = "v5e:2x4"  # Kaggle's TPU v5e-8
DTYPES = {"f32": np.float32, "bf16": jax.numpy.bfloat16, "i32": np.int32, "i64": np.int64, "i1": np.bool_}


class Lifted(NamedTuple):
    """A function of TensorFlow as one of JAX.

    Attributes:
        call: takes the arguments and then the variables' values; returns the results and then the new values of the
            variables that it assigns to.
        variables: the TensorFlow handles of the variables that it reads or assigns to, in that order.
        results: the signature of the results.
    """

    call: export.Exported
    variables: list
    results: list


def complaint(error: Exception) -> str:
    """The line of an error that names the operation which cannot be translated or compiled, or its first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "supported" in line.lower() or "No registered" in line or "requires" in line]
    return (named or lines or [repr(error)])[0]


def exported(name: str, stablehlo: bytes) -> export.Exported:
    """What JAX can call of a module whose `main` takes and returns arrays."""
    with make_ir_context():
        module = ir.Module.parse(stablehlo)
        main = next(part for part in module.body.operations if part.attributes["sym_name"].value == "main")
        for part in list(main.regions[0].blocks[0].operations):
            if part.operation.name == "mhlo.copy":  # of an argument that is a result; JAX has no word for it
                part.operation.results[0].replace_all_uses_with(part.operation.operands[0])
                part.operation.erase()
        arrays = [ir.RankedTensorType(kind) for kind in (*main.type.inputs, *main.type.results)]
        shapes = tuple(jax.core.ShapedArray(tuple(array.shape), np.dtype(DTYPES[str(array.element_type)]))
                       for array in arrays)
        count = len(main.type.inputs)
        text = _module_to_bytecode(module)
    ins, outs = shapes[:count], shapes[count:]
    return export.Exported(
        fun_name=name, in_tree=jax.tree.structure((ins, {})), in_avals=ins, out_tree=jax.tree.structure(outs),
        out_avals=outs, in_shardings_hlo=(None,) * len(ins), out_shardings_hlo=(None,) * len(outs), nr_devices=1,
        platforms=("cpu",), ordered_effects=(), unordered_effects=(), mlir_module_serialized=text,
        disabled_safety_checks=(export.DisabledSafetyCheck.platform(),), uses_global_constants=False,
        calling_convention_version=export.maximum_supported_calling_convention_version,
        module_kept_var_idx=tuple(range(len(ins))), _get_vjp=None)


def lifted(function: Callable, signature: list[tf.TensorSpec]) -> Lifted:
    """`function`, which takes tensors of `signature` and returns nested tensors, for JAX; results come flat."""
    traced = tf.function(lambda *arguments: tf.nest.flatten(function(*arguments)), jit_compile=True, autograph=False,
                         input_signature=signature)
    graph = traced.get_concrete_function()
    examples = [tf.zeros(spec.shape, spec.dtype) for spec in signature]
    hlo = traced.experimental_get_compiler_ir(*examples)(stage="hlo_serialized")
    return Lifted(exported("monet", _jax.mlir.hlo_to_stablehlo(hlo)), list(graph.captured_inputs),
                  [tf.TensorSpec(output.shape, output.dtype) for output in graph.outputs])


def tpu_uniform(shape, seed) -> tf.Tensor:
    """`tf.random.stateless_uniform` in [0, 1) as a TPU draws: XLA's default generator, keyed by the seed unscrambled.

    For a CPU, TensorFlow writes Philox out, hundreds of operations a draw: the TPU's compiler then took over 22 GiB.
    """
    state = tf.concat([tf.bitcast(tf.ensure_shape(seed, [2]), tf.uint64)[None], tf.zeros([1], tf.uint64)], 0)
    _, bits = rng_bit_generator(AUTO_SELECT, state, shape, tf.uint32)
    one = tf.bitwise.bitwise_or(tf.bitwise.right_shift(bits, tf.constant(9, tf.uint32)),
                                tf.constant(0x3F800000, tf.uint32))
    return tf.bitcast(one, tf.float32) - 1.0  # 23 random bits behind the exponent of 1 are a number in [1, 2)


def tpu_split(seed, num: int) -> tf.Tensor:
    """`tf.random.experimental.stateless_split` from `tpu_uniform`'s generator."""
    return tf.bitcast(tpu_uniform([num, 2], seed), tf.int32)


@contextlib.contextmanager
def drawn_as_on_a_tpu() -> Iterator[None]:
    """What is traced in the block draws random numbers as TensorFlow has a TPU draw them."""
    with mock.patch.object(tf.random, "stateless_uniform", tpu_uniform), \
            mock.patch.object(tf.random.experimental, "stateless_split", tpu_split):
        yield


def pictures(config: Config, batch: int) -> tf.TensorSpec:
    """The signature of so many pictures."""
    return tf.TensorSpec([batch, config.image_size, config.image_size, 3])


def lifted_gradients(system, config: Config, batch: int, cores: int = CORES) -> Lifted:
    """`system.losses_and_gradients` of one core's part of a batch: `(photo, monet, seed, progress)` to the losses and
    then the gradients, in the order of `system.loss_names` and `system.networks`."""
    def compute(photo, monet, seed, progress):
        losses, gradients = system.losses_and_gradients(photo, monet, seed, progress, 1.0 / cores)
        shares = [losses[name] / cores for name in system.loss_names]
        return shares, [gradients[name] for name in system.networks]

    pair = [pictures(config, batch)] * 2
    return lifted(compute, [*pair, tf.TensorSpec([2], tf.int32), tf.TensorSpec([])])


def lifted_update(system, gradients: list[tf.TensorSpec]) -> Lifted:
    """The optimizers' step from the gradients, moving averages included."""
    def update(*given):
        left = iter(given)
        for name, optimizer in system.optimizers.items():
            variables = system.networks[name].trainable_variables
            optimizer.apply_gradients([(next(left), variable) for variable in variables])
        return []

    return lifted(update, gradients)


def core_seed(seed):
    """A seed of the core's own."""
    return seed + jax.numpy.array([0, 1], np.int32) * jax.lax.axis_index("cores").astype(np.int32)


def summed_gradients(compute: Lifted, mesh: Mesh) -> Callable:
    """A function of (variables, photo, monet, seed, progress) to losses and gradients of the whole batch, which the
    cores of `mesh` share."""
    def of_core(variables, photo, monet, seed, progress):
        return jax.lax.psum(compute.call.call(photo, monet, core_seed(seed), progress, *variables), "cores")

    whole, shared = PartitionSpec(), PartitionSpec("cores")
    return jax.shard_map(of_core, mesh=mesh, in_specs=(whole, shared, shared, whole, whole), out_specs=whole,
                         check_vma=False)


def full_step(compute: Lifted, update: Lifted, loss_count: int, mesh: Mesh) -> Callable:
    """A function of (variables of `update`, photo, monet, seed, progress) to losses and the variables' new values."""
    places = {id(handle): place for place, handle in enumerate(update.variables)}
    read = [places[id(handle)] for handle in compute.variables]
    gradients = summed_gradients(compute, mesh)

    def step(variables, *batch):
        results = gradients([variables[place] for place in read], *batch)
        whole = PartitionSpec()
        applied = jax.shard_map(lambda *arguments: update.call.call(*arguments), mesh=mesh, in_specs=whole,
                                out_specs=whole, check_vma=False)
        return results[:loss_count], applied(*results[loss_count:], *variables)

    return step


def compiled_for_tpu(function: Callable, mesh: Mesh, arguments: tuple, donated: tuple = ()):
    """`function` as a program for the TPU that `mesh` is of.

    Args:
        function: of arrays.
        mesh: of `tpu_mesh`.
        arguments: (shape and dtype, nested; its `PartitionSpec`) for each.
        donated: places of the arguments whose memory may be written to.

    """
    shapes = [jax.tree.map(lambda shape, spec=spec: jax.ShapeDtypeStruct(
        shape.shape, shape.dtype, sharding=NamedSharding(mesh, spec)), tree) for tree, spec in arguments]
    return jax.jit(function, donate_argnums=donated).lower(*shapes).compile()


def tpu_mesh(cores: int = CORES) -> Mesh:
    """Some cores of a TPU that is not here."""
    devices = topologies.get_topology_desc(topology_name=TOPOLOGY, platform="tpu").devices
    return Mesh(np.array(devices[:cores]), ("cores",))


def compile_step(system, config: Config, batch: int):
    """One training step on all cores: gradients of all players, their sum over the cores, and the optimizers' update.

    Args:
        system: what learns, built in the precision to measure.
        config: gives the pictures' size.
        batch: pairs a core.
    """
    compute = lifted_gradients(system, config, batch)
    losses = len(system.loss_names)
    update = lifted_update(system, compute.results[losses:])
    mesh = tpu_mesh()
    photo, monet, seed, progress = compute.call.in_avals[:4]
    batches = [jax.ShapeDtypeStruct((CORES * batch, *side.shape[1:]), side.dtype) for side in (photo, monet)]
    whole, shared = PartitionSpec(), PartitionSpec("cores")
    variables = list(update.call.in_avals[len(compute.results) - losses:])
    return compiled_for_tpu(full_step(compute, update, losses, mesh), mesh, (
        (variables, whole), (batches[0], shared), (batches[1], shared), (seed, whole), (progress, whole)), donated=(0,))


def compile_gradients(system, config: Config, batch: int):
    """The gradients of all players alone, on one core; arguments as `compiled_step`'s."""
    compute = lifted_gradients(system, config, batch, cores=1)
    arguments = tuple((shape, PartitionSpec()) for shape in compute.call.in_avals)
    return compiled_for_tpu(compute.call.call, tpu_mesh(1), arguments)


def compile_painting(system, config: Config, batch: int):
    """Painting `batch` photos on one core, as `monet.steps.make_painter` does."""
    photos = tf.TensorSpec([batch, SUBMISSION_SIZE, SUBMISSION_SIZE, 3])
    painting = lifted(make_painter(system.networks["photo_to_monet"], config.paint_margin), [photos])
    arguments = tuple((shape, PartitionSpec()) for shape in painting.call.in_avals)
    return compiled_for_tpu(painting.call.call, tpu_mesh(1), arguments)


PARTS = {"step": compile_step, "gradients": compile_gradients, "painting": compile_painting}


def as_on_a_tpu(config: Config) -> Config:
    """The config with what `auto` stands for on a TPU."""
    return dataclasses.replace(config, space_to_depth="off" if config.space_to_depth == "off" else "on")


def build_system(config: Config):
    """The preset's system, in the precision and the tiles that it has on a TPU.

    Raises:
        UserError: for a preset that cannot be.
    """
    check_config(config)
    precision = precision_for(config.precision, "TPU")
    tf.keras.mixed_precision.set_global_policy("float32" if precision == "float32" else f"mixed_{precision}")
    return SYSTEMS[config.system](as_on_a_tpu(config))


def costs_of(config: Config, part: str, batch: int) -> dict:
    """What the compiler says of one part: flops, accessed (its count of bytes), memory, and moved, the bytes of those
    that cross to the core's memory; or `refused`, for want of memory; or `error`."""
    try:
        with drawn_as_on_a_tpu():
            program = PARTS[part](build_system(config), config, batch)
    except UserError as error:
        return {"error": str(error)}
    except (ValueError, tf.errors.OpError, jax.errors.JaxRuntimeError, MLIRError) as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            return {"refused": str(error).splitlines()[0]}
        return {"error": complaint(error)}
    costs, memory = program.cost_analysis(), program.memory_analysis()
    return {"flops": costs["flops"], "accessed": costs["bytes accessed"], "moved": memory_traffic(program.as_text()),
            "memory": memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes
            - memory.alias_size_in_bytes}


def main() -> None:
    """Compiles what the command line's JSON asks for, and prints `costs_of` it as JSON."""
    asked = json.loads(sys.argv[1])
    config = make_config(**asked["config"])
    print(json.dumps(costs_of(config, asked["part"], asked["batch"])))


if __name__ == "__main__":
    main()
