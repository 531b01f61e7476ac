"""Trains presets side by side, each for the same seconds: `make compare`, or python tools/compare.py [PRESET …].

    runs/compare/compare.jpg    a row for each preset: photo | painted | back again
    runs/compare/compare.md     the tables that are printed; compare.json has all numbers
    runs/compare/maps.jpg       with --maps: what the discriminators see
    runs/compare/PRESET/        log, history.csv and config.json of each preset

With --ablation FILE it tries changes of one preset instead, at full size: comparison/ablation.toml is an example.

    runs/FILE/ablation.md       the table that is printed; ablation.json has all numbers
    runs/FILE/ablation.jpg      a row for each run: what it paints of the same photos
    runs/FILE/CHANGE-SEED-…/    all files of each run

Each preset trains in a process of its own, so that its peak memory is its own and a crash ends no other. Without an
accelerator, networks and batches are reduced; the table says how.
"""

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from console import module_command, module_environment, run_tool

from comparison.ablation_run import run_ablation
from comparison.job import MAX_BATCH, MAX_WIDTH, Job, failure_reason, job_config
from comparison.report import report
from comparison.sheet import write_maps, write_pictures
from find_data import default_data
from tqdm import tqdm

from monet.core.config import look_up
from monet.core.errors import UserError, say
from monet.core.files import atomic_write
from monet.core.options import parse_field
from monet.core.presets import PRESETS
from monet.scoring.inception_weights import find_weights
from monet.training.run_lock import only_writer

SECONDS = 60.0
OUT = "runs/compare"
ABLATION_OPTIONS = ("ablation", "reference", "data", "out")  # --ablation takes the rest from its file
OWN_OPTIONS = ("preset", "data", "out", "seed")  # config fields that this program has options for; --set refuses them


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("presets", nargs="*", metavar="PRESET", help=f"any of {', '.join(PRESETS)} (default: all)")
    parser.add_argument("--data", type=os.path.expanduser, default="", help="folder or gs:// address (default: as for "
                        "make local-train)")
    parser.add_argument("--out", type=os.path.expanduser, default="", metavar="FOLDER",
                        help="where to write (default: runs/compare, or runs/ and the name of the ablation's FILE)")
    parser.add_argument("--ablation", type=os.path.expanduser, default="", metavar="FILE",
                        help="try the changes of one preset that this file lists; see tools/comparison/ablation.toml")
    parser.add_argument("--reference", type=os.path.expanduser, default="", metavar="PATH", help="with --ablation: zip "
                        "or folder of paintings that are not in the data, to judge by (default: the file's)")
    parser.add_argument("--seconds", type=float, default=SECONDS,
                        help="training time of each preset (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random numbers (default: 0)")
    parser.add_argument("--width", type=int, default=0, metavar="N", help="most filters of a network's first layer "
                        f"(default: no limit on an accelerator, else {MAX_WIDTH})")
    parser.add_argument("--batch-size", type=int, default=0, metavar="N", help="most images of each set per step "
                        f"(default: no limit on an accelerator, else {MAX_BATCH})")
    parser.add_argument("--maps", action="store_true", help="also draw the discriminators' patch maps")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
                        help="a setting for all presets; can be repeated")
    return parser


def parse_settings(settings: list[str]) -> dict:
    """Returns the config fields of `--set NAME=VALUE …`.

    Raises:
        UserError: for an unknown field, one that has an option of its own, or an invalid value.
    """
    values = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or name in OWN_OPTIONS:
            raise UserError(f"--set {setting}: expected NAME=VALUE, where NAME is no option of this program. See "
                            "python tools/compare.py --help and python -m monet run --help.")
        values[name] = parse_field(name, text)
    return values


def make_jobs(options: argparse.Namespace) -> list[Job]:
    """Returns the jobs of the command line, checked before any data is read or drawn.

    Raises:
        UserError: for an unknown preset or setting, or an invalid number.
    """
    for name, least in (("seconds", 0.1), ("width", 0), ("batch_size", 0)):
        if not getattr(options, name) >= least:
            raise UserError(f"--{name.replace('_', '-')} {getattr(options, name)}: must be at least {least}.")
    values, jobs = parse_settings(options.settings), []
    for preset in dict.fromkeys(options.presets or PRESETS):
        look_up(PRESETS, preset, "preset")
        job = Job(preset, "", str(Path(options.out) / preset), options.seconds, options.seed, options.width,
                  options.batch_size, options.maps, values)
        for accelerated in (True, False):
            job_config(job, accelerated)
        jobs.append(job)
    data, weights = default_data(options.data), available_weights()
    return [dataclasses.replace(job, data=data, weights=weights) for job in jobs]


def available_weights() -> str:
    """Returns the path of the FID Inception's weights; if there are none, says so and returns ""."""
    try:
        return find_weights(download=False).path
    except UserError as error:
        say(f"FID, MiFID and KID are left out: {error}")
        return ""


def run_job(job: Job) -> dict:
    """Trains one preset in a process of its own; returns its measurements, or {"preset", "error"}."""
    folder = Path(job.out)
    folder.mkdir(parents=True, exist_ok=True)
    result, log = folder / "result.json", folder / "compare.log"
    result.unlink(missing_ok=True)
    command = module_command("comparison.train_preset", json.dumps(dataclasses.asdict(job)))
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2", **module_environment()}
    with open(log, "wb") as file:
        status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment).returncode
    if status:
        return {"preset": job.preset, "error": failure_reason(status, log)}
    return json.loads(result.read_text(encoding="utf-8"))


def write_results(results: list[dict], head: str, out: Path, maps: bool) -> None:
    """Writes tables and pictures of the results so far into the folder `out`.

    Raises:
        UserError: if a file cannot be written.
    """
    trained = [(result, out / result["preset"] / "pictures.npz") for result in results if "error" not in result]
    if trained:
        write_pictures(trained, str(out / "compare.jpg"))
    if trained and maps:
        write_maps(trained, str(out / "maps.jpg"))
    for name, text in (("compare.md", report(results, head)), ("compare.json", json.dumps(results, indent=2) + "\n")):
        with atomic_write(str(out / name)) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.write(text)


def compare_changes(options: argparse.Namespace, defaults: argparse.Namespace) -> int:
    """Does the ablation that the options name; see `run_ablation`.

    Args:
        options: from the command line.
        defaults: the same without any.

    Raises:
        UserError: for an option that an ablation does not take, and as `run_ablation`.
    """
    for name, value in vars(options).items():
        if name not in ABLATION_OPTIONS and value != getattr(defaults, name):
            raise UserError(f"--ablation takes no {name}: its file has the preset, the settings, the seeds and the "
                            "length. Leave it out.")
    out = options.out or str(Path("runs") / Path(options.ablation).stem)
    return run_ablation(options.ablation, options.data, options.reference, out)


def compare(options: argparse.Namespace) -> int:
    """Trains the presets, writes the results and prints the tables; returns 1 if a preset failed, else 0.

    Raises:
        UserError: for invalid options, or files that cannot be written.
    """
    if options.reference:
        raise UserError("--reference is for --ablation FILE. Give that, too, or leave it out.")
    options.out = options.out or OUT
    jobs, results = make_jobs(options), []
    head = (f"{options.seconds:g} seconds of training each, seed {options.seed}, {jobs[0].data}; "
            f"{os.cpu_count()} cores, Python {platform.python_version()}")
    with only_writer(options.out):
        for job in tqdm(jobs, unit="preset", disable=not sys.stderr.isatty()):
            tqdm.write(f"{job.preset}: {job.seconds:g} seconds of training, once it is built", file=sys.stderr)
            results.append(run_job(job))
            write_results(results, head, Path(options.out), options.maps)
    print(report(results, head))
    return 1 if any("error" in result for result in results) else 0


def main(argv: list[str] | None = None) -> int:
    """Runs the command line `argv` (default: the process's); returns the exit status."""
    parser = make_parser()

    def run() -> int:
        options = parser.parse_args(argv)
        return compare_changes(options, parser.parse_args([])) if options.ablation else compare(options)

    return run_tool(run, "Interrupted. Tables and pictures show what was done. The same --ablation goes on from there.")


if __name__ == "__main__":
    sys.exit(main())
