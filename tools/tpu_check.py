"""Says, on a machine without a TPU, whether a preset fits Kaggle's TPU v5e-8 and how fast it could run there at best.

Compiles the preset's training step, on all cores, and its painting, on one, with the TPU's own compiler. What a step
costs is the compiler's count; how long it must take at least follows from the TPU's limits. Nothing is run, and no
figure here is a measured time. A step takes minutes to compile, however small its networks.

    make tpu-check PRESET=tpu ARGS="--batches 4,16 --compare tutorial --parts step,painting --json"
    make tpu-check PRESET=tpu ARGS=--equal      checks the program's gradients against TensorFlow's own
"""

import argparse
import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from typing import NamedTuple

from console import module_command, module_environment

from monet.core.config import Config
from monet.core.errors import UserError
from monet.core.presets import resolve_config

GIB = 2**30
CORES = 8
MEMORY = 16 * GIB  # a core's, TPU v5e
FLOPS, BYTES = 197e12, 819e9  # a core's most a second: bfloat16, and to and from its memory
PARTS = ("step", "gradients", "painting")
NARROW = 4  # filters of --equal
# A compiler alone must neither look for a TPU nor ask Google's cloud about one; and there may be two of it.
COMPILER = {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "TPU_ACCELERATOR_TYPE": "v5litepod-8",
            "ALLOW_MULTIPLE_LIBTPU_LOAD": "1", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
DEVICES = "--xla_force_host_platform_device_count=8"


class Program(NamedTuple):
    """What the TPU's compiler says of one program on one core.

    Attributes:
        part: one of `PARTS`.
        batch: pairs, or photos, a core.
        flops: operations.
        moved: bytes read from and written to a core's memory: see `tpu_traffic.py`.
        accessed: bytes by the compiler's own count, which takes what stays on the chip for memory, too.
        memory: bytes needed at once, arguments and results included; None if they were too many to compile.
        seconds: that compiling took.
        refused: the compiler's words, if memory was too small.
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
        """What the program takes at least, by the roofline."""
        return max(self.flops / FLOPS, self.moved / BYTES)

    @property
    def bound(self) -> str:
        """What limits it."""
        return "compute" if self.flops / FLOPS > self.moved / BYTES else "memory"


def refusal(stderr: str, status: int) -> str:
    """What to say of a compiler that died: its own complaint, if it made one."""
    complaints = [line.split("] ", 1)[-1] for line in stderr.splitlines() if "Check failed" in line]
    return complaints[0] if complaints else f"the compiler ended with status {status}"


def compiled(config: Config, part: str, batch: int) -> Program:
    """One program, compiled in a process of its own: the compiler may die of what it cannot do.

    Raises:
        UserError: if it does not compile, with the operation that does not where the compiler names one.
    """
    started = time.monotonic()
    asked = json.dumps({"config": dataclasses.asdict(config), "part": part, "batch": batch})
    command = module_command("tpu_compiler.program", asked)
    print(f"compiling {config.preset}'s {part} for {batch} a core; a step takes minutes", file=sys.stderr)
    done = subprocess.run(command, capture_output=True, text=True, env=module_environment(**COMPILER))
    seconds = time.monotonic() - started
    said = done.stdout.strip().splitlines()
    if done.returncode == -signal.SIGKILL:
        raise UserError(f"The compiler of {config.preset}'s {part} was killed, most likely because this machine's "
                        "memory was full: a step takes 70 GB, its gradients 40, or 82 at 16 a core, and narrow "
                        "networks little less. Add swap, or look at --parts painting alone.")
    found = json.loads(said[-1]) if done.returncode == 0 else {"error": refusal(done.stderr, done.returncode)}
    if "error" in found:
        raise UserError(f"{config.preset}'s {part} does not compile for the TPU: {found['error']} Replace the "
                        "operation that is named, or take another preset.")
    return Program(part, batch, *map(found.get, ("flops", "moved", "accessed", "memory")), seconds,
                   found.get("refused", ""))


def largest_batch(programs: list[Program]) -> int | None:
    """The most pairs a core, on the line through the memory of two batches; None if there are not two."""
    small, *others = [program for program in programs if program.memory]
    if not others or others[-1].batch == small.batch:
        return None
    each = (others[-1].memory - small.memory) / (others[-1].batch - small.batch)
    return int(small.batch + (MEMORY - small.memory) / each) if each > 0 else None


def report(config: Config, programs: list[Program]) -> dict:
    """All that is to say of a preset, in numbers."""
    steps = [program for program in programs if program.part != "painting"]
    rows = []
    for program in programs:
        row = {**program._asdict(), "fits": program.memory is not None and program.memory <= MEMORY}
        if program.flops:
            row |= {"least_seconds": program.least_seconds, "bound": program.bound,
                    "moved_each": program.moved / program.batch,
                    "accessed_each": program.accessed / program.batch,
                    "most_a_second": CORES * program.batch / program.least_seconds}
        rows.append(row)
    own = next((program for program in steps if program.flops and CORES * program.batch == config.batch_size), None)
    hours = own and config.total_steps * own.least_seconds / 3600
    return {"preset": config.preset, "batch_size": config.batch_size, "programs": rows, "least_hours": hours or None,
            "total_steps": config.total_steps, "largest_batch_estimate": largest_batch(steps) if steps else None}


def lines_of(numbers: dict) -> list[str]:
    """The report of a preset for a person."""
    lines = [f"{numbers['preset']} on a TPU v5e-8: batch {numbers['batch_size']} over {CORES} cores"]
    for row in numbers["programs"]:
        what = f"  {row['part']}, {row['batch']} a core: "
        if not row["flops"]:
            lines.append(f"{what}does not fit into {MEMORY / GIB:g} GiB a core ({row['refused']})")
            continue
        fits, each = ("" if row["fits"] else ", too many"), "photo" if row["part"] == "painting" else "pair"
        lines += [
            f"{what}compiles ({row['seconds']:.0f} s); {row['memory'] / GIB:.2f} of {MEMORY / GIB:g} GiB a core{fits}",
            f"    {row['flops'] / 1e12:.2f} TFLOP, {row['moved'] / 1e9:.1f} GB to and from memory "
            f"({row['moved_each'] / 1e9:.2f} a {each}): at least {1000 * row['least_seconds']:.1f} ms, bound by "
            f"{row['bound']}; at most {row['most_a_second']:.0f} {each}s/s on {CORES} cores",
            f"    {row['accessed'] / 1e9:.1f} GB accessed ({row['accessed_each'] / 1e9:.2f} a {each}) by the "
            "compiler's count, which takes what stays on the chip for memory, too"]
    if numbers["least_hours"]:
        lines.append(f"  its {numbers['total_steps']} steps: at least {numbers['least_hours']:.2f} hours")
    elif not numbers["total_steps"]:
        lines.append("  how many steps an epoch has is up to the data")
    if numbers["largest_batch_estimate"]:
        lines.append(f"  largest batch a core, by the line through the two: about {numbers['largest_batch_estimate']} "
                     "(an estimate: not compiled)")
    return lines


def compared(first: dict, second: dict) -> list[str]:
    """What the first preset takes beside the second, program by program of equal part and batch."""
    theirs = {(row["part"], row["batch"]): row for row in second["programs"] if row["flops"]}
    lines = []
    for row in first["programs"]:
        other = theirs.get((row["part"], row["batch"]))
        if other and row["flops"]:
            ratios = {name: row[name] / other[name]
                      for name in ("moved", "accessed", "flops", "memory", "least_seconds")}
            lines.append(f"{first['preset']} / {second['preset']}, {row['part']}, {row['batch']} a core: "
                         + ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()))
    return lines


def print_reports(reports: list[dict], as_json: bool) -> None:
    """What there is to say of the presets; nothing of none."""
    if as_json and reports:
        print(json.dumps(reports, indent=2))
    elif reports:
        lines = [line for numbers in reports for line in lines_of(numbers)]
        print("\n".join([*lines, *(compared(*reports) if len(reports) == 2 else [])]))


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("preset", nargs="?", default="tpu")
    parser.add_argument("--compare", metavar="PRESET", help="check this one too, at the same batches")
    parser.add_argument("--batches", help="pairs a core to compile, joined by commas (default: the preset's, and twice "
                        "as many)")
    parser.add_argument("--parts", default="step,painting", help=f"of {', '.join(PARTS)}; gradients: of one core, "
                        "without the optimizers")
    parser.add_argument("--filters", type=int, help="width of all networks; compiling takes as long")
    parser.add_argument("--space-to-depth", default="auto", help="off: without pixels folded into channels")
    parser.add_argument("--json", action="store_true", help="print numbers for programs")
    parser.add_argument("--equal", action="store_true", help="run the step's gradients on 8 CPU devices in float32, "
                        "narrow, and compare them with TensorFlow's")
    return parser.parse_args(argv)


def config_of(preset: str, arguments: argparse.Namespace) -> Config:
    """The preset, with the width and the way of folding that were asked for.

    Raises:
        UserError: if there is none of that name.
    """
    width = {"generator_filters": arguments.filters, "discriminator_filters": arguments.filters}
    return resolve_config({"preset": preset, "space_to_depth": arguments.space_to_depth,
                           **({} if arguments.filters is None else width)})


def batches_of(arguments: argparse.Namespace, config: Config) -> list[int]:
    """Pairs a core to compile for.

    Raises:
        UserError: for what is not a list of numbers.
    """
    if not arguments.batches:
        own = max(config.batch_size // CORES, 1)
        return [own, 2 * own]
    batches = [int(text) if text.strip().isdigit() else 0 for text in arguments.batches.split(",")]
    if not all(batches):
        raise UserError(f"--batches {arguments.batches} is not a list of numbers from 1 on. Give, for example, "
                        "--batches 4,16.")
    return sorted(set(batches))


def parts_of(arguments: argparse.Namespace) -> list[str]:
    """What to compile.

    Raises:
        UserError: for a part that there is not.
    """
    parts = arguments.parts.split(",")
    for part in parts:
        if part not in PARTS:
            raise UserError(f"--parts {part}: there is no such part. Choose of {', '.join(PARTS)}.")
    return parts


def run(arguments: argparse.Namespace) -> None:
    """Does what the command line asks for, and prints it.

    Raises:
        UserError: for anything that the user can mend.
    """
    configs = [config_of(preset, arguments) for preset in (arguments.preset, arguments.compare) if preset]
    batches, parts = batches_of(arguments, configs[0]), parts_of(arguments)
    if importlib.util.find_spec("libtpu") is None or importlib.util.find_spec("jax") is None:
        raise UserError("The TPU's compiler is not in this Python environment. Run make tpu-check, which builds one.")
    if arguments.equal:
        os.environ |= COMPILER | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {DEVICES}"}
        from tpu_compiler.equal import differences

        print(json.dumps(differences(configs[0], arguments.filters or NARROW)))
        return
    found = [(config, []) for config in configs]
    try:
        for config, programs in found:
            for part in parts:
                for batch in batches if part != "painting" else batches[:1]:
                    programs.append(compiled(config, part, batch))
    finally:  # also if the next does not compile: each took minutes
        print_reports([report(config, programs) for config, programs in found if programs], arguments.json)


def main(argv: list[str] | None = None) -> int:
    """The exit status: 0 done, 2 a mistake that the user can mend (said on standard error), 130 interrupted."""
    try:
        run(parse_arguments(argv))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted: what was compiled before is printed.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
