"""What tools/tpu_check.py reports: each program's costs beside the TPU's limits, as numbers and as text."""

from typing import NamedTuple

from tpu_compiler.v5e import BYTES_PER_SECOND, CORES, FLOPS_PER_SECOND, MEMORY

from monet.core.config import Config

GIB = 2**30


class CompiledProgram(NamedTuple):
    """What one program costs on one core, by the TPU's compiler.

    Attributes:
        part: `step`, `gradients` or `painting`.
        batch: pairs, or photos, per core.
        flops: operations; None if the program was refused.
        moved: bytes read from and written to the core's memory: see traffic.py.
        accessed: bytes by the compiler's own count, which includes what stays on the chip.
        memory: bytes needed at once, arguments and results included.
        seconds: that compiling took.
        refused: the compiler's words, if the memory was too small.
    """

    part: str
    batch: int
    flops: float | None
    moved: float | None
    accessed: float | None
    memory: int | None
    seconds: float
    refused: str = ""

    @property
    def least_seconds(self) -> float:
        """The shortest time the program can take, by the roofline model."""
        return max(self.flops / FLOPS_PER_SECOND, self.moved / BYTES_PER_SECOND)

    @property
    def bound(self) -> str:
        """Whether `compute` or `memory` limits it."""
        return "compute" if self.flops / FLOPS_PER_SECOND > self.moved / BYTES_PER_SECOND else "memory"


def largest_batch(programs: list[CompiledProgram]) -> int | None:
    """Returns the largest batch per core, on the line through two batches' memory; None without two batches."""
    smallest, *others = [program for program in programs if program.memory]
    if not others or others[-1].batch == smallest.batch:
        return None
    per_pair = (others[-1].memory - smallest.memory) / (others[-1].batch - smallest.batch)
    return int(smallest.batch + (MEMORY - smallest.memory) / per_pair) if per_pair > 0 else None


def program_numbers(program: CompiledProgram) -> dict:
    """Returns a program's costs, and rates derived from them, by the names that --json prints."""
    numbers = {**program._asdict(), "fits": program.memory is not None and program.memory <= MEMORY}
    if program.flops:
        numbers |= {"least_seconds": program.least_seconds, "bound": program.bound,
                    "moved_each": program.moved / program.batch, "accessed_each": program.accessed / program.batch,
                    "most_a_second": CORES * program.batch / program.least_seconds}
    return numbers


def report(config: Config, programs: list[CompiledProgram]) -> dict:
    """Returns a preset's report, as --json prints it."""
    steps = [program for program in programs if program.part != "painting"]
    own = next((program for program in steps if program.flops and CORES * program.batch == config.batch_size), None)
    hours = config.total_steps * own.least_seconds / 3600 if own else 0
    most_steps = int(60 * config.minutes / own.least_seconds) if own else 0
    return {"preset": config.preset, "batch_size": config.batch_size, "programs": list(map(program_numbers, programs)),
            "least_hours": hours or None, "total_steps": config.total_steps,
            "minutes": config.minutes, "most_steps": most_steps or None,
            "largest_batch_estimate": largest_batch(steps) if steps else None}


def program_lines(numbers: dict) -> list[str]:
    """Returns the text for one of a report's programs."""
    title = f"  {numbers['part']}, {numbers['batch']} a core: "
    if not numbers["flops"]:
        return [f"{title}does not fit into {MEMORY / GIB:g} GiB a core ({numbers['refused']})"]
    too_large, image = ("" if numbers["fits"] else ", too much"), "photo" if numbers["part"] == "painting" else "pair"
    return [
        f"{title}compiles ({numbers['seconds']:.0f} s); {numbers['memory'] / GIB:.2f} of {MEMORY / GIB:g} GiB "
        f"a core{too_large}",
        f"    {numbers['flops'] / 1e12:.2f} TFLOP, {numbers['moved'] / 1e9:.1f} GB to and from memory "
        f"({numbers['moved_each'] / 1e9:.2f} a {image}): at least {1000 * numbers['least_seconds']:.1f} ms, bound by "
        f"{numbers['bound']}; at most {numbers['most_a_second']:.0f} {image}s/s on {CORES} cores",
        f"    {numbers['accessed'] / 1e9:.1f} GB accessed ({numbers['accessed_each'] / 1e9:.2f} a {image}) by the "
        "compiler's count, which includes what stays on the chip"]


def report_lines(numbers: dict) -> list[str]:
    """Returns a preset's report as text."""
    lines = [f"{numbers['preset']} on a TPU v5e-8: batch {numbers['batch_size']} over {CORES} cores"]
    for program in numbers["programs"]:
        lines += program_lines(program)
    if numbers["least_hours"]:
        lines.append(f"  its {numbers['total_steps']} steps: at least {numbers['least_hours']:.2f} hours")
    elif numbers["most_steps"]:
        lines.append(f"  its {numbers['minutes']:g} minutes: at most {numbers['most_steps']:,} steps")
    elif not numbers["total_steps"] and not numbers["minutes"]:
        lines.append("  the number of steps depends on the data")
    if numbers["largest_batch_estimate"]:
        lines.append(f"  largest batch a core: about {numbers['largest_batch_estimate']}, extrapolated from the two "
                     "batches (not compiled)")
    return lines


def comparison_lines(first: dict, second: dict) -> list[str]:
    """Returns the ratios of two reports, for programs of the same part and batch."""
    others = {(program["part"], program["batch"]): program for program in second["programs"] if program["flops"]}
    lines = []
    for program in first["programs"]:
        other = others.get((program["part"], program["batch"]))
        if other and program["flops"]:
            ratios = {name: program[name] / other[name]
                      for name in ("moved", "accessed", "flops", "memory", "least_seconds")}
            lines.append(f"{first['preset']} / {second['preset']}, {program['part']}, {program['batch']} a core: "
                         + ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()))
    return lines
