"""A run on Kaggle: where it finds its data, what it resumes from, where it writes, and which files it leaves."""

import dataclasses
import os
import shutil
import tempfile
import time

from monet.core.config import Config, look_up, make_config
from monet.core.errors import UserError
from monet.core.files import atomic_write
from monet.gan.systems import check_config
from monet.machine.kaggle_machine import SMOKE_REPORT, find_kaggle_data, input_folders, kaggle_working, time_limit
from monet.machine.tpu_environment import START_VARIABLE
from monet.training.checkpoint import list_checkpoints
from monet.training.previews import list_frames
from monet.training.run_files import RunFiles
from monet.training.salvage import run_or_salvage
from monet.training.selections import SELECTIONS
from monet.training.session import exit_status, session_of, start_logging
from monet.training.smoke import smoke_command

# Settings that the user cannot choose here: `out` is the working folder, a checkpoint in it is always resumed, and
# Kaggle does not keep TensorBoard's files.
KERNEL_DECIDES = ("out", "resume", "tensorboard")


def working_files() -> RunFiles:
    """Returns the run's files in Kaggle's working folder.

    Raises:
        UserError: if there is no such folder.
    """
    folder = kaggle_working()
    if folder is None:
        raise UserError("There is no folder /kaggle/working: this file runs on Kaggle. On your own machine, run make "
                        "local-train.")
    return RunFiles(folder)


def find_attached_run(slug: str) -> str | None:
    """Returns the folder below Kaggle's input folder with the checkpoints of an earlier run, or None.

    If there are several, the output of the kernel `slug` comes first, then the run with the most steps.
    """
    runs = []
    for folder, *_ in input_folders():
        checkpoints = list_checkpoints(RunFiles(folder).checkpoints)
        if checkpoints:
            runs.append((slug in folder.split(os.sep), os.path.basename(checkpoints[0]), folder))
    return max(runs)[2] if runs else None


def copy_run(source: RunFiles, target: RunFiles) -> None:
    """Copies what a run needs to continue from `source`: newest checkpoint, history, previews, scores, best generator.
    """
    newest = list_checkpoints(source.checkpoints)[0]
    pairs = [(newest, os.path.join(target.checkpoints, os.path.basename(newest)))]
    pairs += [pair for pair in ((source.history, target.history), (source.scores, target.scores),
                                (source.best, target.best)) if os.path.exists(pair[0])]
    pairs += [(path, os.path.join(target.previews, os.path.basename(path))) for _, path in list_frames(source.previews)]
    for path, copy in pairs:
        with atomic_write(copy) as temporary:
            shutil.copyfile(path, temporary)


def copy_attached_run(slug: str, files: RunFiles) -> None:
    """Copies the run in the attached output of the kernel `slug` to the working folder, unless that has a run already.

    Raises:
        UserError: if no attached output contains a checkpoint.
    """
    if list_checkpoints(files.checkpoints):
        return  # of this session: its cells are run a second time
    folder = find_attached_run(slug)
    if folder is None:
        raise UserError(f"There is no checkpoint to resume from: no attached output of {slug} contains one. Push "
                        "without RESUME=1 to start a new run, or attach the output of a run with a checkpoint.")
    copy_run(RunFiles(folder), files)


def remove_old_checkpoints(files: RunFiles) -> None:
    """Removes all checkpoints but the newest, so that the kernel's output stays small."""
    for path in list_checkpoints(files.checkpoints)[1:]:
        os.remove(path)


def kernel_config(settings: dict, files: RunFiles) -> Config:
    """Returns the run's config: `settings` with this machine's data, folders and time limit.

    Raises:
        UserError: if a setting is invalid, or chooses what this bundle was made without, or there is no data.
    """
    config = make_config(**settings)
    check_config(config)
    look_up(SELECTIONS, config.select_by, "select_by")
    return dataclasses.replace(config, data=config.data or find_kaggle_data(), out=files.out, resume=True,
                               tensorboard=False, max_minutes=time_limit(config.max_minutes))


def try_out(settings: dict) -> int:
    """Makes a smoke run. Its training and its zip stay in a temporary folder: a run in the working folder is kept."""
    files = working_files()
    config = kernel_config(settings, files)
    start_logging(files.out)
    with session_of(kernel_start()) as session, tempfile.TemporaryDirectory(prefix="monet-smoke-") as folder:
        return smoke_command(config, session, folder, os.path.join(files.out, SMOKE_REPORT))


def kernel_start() -> float:
    """`time.monotonic()` at the start of the kernel."""
    return float(os.environ.get(START_VARIABLE) or time.monotonic())


def train_and_paint(settings: dict, resume_from: str) -> int:
    """As `run_on_kaggle`, but raises its errors."""
    files = working_files()
    config = kernel_config(settings, files)
    if resume_from:
        copy_attached_run(resume_from, files)
    start_logging(files.out)
    try:
        with session_of(kernel_start()) as session:
            return run_or_salvage(config, session)
    finally:
        remove_old_checkpoints(files)


def run_on_kaggle(settings: dict, resume_from: str) -> int:
    """Trains, paints the photos and writes images.zip to Kaggle's working folder.

    Args:
        settings: fields of `Config` by name, without those in `KERNEL_DECIDES`. If `data` is empty, the competition's
            images are found below Kaggle's input folder. If `max_minutes` is 0, the accelerator's limit applies.
        resume_from: slug of the kernel whose attached output contains the checkpoint to resume from; "" starts anew.

    Returns:
        The exit status: 0 for success, 2 for an error that the user can fix (printed on standard error), 130 if
        interrupted.
    """
    return exit_status(lambda: train_and_paint(settings, resume_from))


def try_on_kaggle(settings: dict) -> int:
    """Makes a smoke run of `settings`: it leaves a table of what it found, and no images.zip. Returns as above."""
    return exit_status(lambda: try_out(settings))
