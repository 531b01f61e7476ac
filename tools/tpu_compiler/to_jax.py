"""TensorFlow functions as JAX functions, so that JAX can hand them to the TPU's compiler.

A TensorFlow for CPUs has no TPU to compile for, but it translates a traced function into XLA's language, with its
variables as arguments and what it assigns to them as results. JAX calls the translation like a function of its own.

For the environment of `make tpu-env`: `to_exported` builds jax 0.7.2's `Exported` by hand.
"""

import contextlib
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
from tensorflow.compiler.tf2xla.python.xla import rng_bit_generator

jax.config.update("jax_enable_x64", True)  # Keras counts its steps in int64

RNG_DEFAULT = 3  # TensorFlow's number for the device's own generator, XLA's RNG_DEFAULT
DTYPES = {"f32": np.float32, "bf16": jax.numpy.bfloat16, "i32": np.int32, "i64": np.int64, "i1": np.bool_}


class JaxFunction(NamedTuple):
    """A TensorFlow function that JAX can call.

    Attributes:
        exported: takes the arguments and then the variables' values; returns the results and then the new values of
            the variables that it assigns to.
        variables: the TensorFlow handles of the variables that it reads or assigns to, in that order.
        results: the signature of the results.
    """

    exported: export.Exported
    variables: list
    results: list


def to_exported(name: str, stablehlo: bytes) -> export.Exported:
    """Returns a StableHLO module, whose `main` takes and returns arrays, as JAX can call it."""
    with make_ir_context():
        module = ir.Module.parse(stablehlo)
        main = next(part for part in module.body.operations if part.attributes["sym_name"].value == "main")
        for operation in list(main.regions[0].blocks[0].operations):
            if operation.operation.name == "mhlo.copy":  # of an argument that is a result; unknown to JAX
                operation.operation.results[0].replace_all_uses_with(operation.operation.operands[0])
                operation.operation.erase()
        arrays = [ir.RankedTensorType(kind) for kind in (*main.type.inputs, *main.type.results)]
        shapes = tuple(jax.core.ShapedArray(tuple(array.shape), np.dtype(DTYPES[str(array.element_type)]))
                       for array in arrays)
        count = len(main.type.inputs)
        bytecode = _module_to_bytecode(module)
    ins, outs = shapes[:count], shapes[count:]
    return export.Exported(
        fun_name=name, in_tree=jax.tree.structure((ins, {})), in_avals=ins, out_tree=jax.tree.structure(outs),
        out_avals=outs, in_shardings_hlo=(None,) * len(ins), out_shardings_hlo=(None,) * len(outs), nr_devices=1,
        platforms=("cpu",), ordered_effects=(), unordered_effects=(), mlir_module_serialized=bytecode,
        disabled_safety_checks=(export.DisabledSafetyCheck.platform(),), uses_global_constants=False,
        calling_convention_version=export.maximum_supported_calling_convention_version,
        module_kept_var_idx=tuple(range(len(ins))), _get_vjp=None)


def to_jax(function: Callable, signature: list[tf.TensorSpec]) -> JaxFunction:
    """Translates a function from tensors of `signature` to nested tensors; the JAX function's results are flat."""
    traced = tf.function(lambda *arguments: tf.nest.flatten(function(*arguments)), jit_compile=True, autograph=False,
                         input_signature=signature)
    graph = traced.get_concrete_function()
    examples = [tf.zeros(spec.shape, spec.dtype) for spec in signature]
    hlo = traced.experimental_get_compiler_ir(*examples)(stage="hlo_serialized")
    return JaxFunction(to_exported("monet", _jax.mlir.hlo_to_stablehlo(hlo)), list(graph.captured_inputs),
                       [tf.TensorSpec(output.shape, output.dtype) for output in graph.outputs])


def tpu_uniform(shape, seed) -> tf.Tensor:
    """Draws like `tf.random.stateless_uniform` in [0, 1) on a TPU: by XLA's default generator, keyed by the seed.

    For a CPU, TensorFlow expands Philox into hundreds of operations per draw, for which the TPU's compiler took over
    22 GiB.
    """
    state = tf.concat([tf.bitcast(tf.ensure_shape(seed, [2]), tf.uint64)[None], tf.zeros([1], tf.uint64)], 0)
    _, bits = rng_bit_generator(RNG_DEFAULT, state, shape, tf.uint32)
    one_to_two = tf.bitwise.bitwise_or(tf.bitwise.right_shift(bits, tf.constant(9, tf.uint32)),
                                       tf.constant(0x3F800000, tf.uint32))  # 23 random bits, the exponent of 1
    return tf.bitcast(one_to_two, tf.float32) - 1.0


def tpu_split(seed, num: int) -> tf.Tensor:
    """Splits like `tf.random.experimental.stateless_split`, by `tpu_uniform`."""
    return tf.bitcast(tpu_uniform([num, 2], seed), tf.int32)


@contextlib.contextmanager
def tpu_random() -> Iterator[None]:
    """Makes functions that are traced in the block draw random numbers as on a TPU."""
    with mock.patch.object(tf.random, "stateless_uniform", tpu_uniform), \
            mock.patch.object(tf.random.experimental, "stateless_split", tpu_split):
        yield
