"""Counts the bytes that a compiled TPU program moves to and from a core's memory, from the program's text.

The compiler's own count, "bytes accessed", includes what operations read and write on the chip, and each copy twice.
Most arrays are on the chip, marked `S(1)` in the text, and never cross the bus to memory (819 GB/s on a v5e).
"""

import math
import re
from typing import NamedTuple

ARRAY = re.compile(r"\b(pred|[a-z]+\d+)\w*\[([\d,]*)\](?:\{([\d,]*)((?::[^}]*)?)\})?")
INSTRUCTION = re.compile(r"\s*(?:ROOT )?%([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)")
COMPUTATION = re.compile(r"(ENTRY )?%([\w.\-]+) \(.*\{$")
# Operations that move nothing. Nor do the ends (`-done`) of asynchronous ones, whose starts count.
FREE = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast")


class Instruction(NamedTuple):
    """One line of a program.

    Attributes:
        result: the text of the arrays that it makes.
        operation: its name.
        operands: the names of the instructions whose results it takes.
        arguments: all text after the operation's opening parenthesis.
    """

    result: str
    operation: str
    operands: list[str]
    arguments: str


def array_bytes(array: re.Match) -> int:
    """Returns the bytes of an `ARRAY`, its tiles' padding included: `f32[8,3]{1,0:T(8,128)}` takes 4096."""
    kind, sizes, order, layout = array.groups()
    sides = [int(size) for size in sizes.split(",") if size]
    if order:
        sides = [sides[int(axis)] for axis in order.split(",")]  # innermost first
    tile = re.search(r"T\(([\d,]+)\)", layout or "")
    for axis, step in enumerate(reversed(tile[1].split(",")) if tile else ()):
        if axis < len(sides):
            sides[axis] = -(-sides[axis] // int(step)) * int(step)
    bits = 8 if kind == "pred" else int(re.search(r"\d+", kind)[0])
    return math.prod(sides) * bits // 8


def on_chip(array: re.Match) -> bool:
    """Returns whether an `ARRAY` is on the chip: in any memory space but 0."""
    return bool(re.search(r"S\([1-9]", array[4] or ""))


def bytes_in_memory(text: str) -> int:
    """Returns the bytes of those arrays in `text` that are in the core's memory."""
    return sum(array_bytes(array) for array in ARRAY.finditer(text) if not on_chip(array))


def parse_program(program: str) -> tuple[dict[str, dict[str, Instruction]], str]:
    """Returns a program's computations, instructions by name, and the name of the entry computation."""
    computations, entry, current = {}, "", {}
    for line in program.splitlines():
        if start := COMPUTATION.match(line):
            current = computations[start[2]] = {}
            entry = start[2] if start[1] else entry
        elif match := INSTRUCTION.match(line):
            name, result, operation, arguments = match.groups()
            operands = re.split(r"\), |\)$", arguments, maxsplit=1)[0]
            current[name] = Instruction(result, operation, re.findall(r"%([\w.\-]+)", operands), arguments)
    return computations, entry


def bytes_read(fused: dict[str, Instruction], index: int, whole: int) -> int:
    """Returns the bytes that a fused computation reads of operand `index`: `whole`, or less if it only slices it."""
    parameter = next(name for name, instruction in fused.items() if instruction.operation == "parameter"
                     and instruction.arguments.startswith(f"{index})"))
    users = [instruction for instruction in fused.values() if parameter in instruction.operands]
    if not users or any(user.operation != "slice" for user in users):
        return whole
    return min(whole, sum(array_bytes(ARRAY.search(user.result)) for user in users))


def bytes_of_start(instruction: Instruction, source: str) -> int:
    """Returns the bytes of an asynchronous copy or slice, counted at each end that is in the core's memory."""
    arrays = [array for array in ARRAY.finditer(instruction.result) if array[2]]  # not the scalar, a semaphore
    if instruction.operation == "slice-start":
        moved, ends = array_bytes(arrays[-1]), [arrays[-1], ARRAY.search(source)]
    else:
        moved, ends = array_bytes(arrays[0]), arrays[:2]
    return moved * sum(not on_chip(end) for end in ends)


def memory_traffic(program: str) -> int:
    """Returns the bytes that one run of `program`, the text of an optimized HLO module, moves to and from memory.

    Tiles count with their padding, operands as a whole unless only sliced, and loops once, as in XLA's own analysis.
    """
    computations, entry = parse_program(program)
    instructions, total = computations[entry], 0
    for instruction in instructions.values():
        result, operation, operands, arguments = instruction
        if operation in FREE or operation.endswith("-done"):
            continue
        sources = [instructions[name].result for name in operands]
        if operation in ("slice-start", "copy-start"):
            total += bytes_of_start(instruction, sources[0])
            continue
        fused = computations[re.search(r"calls=%([\w.\-]+)", arguments)[1]] if operation == "fusion" else None
        total += bytes_in_memory(result)
        for index, source in enumerate(sources):
            whole = 0 if source.startswith("(") else bytes_in_memory(source)
            total += bytes_read(fused, index, whole) if fused and whole else whole
    return total
