"""What a compiled TPU program moves to and from a core's memory, read from the program's text.

The compiler's own count, "bytes accessed", takes what operations read and write wherever it lies, and each copy twice
again. Most of it lies on the chip, written `S(1)` in the text, and never crosses the bus that has 819 GB/s (v5e).
"""

import math
import re
from typing import NamedTuple

ARRAY = re.compile(r"\b(pred|[a-z]+\d+)\w*\[([\d,]*)\](?:\{([\d,]*)((?::[^}]*)?)\})?")
INSTRUCTION = re.compile(r"\s*(?:ROOT )?%([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)")
COMPUTATION = re.compile(r"(ENTRY )?%([\w.\-]+) \(.*\{$")
# What only names what is elsewhere. The ends of what runs beside other work are free, too: its beginnings count.
FREE = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast")


class Instruction(NamedTuple):
    """One line of a program: what it makes, how, and of what."""

    made: str
    operation: str
    operands: list[str]
    rest: str


def array_bytes(found: re.Match) -> int:
    """Bytes of an array, with what its tiles are padded by: `f32[8,3]{1,0:T(8,128)}` takes 4096."""
    kind, sizes, order, layout = found.groups()
    sides = [int(size) for size in sizes.split(",") if size]
    if order:
        sides = [sides[int(place)] for place in order.split(",")]  # the innermost first
    tile = re.search(r"T\(([\d,]+)\)", layout or "")
    for place, step in enumerate(reversed(tile[1].split(",")) if tile else ()):
        if place < len(sides):
            sides[place] = -(-sides[place] // int(step)) * int(step)
    bits = 8 if kind == "pred" else int(re.search(r"\d+", kind)[0])
    return math.prod(sides) * bits // 8


def on_chip(found: re.Match) -> bool:
    """Whether an array lies on the chip: all but space 0 does."""
    return bool(re.search(r"S\([1-9]", found[4] or ""))


def in_memory(text: str) -> int:
    """Bytes of the arrays in `text` that lie in the core's memory."""
    return sum(array_bytes(found) for found in ARRAY.finditer(text) if not on_chip(found))


def computations_of(program: str) -> tuple[dict[str, dict[str, Instruction]], str]:
    """A program's computations, each its instructions by name, and the name of the one that it begins with."""
    computations, entry, current = {}, "", {}
    for line in program.splitlines():
        if begins := COMPUTATION.match(line):
            current = computations[begins[2]] = {}
            entry = begins[2] if begins[1] else entry
        elif found := INSTRUCTION.match(line):
            name, made, operation, rest = found.groups()
            inside = re.split(r"\), |\)$", rest, maxsplit=1)[0]
            current[name] = Instruction(made, operation, re.findall(r"%([\w.\-]+)", inside), rest)
    return computations, entry


def read_bytes(fused: dict[str, Instruction], place: int, whole: int) -> int:
    """Bytes that a fused computation reads of its operand at `place`: `whole`, or slices of it if it takes no more."""
    name = next(name for name, part in fused.items()
                if part.operation == "parameter" and part.rest.startswith(f"{place})"))
    users = [part for part in fused.values() if name in part.operands]
    if not users or any(part.operation != "slice" for part in users):
        return whole
    return min(whole, sum(array_bytes(ARRAY.search(part.made)) for part in users))


def started_bytes(instruction: Instruction, source: str) -> int:
    """Bytes of a copy, or of a slice's, that runs beside other work: counted where it leaves and where it arrives."""
    arrays = [found for found in ARRAY.finditer(instruction.made) if found[2]]  # all but the number that it signals by
    if instruction.operation == "slice-start":
        moved, ends = array_bytes(arrays[-1]), [arrays[-1], ARRAY.search(source)]
    else:
        moved, ends = array_bytes(arrays[0]), arrays[:2]
    return moved * sum(not on_chip(end) for end in ends)


def memory_traffic(program: str) -> int:
    """Bytes that one run of `program`, an optimized HLO module's text, reads from and writes to a core's memory.

    Tiles count with their padding, and operands in whole but for slices; loops count once, as in XLA's own analysis.
    """
    computations, entry = computations_of(program)
    instructions, total = computations[entry], 0
    for instruction in instructions.values():
        made, operation, operands, rest = instruction
        if operation in FREE or operation.endswith("-done"):
            continue
        sources = [instructions[name].made for name in operands]
        if operation in ("slice-start", "copy-start"):
            total += started_bytes(instruction, sources[0])
            continue
        fused = computations[re.search(r"calls=%([\w.\-]+)", rest)[1]] if operation == "fusion" else None
        total += in_memory(made)
        for place, source in enumerate(sources):
            whole = 0 if source.startswith("(") else in_memory(source)
            total += read_bytes(fused, place, whole) if fused and whole else whole
    return total
