"""Says, without a TPU, whether a preset fits Kaggle's TPU v5e-8 and how fast it could run there at best.

Compiles the preset's training step for all cores, and its painting for one, with the TPU's own compiler. The costs are
the compiler's count; the shortest possible times follow from the TPU's limits. Nothing is run, so no figure is a
measured time. A step takes minutes to compile, however small its networks.

    make tpu-check PRESET=tpu ARGS="--batches 4,16 --compare tutorial --parts step,painting --json"
    make tpu-check PRESET=tpu ARGS=--equal      compares the program's gradients with TensorFlow's own
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

from console import module_command, module_environment, run_tool

from tpu_compiler.report import CompiledProgram, comparison_lines, report, report_lines
from tpu_compiler.v5e import CORES

from monet.core.config import Config
from monet.core.errors import UserError, say
from monet.core.presets import resolve_config

PARTS = ("step", "gradients", "painting")
NARROW = 4  # filters of --equal
# The compiler must not look for a TPU nor ask Google's cloud about one, and two of it may be loaded.
COMPILER_ENVIRONMENT = {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost",
                        "TPU_ACCELERATOR_TYPE": "v5litepod-8", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
                        "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
CPU_DEVICES = f"--xla_force_host_platform_device_count={CORES}"


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("preset", nargs="?", default="tpu")
    parser.add_argument("--compare", metavar="PRESET", help="also check this preset, at the same batches")
    parser.add_argument("--batches", help="pairs per core, separated by commas (default: the preset's, and twice that)")
    parser.add_argument("--parts", default="step,painting", help=f"of {', '.join(PARTS)}; gradients are those of one "
                        "core, without the optimizers")
    parser.add_argument("--filters", type=int, help="width of all networks; compiling takes as long")
    parser.add_argument("--space-to-depth", default="auto", help="off: without space-to-depth layers")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument("--equal", action="store_true", help="run the gradients of narrow networks on 8 CPU devices, "
                        "in float32, and compare them with TensorFlow's")
    return parser.parse_args(argv)


def preset_config(preset: str, arguments: argparse.Namespace) -> Config:
    """Returns the preset with the command line's width and space-to-depth setting.

    Raises:
        UserError: if the preset does not exist or a setting is invalid.
    """
    width = {"generator_filters": arguments.filters, "discriminator_filters": arguments.filters}
    return resolve_config({"preset": preset, "space_to_depth": arguments.space_to_depth,
                           **({} if arguments.filters is None else width)})


def parse_batches(arguments: argparse.Namespace, config: Config) -> list[int]:
    """Returns the batches per core to compile for, in ascending order.

    Raises:
        UserError: if --batches is not a list of positive numbers.
    """
    if not arguments.batches:
        own = max(config.batch_size // CORES, 1)
        return [own, 2 * own]
    batches = [int(text) if text.strip().isdigit() else 0 for text in arguments.batches.split(",")]
    if not all(batches):
        raise UserError(f"--batches {arguments.batches} is not a list of positive numbers. Give, for example, "
                        "--batches 4,16.")
    return sorted(set(batches))


def parse_parts(arguments: argparse.Namespace) -> list[str]:
    """Returns the parts to compile.

    Raises:
        UserError: for an unknown part.
    """
    parts = arguments.parts.split(",")
    for part in parts:
        if part not in PARTS:
            raise UserError(f"--parts {part}: unknown part. Choose from {', '.join(PARTS)}.")
    return parts


def crash_reason(stderr: str, status: int) -> str:
    """Returns why the compiler died: the check that failed, or its exit status."""
    failed_checks = [line.split("] ", 1)[-1] for line in stderr.splitlines() if "Check failed" in line]
    return failed_checks[0] if failed_checks else f"the compiler ended with status {status}"


def compile_program(config: Config, part: str, batch: int) -> CompiledProgram:
    """Compiles a program in a process of its own, because the compiler may crash.

    Raises:
        UserError: if it does not compile; names the unsupported operation if the compiler does.
    """
    request = json.dumps({"config": dataclasses.asdict(config), "part": part, "batch": batch})
    say(f"compiling {config.preset}'s {part} for {batch} a core; a step takes minutes")
    started = time.monotonic()
    process = subprocess.run(module_command("tpu_compiler.program", request), capture_output=True, text=True,
                             env=module_environment(**COMPILER_ENVIRONMENT))
    seconds = time.monotonic() - started
    if process.returncode == -signal.SIGKILL:
        raise UserError(f"The compiler of {config.preset}'s {part} was killed, probably because this machine ran out "
                        "of memory: a step takes 70 GB, its gradients 40 (82 at 16 a core), and narrow networks little "
                        "less. Add swap, or check --parts painting only.")
    if process.returncode:
        costs = {"error": crash_reason(process.stderr, process.returncode)}
    else:
        costs = json.loads(process.stdout.strip().splitlines()[-1])
    if "error" in costs:
        raise UserError(f"{config.preset}'s {part} does not compile for the TPU: {costs['error']} Replace that "
                        "operation, or choose another preset.")
    return CompiledProgram(part, batch, *map(costs.get, ("flops", "moved", "accessed", "memory")), seconds,
                           costs.get("refused", ""))


def print_reports(reports: list[dict], as_json: bool) -> None:
    """Prints the presets' reports, and if there are two, how they compare; prints nothing if there are none."""
    if as_json and reports:
        print(json.dumps(reports, indent=2))
    elif reports:
        lines = [line for numbers in reports for line in report_lines(numbers)]
        print("\n".join([*lines, *(comparison_lines(*reports) if len(reports) == 2 else [])]))


def print_differences(config: Config, filters: int) -> None:
    """Prints, as JSON, how far the program's losses and gradients are from TensorFlow's: see tpu_compiler/equal.py."""
    os.environ |= COMPILER_ENVIRONMENT | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {CPU_DEVICES}"}
    from tpu_compiler.equal import differences  # here, because JAX reads the environment when it is imported

    print(json.dumps(differences(config, filters)))


def check(arguments: argparse.Namespace) -> None:
    """Compiles and prints what the command line asks for.

    Raises:
        UserError: for a mistake on the command line, a missing compiler, or a program that does not compile.
    """
    configs = [preset_config(preset, arguments) for preset in (arguments.preset, arguments.compare) if preset]
    batches, parts = parse_batches(arguments, configs[0]), parse_parts(arguments)
    if importlib.util.find_spec("libtpu") is None or importlib.util.find_spec("jax") is None:
        raise UserError("The TPU's compiler is not in this Python environment. Run make tpu-check, which builds one.")
    if arguments.equal:
        print_differences(configs[0], arguments.filters or NARROW)
        return
    compiled = [(config, []) for config in configs]
    try:
        for config, programs in compiled:
            for part in parts:
                for batch in batches[:1] if part == "painting" else batches:
                    programs.append(compile_program(config, part, batch))
    finally:  # after a failure, too: each program took minutes
        print_reports([report(config, programs) for config, programs in compiled if programs], arguments.json)


def main(argv: list[str] | None = None) -> int:
    """Runs the command line `argv` (default: the process's); returns the exit status."""
    return run_tool(lambda: check(parse_arguments(argv)), "Interrupted. What was compiled before is printed.")


if __name__ == "__main__":
    sys.exit(main())
