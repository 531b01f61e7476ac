"""Trains presets side by side, each for the same seconds: `make compare`, or python tools/compare.py [PRESET …].

    runs/compare/compare.jpg    a row a preset: photo | painted | back again
    runs/compare/compare.md     the table that is printed; compare.json holds all of its numbers
    runs/compare/maps.jpg       with --maps: what the discriminators see
    runs/compare/PRESET/        its log, history.csv and config.json

Each preset trains in a process of its own, so that its peak memory is its own and a crash ends no other. Where
there is no accelerator, networks and batches are reduced; the table says how.
"""

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from comparison.job import BATCH, WIDTH, Job, job_config
from comparison.sheet import write_maps, write_pictures
from console import module_command, module_environment
from find_data import default_data
from tqdm import tqdm

from monet.core.config import look_up, parse_field
from monet.core.errors import UserError
from monet.core.files import atomic_write
from monet.core.presets import PRESETS
from monet.scoring.health import COLLAPSED, FALLEN, GRIDDED, INVERTED, RISEN
from monet.scoring.inception_weights import find_weights

SECONDS = 60.0
HAS_OPTION = ("preset", "data", "out", "seed")  # fields that --set leaves to options of this program


def failure(status: int, log: Path) -> str:
    """One line on why a process ended with `status`, from the end of what it said."""
    if status < 0:
        return f"ended by signal {-status}" + ", perhaps for want of memory" * (status == -9)
    said = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return said[-1].strip() if said else f"ended with status {status}"


def run_job(job: Job) -> dict:
    """Trains one preset in a process of its own; what it measured, or {"preset", "error"}."""
    folder = Path(job.out)
    folder.mkdir(parents=True, exist_ok=True)
    result, log = folder / "result.json", folder / "compare.log"
    result.unlink(missing_ok=True)
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2", **module_environment()}
    with open(log, "wb") as file:
        command = module_command("comparison.train_preset", json.dumps(dataclasses.asdict(job)))
        status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment).returncode
    if status:
        return {"preset": job.preset, "error": failure(status, log)}
    return json.loads(result.read_text(encoding="utf-8"))


def listed(losses: dict) -> str:
    """Losses for a table's cell."""
    return ", ".join(f"{name} {value:.2f}" for name, value in losses.items())


def gibibytes(found: dict) -> str:
    """Peak memory for a table's cell."""
    host = f"{found['memory_gib']:.2f}"
    return host + (f" + {found['device_memory_gib']:.2f} on the device" if found["device_memory_gib"] else "")


def plain(value: float | None) -> str:
    """A number of `health.measure_health` for a table's cell."""
    return "–" if value is None else f"{value:.2f}"


def result_line(found: dict) -> str:
    """A preset's row of the first table."""
    if "error" in found:
        return f"| {found['preset']} | | | | | | failed: {found['error'].replace('|', '/')} | |"
    return (f"| {found['preset']} | {found['steps']} of batch {found['batch_size']} | {found['seconds_per_step']:.3f} "
            f"| {found['start_seconds']:.0f} | {gibibytes(found)} | {listed(found['losses'])} "
            f"| {', '.join(found['faults']) or 'ok'} | {', '.join(found['reduced']) or 'nothing'} |")


def score_line(found: dict) -> str:
    """A preset's row of the table of scores."""
    score = found["score"]
    return f"| {found['preset']} | {score['fid']:.2f} | {score['mifid']:.2f} | {score['kid']:.4g} | {score['count']} |"


def score_table(results: list[dict]) -> list[str]:
    """The table of scores; no line of it where there were no weights."""
    scored = [found for found in results if "score" in found]
    if not scored:
        return []
    notes = {found["score"]["note"] for found in scored if found["score"]["note"]}
    return ["| preset | FID | MiFID | KID | painted photos |", "|---|---|---|---|---|", *map(score_line, scored), "",
            "Of so few photos FID is far too high: compare these with each other, and with nothing else."
            + "".join(f" Note: {note}." for note in notes), ""]


def health_line(found: dict) -> str:
    """A preset's row of the second table."""
    health = found["health"]
    return (f"| {found['preset']} | {plain(health['shade_correlation'])} | {plain(health['cycle_change'])} "
            f"| {plain(health['identity_change'])} | {plain(health['grid_ratio'])} ({health['grid_levels']:.1f}) "
            f"| {plain(health['variety'])} |")


def report(results: list[dict], head: str) -> str:
    """The tables as Markdown."""
    lines = [
        head, "",
        "| preset | steps | seconds a step | to start, s | peak memory, GiB | losses, at the end | health | reduced |",
        "|---|---|---|---|---|---|---|---|", *map(result_line, results), "",
        f"| preset | shades: photo to painted (inverted below {INVERTED}) | cycle error, end over begin "
        f"| identity error (rises above {RISEN} while the other falls below {FALLEN}) "
        f"| checkerboard: times the photos' (shows above {GRIDDED}), levels of 255 "
        f"| variety: share of the photos' (collapse below {COLLAPSED}) |",
        "|---|---|---|---|---|---|", *(health_line(found) for found in results if "error" not in found), "",
        *score_table(results),
        "Steps and seconds leave out the first step, in which the networks are traced. So short a run shows how a "
        "preset begins, not where it ends: grey pictures count as collapse, and what a preset plans for later in its "
        "run does not come. src/monet/scoring/health.py says how the numbers are made.", ""]
    return "\n".join(lines)


def write_results(results: list[dict], head: str, out: Path, maps: bool) -> None:
    """Writes everything that `results` says so far to the folder `out`; the other presets' rows follow later.

    Raises:
        UserError: if it cannot be written.
    """
    trained = [(found, out / found["preset"] / "pictures.npz") for found in results if "error" not in found]
    if trained:
        write_pictures(trained, str(out / "compare.jpg"))
    if trained and maps:
        write_maps(trained, str(out / "maps.jpg"))
    for name, text in (("compare.md", report(results, head)), ("compare.json", json.dumps(results, indent=2) + "\n")):
        with atomic_write(str(out / name)) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.write(text)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("presets", nargs="*", metavar="PRESET", help=f"any of {', '.join(PRESETS)} (default: all)")
    parser.add_argument("--data", default="", help="folder or gs:// address (default: what make local-train takes)")
    parser.add_argument("--out", default="runs/compare", metavar="FOLDER", help="where to write (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of training for each (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=0, help="of every random number (default: 0)")
    parser.add_argument("--width", type=int, default=0, metavar="N", help="most filters of a network's first layer "
                        f"(default: the preset's own on an accelerator, else {WIDTH})")
    parser.add_argument("--batch-size", type=int, default=0, metavar="N",
                        help="most images of each set a step (default: the preset's own on an accelerator, else "
                        f"{BATCH})")
    parser.add_argument("--maps", action="store_true", help="also draw the discriminators' patch maps")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
                        help="a setting for all presets; may be given again")
    return parser


def parse_settings(settings: list[str]) -> dict:
    """The field values that `--set NAME=VALUE …` gives.

    Raises:
        UserError: for anything that no preset takes, or that has an option of its own.
    """
    values = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or name in HAS_OPTION:
            raise UserError(f"--set {setting}: expected NAME=VALUE with a setting that is no option here. See "
                            "python tools/compare.py --help and python -m monet run --help.")
        values[name] = parse_field(name, text)
    return values


def make_jobs(options: argparse.Namespace) -> list[Job]:
    """The jobs that the command line asks for, all of them checked before anything is drawn, read or trained.

    Raises:
        UserError: for an unknown preset or setting, or a number that cannot be.
    """
    for name, least in (("seconds", 0.1), ("width", 0), ("batch_size", 0)):
        if not getattr(options, name) >= least:
            raise UserError(f"--{name.replace('_', '-')} {getattr(options, name)}: must be at least {least}.")
    values, jobs = parse_settings(options.settings), []
    for preset in dict.fromkeys(options.presets or PRESETS):
        look_up(PRESETS, preset, "preset")
        job = Job(preset, "", str(Path(options.out) / preset), options.seconds, options.seed, options.width,
                  options.batch_size, options.maps, values)
        job_config(job, accelerated=True)
        job_config(job, accelerated=False)
        jobs.append(job)
    data, weights = default_data(options.data), weights_at_hand()
    return [dataclasses.replace(job, data=data, weights=weights) for job in jobs]


def weights_at_hand() -> str:
    """The path of the FID Inception's weights; "" where there are none, which is said."""
    try:
        return find_weights(download=False).path
    except UserError as error:
        print(f"FID, MiFID and KID are left out: {error}", file=sys.stderr)
        return ""


def compare(options: argparse.Namespace) -> int:
    """Trains and writes what the command line asks for; returns the exit status: 1 if a preset failed.

    Raises:
        UserError: for options that cannot be, or a folder that cannot be written.
    """
    jobs, results = make_jobs(options), []
    head = (f"{options.seconds:g} seconds of training each, seed {options.seed}, {jobs[0].data}; "
            f"{os.cpu_count()} cores, Python {platform.python_version()}")
    for job in tqdm(jobs, unit="preset", disable=not sys.stderr.isatty()):
        tqdm.write(f"{job.preset}: {job.seconds:g} seconds of training, after it is built", file=sys.stderr)
        results.append(run_job(job))
        write_results(results, head, Path(options.out), options.maps)
    print(report(results, head))
    return 1 if any("error" in found for found in results) else 0


def main(argv: list[str] | None = None) -> int:
    """Runs the command line `argv` (default: the process's); returns the exit status."""
    try:
        return compare(make_parser().parse_args(argv))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted: the presets that were done are in the table and the picture.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
