"""TensorFlow functions as JAX functions: the same arithmetic, on JAX's devices.

TensorFlow traces a function on the CPU and translates it into StableHLO, the language of the compiler that both use,
with its variables as arguments. JAX then calls the translation like a function of its own.

JAX is optional: it is imported only when something is translated.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

# By StableHLO's names: the types that arguments and results may have.
STABLEHLO_DTYPES = {"f32": np.float32, "bf16": tf.bfloat16.as_numpy_dtype, "i32": np.int32, "i64": np.int64,
                    "i1": np.bool_}


@dataclasses.dataclass(frozen=True, eq=False)
class JaxFunction:
    """A TensorFlow function that JAX can call.

    Attributes:
        exported: the translation. It takes the arguments and then the values of the variables in `reads`; it returns
            the results and then those variables' values afterwards.
        results: the signatures of the results.
        reads: the names of the variables that the function uses.
        writes: the names of those that it changes.
    """

    exported: object  # jax.export.Exported
    results: list[tf.TensorSpec]
    reads: list[str]
    writes: list[str]

    def __call__(self, values: dict, *arguments) -> tuple[list, dict]:
        """The results, and the new values of the variables in `writes`; `values` are arrays by name."""
        outputs = self.exported.call(*arguments, *[values[name] for name in self.reads])
        after = dict(zip(self.reads, outputs[len(self.results):], strict=False))
        return list(outputs[:len(self.results)]), {name: after[name] for name in self.writes}


def to_jax(function: Callable, signature: list[tf.TensorSpec], variables: dict[str, tf.Variable]) -> JaxFunction:
    """Translates a function of tensors.

    Args:
        function: from tensors of `signature` to nested tensors; the translation returns them as a flat list.
        signature: the arguments.
        variables: all that it may use, by name.
    """
    names, used = {id(variable.handle): name for name, variable in variables.items()}, []

    def with_variables(*arguments):
        results = tf.nest.flatten(function(*arguments))
        captures = [handle for handle, _ in tf.compat.v1.get_default_graph().captures]
        used[:] = [names[id(handle)] for handle in captures]
        return [*results, *(variables[name].read_value() for name in used)]

    traced = tf.function(with_variables, jit_compile=True, autograph=False, input_signature=signature)
    outputs = traced.get_concrete_function().outputs
    examples = [tf.zeros(spec.shape, spec.dtype) for spec in signature]
    hlo = traced.experimental_get_compiler_ir(*examples)(stage="hlo_serialized")
    results = [tf.TensorSpec(output.shape, output.dtype) for output in outputs[:len(outputs) - len(used)]]
    exported, unchanged = to_exported(hlo)
    writes = [name for place, name in enumerate(used, len(results)) if place not in unchanged]
    return JaxFunction(exported, results, used, writes)


def nested_operations(operation) -> list:
    """All operations inside of `operation` of an MLIR module, also those in other functions and in branches."""
    inner = [own for region in operation.regions for block in region.blocks for own in block.operations]
    return [found for own in inner for found in (own, *nested_operations(own))]


def to_exported(hlo: bytes) -> tuple:
    """A `jax.export.Exported` of a serialized HLO module, and the places of those results that are arguments unchanged.

    JAX offers no public way to make one; its fields differ between releases. Tried with 0.7.2 and 0.12.0.1.
    """
    import jax
    from jax import export
    from jax._src.export._export import _module_to_bytecode
    from jax._src.interpreters.mlir import make_ir_context
    from jax._src.lib import _jax
    from jax._src.lib.mlir import ir

    with make_ir_context():
        module = ir.Module.parse(_jax.mlir.hlo_to_stablehlo(hlo))
        main = next(part for part in module.body.operations if part.attributes["sym_name"].value == "main")
        block = main.regions[0].blocks[0]
        for operation in nested_operations(module.operation):
            # Copies are unknown to JAX; without them and reshapes to the same shape, an unchanged argument is seen.
            name, kinds = operation.operation.name, [value.type for value in operation.operation.operands]
            if name == "mhlo.copy" or (name == "stablehlo.reshape" and kinds == [operation.operation.results[0].type]):
                operation.operation.results[0].replace_all_uses_with(operation.operation.operands[0])
                operation.operation.erase()
        returned = list(block.operations)[-1].operation.operands
        unchanged = {place for place, value in enumerate(returned) if isinstance(value.owner, ir.Block)}
        arrays = [ir.RankedTensorType(kind) for kind in (*main.type.inputs, *main.type.results)]
        shapes = tuple(jax.core.ShapedArray(tuple(array.shape), np.dtype(STABLEHLO_DTYPES[str(array.element_type)]))
                       for array in arrays)
        count, bytecode = len(main.type.inputs), _module_to_bytecode(module)
    ins, outs = shapes[:count], shapes[count:]
    fields = {
        "fun_name": "monet", "in_tree": jax.tree.structure((ins, {})), "in_avals": ins,
        "out_tree": jax.tree.structure(outs), "out_avals": outs, "_in_named_shardings": (None,) * len(ins),
        "_out_named_shardings": (None,) * len(outs), "in_shardings_hlo": (None,) * len(ins),
        "out_shardings_hlo": (None,) * len(outs), "nr_devices": 1, "platforms": ("cpu",), "ordered_effects": (),
        "unordered_effects": (), "disabled_safety_checks": (export.DisabledSafetyCheck.platform(),),
        "mlir_module_serialized": bytecode, "module_kept_var_idx": tuple(range(len(ins))),
        "calling_convention_version": export.maximum_supported_calling_convention_version,
        "uses_global_constants": False, "_get_vjp": None}
    known = {field.name for field in dataclasses.fields(export.Exported)}  # they differ between releases of JAX
    return export.Exported(**{name: value for name, value in fields.items() if name in known}), unchanged
