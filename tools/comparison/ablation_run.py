"""Runs an ablation for tools/compare.py: trains, paints and judges one run after another, and writes the table."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from console import module_command, module_environment

import numpy as np
import tensorflow as tf
from comparison.ablation import AblationRun, ablation_runs, command_words, read_ablation
from comparison.ablation_report import report
from comparison.examiner import Examiner
from comparison.job import failure_reason
from comparison.paintings import JUDGED, first_pictures
from comparison.sheet import draw_sheet, save_sheet
from find_data import default_data
from tqdm import tqdm

from monet.core.errors import say
from monet.core.files import atomic_write
from monet.data.validation import find_data
from monet.training.run_files import RunFiles
from monet.training.run_lock import only_writer

SHOWN = 4  # photos in the picture, evenly spread over those judged
RESULT = "result.json"  # in a run's folder, once it is done


def finished_result(run: AblationRun, folder: Path) -> dict | None:
    """Returns the result of the run if it is done, with the same settings; else None."""
    try:
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return result if result.get("settings") == run.digest else None


def train(run: AblationRun, folder: Path) -> str:
    """Trains the run in a process of its own and paints; returns why that failed, or "". An interrupted run resumes."""
    folder.mkdir(parents=True, exist_ok=True)
    log, zip_path = folder / "compare.log", Path(RunFiles(str(folder)).zip)
    before = zip_path.stat().st_mtime_ns if zip_path.exists() else None
    with open(log, "wb") as file:
        status = status_of(module_command("monet", *command_words(run, folder)), file)
    # Not 0, yet with a new zip: `check` objects to it, as to photos that all became one painting. That is a result.
    painted = zip_path.exists() and zip_path.stat().st_mtime_ns != before
    return failure_reason(status, log) if status and not painted else ""


def status_of(command: list[str], log: BinaryIO) -> int:
    """Executes a command and returns its exit status. After Ctrl-C it has the time to save what it has."""
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=module_environment())
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise


def do_run(run: AblationRun, out: Path, examiner: Examiner) -> dict:
    """Returns the result of the run. What is done is not done again: neither training nor, if the photos, the reference
    and the networks are the same, measuring."""
    folder = out / run.folder
    result = finished_result(run, folder)
    if result is None and (error := train(run, folder)):
        return {"name": run.name, "seed": run.seed, "error": error}
    if result is None or result["measured"] != examiner.digest:
        result = {"settings": run.digest, "measured": examiner.digest, **examiner.measure(RunFiles(str(folder)))}
        write_text(folder / RESULT, json.dumps(result, indent=2) + "\n")
    return {**result, "name": run.name, "seed": run.seed, "folder": run.folder}


def write_text(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all.

    Raises:
        UserError: if it cannot be written.
    """
    with atomic_write(str(path)) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)


def write_results(results: list[dict], head: str, out: Path, photos: np.ndarray) -> None:
    """Writes the table and the pictures of the results so far into the folder `out`.

    Raises:
        UserError: if a file cannot be written.
    """
    write_text(out / "ablation.md", report(results, head))
    write_text(out / "ablation.json", json.dumps(results, indent=2) + "\n")
    every = max(len(photos) // SHOWN, 1)
    rows = [(["photos"], list(photos[::every]))]
    for result in results:
        if "error" not in result:
            path = RunFiles(str(out / result["folder"])).zip
            rows.append((label_of(result), list(first_pictures(path, len(photos), every))))
    save_sheet(draw_sheet([f"photo {index + 1}" for index in range(0, len(photos), every)], rows),
               str(out / "ablation.jpg"))


def label_of(result: Mapping) -> list[str]:
    """Returns the lines beside a run's pictures."""
    left = [f"{name.replace('_', ' ')} left {value:.2f}" for name, value in result.get("left", {}).items()
            if value is not None and not name.startswith("fid")]
    return [result["name"], f"seed {result['seed']}", f"{result['updates']:,} updates", *left,
            ", ".join(result["faults"]) or "ok"]


def run_ablation(path: str, data: str, reference: str, out: str) -> int:
    """Does the ablation of the file `path`, prints its table, and returns 1 if a run failed, else 0.

    Args:
        path: of the file.
        data: images to train on; empty: those of `make local-train`.
        reference: zip or folder of paintings to judge by; empty: the file's.
        out: folder for everything.

    Raises:
        UserError: for a file, images or a reference that cannot be used.
    """
    ablation, results = read_ablation(path), []
    ablation_runs(ablation, path, data, JUDGED)  # refuses mistakes before any image is read or drawn
    tf.config.set_visible_devices([], "GPU")  # the runs, in their own processes, need all of its memory
    images = find_data(default_data(data), ablation.settings.get("swap_sides", False))
    reference = reference or ablation.reference
    if not reference:
        say("KID and colours are left out: give paintings that are not trained on, as --reference.")
    with only_writer(out):
        examiner = Examiner(images, reference)
        count = len(examiner.photos)
        head = (f"Preset {ablation.preset}, {ablation.described} each; {images.describe()}; {count} photos painted, "
                f"judged by {reference or 'no reference'}; {os.cpu_count()} cores, Python {platform.python_version()}")
        for run in tqdm(ablation_runs(ablation, path, images.root, count), unit="run",
                        disable=not sys.stderr.isatty()):
            tqdm.write(f"{run.name}, seed {run.seed}: {Path(out) / run.folder}", file=sys.stderr)
            results.append(do_run(run, Path(out), examiner))
            write_results(results, head, Path(out), examiner.photos)
    print(report(results, head))
    return 1 if any("error" in result for result in results) else 0
