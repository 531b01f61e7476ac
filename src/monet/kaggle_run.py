"""A run on Kaggle's machine: where it finds its data, goes on from, writes to, and what it leaves behind."""

import dataclasses
import os
import shutil
import time

from monet.core.config import Config, make_config
from monet.core.errors import UserError
from monet.core.files import atomic_write
from monet.gan.systems import check_config
from monet.machine.kaggle_machine import find_kaggle_data, input_folders, kaggle_working, time_limit
from monet.machine.tpu_environment import START_VARIABLE
from monet.training.checkpoint import list_checkpoints
from monet.training.run import run_command
from monet.training.run_files import RunFiles
from monet.training.session import exit_status, session_of, start_logging

# Fields that are not the user's to set here: `out` is the working folder, what lies in it is gone on from, and what
# TensorBoard reads is not among what Kaggle keeps.
KERNEL_DECIDES = ("out", "resume", "tensorboard")


def working_files() -> RunFiles:
    """The files of a run in Kaggle's working folder.

    Raises:
        UserError: if there is none.
    """
    folder = kaggle_working()
    if folder is None:
        raise UserError("There is no folder /kaggle/working: this file runs on Kaggle. On your own machine, use make "
                        "local-train.")
    return RunFiles(folder)


def find_attached_run(slug: str) -> str | None:
    """The folder below Kaggle's input folder with the checkpoints of an earlier run, or None.

    Of several, those of the kernel `slug` are taken, then the one that had come furthest.
    """
    found = []
    for folder, *_ in input_folders():
        checkpoints = list_checkpoints(RunFiles(folder).checkpoints)
        if checkpoints:
            found.append((slug in folder.split(os.sep), os.path.basename(checkpoints[0]), folder))
    return max(found)[2] if found else None


def copy_run(source: RunFiles, target: RunFiles) -> None:
    """Copies what a run needs to go on from `source`: the newest checkpoint, the history, and the best generator."""
    newest = list_checkpoints(source.checkpoints)[0]
    pairs = [(newest, os.path.join(target.checkpoints, os.path.basename(newest)))]
    pairs += [pair for pair in ((source.history, target.history), (source.scores, target.scores),
                                (source.best, target.best)) if os.path.exists(pair[0])]
    for path, copy in pairs:
        with atomic_write(copy) as temporary:
            shutil.copyfile(path, temporary)


def attach_run(slug: str, files: RunFiles) -> None:
    """Brings the run that the attached output of the kernel `slug` holds into the working folder, unless one is there.

    Raises:
        UserError: if no output with a checkpoint is attached.
    """
    if list_checkpoints(files.checkpoints):
        return  # of this session: the cells were run a second time
    found = find_attached_run(slug)
    if found is None:
        raise UserError(f"There is no checkpoint to go on from: no attached output of {slug} holds one. Push without "
                        "RESUME=1 to start anew, or attach the output of a run that has one.")
    copy_run(RunFiles(found), files)


def clear_up(files: RunFiles) -> None:
    """Removes what a run needs only while it lasts: all checkpoints but the newest."""
    for path in list_checkpoints(files.checkpoints)[1:]:
        os.remove(path)


def kernel_config(settings: dict, files: RunFiles) -> Config:
    """The run's config: `settings`, with data, folders and time limit as this machine has them.

    Raises:
        UserError: for settings that cannot be, or without data.
    """
    config = make_config(**settings)
    return dataclasses.replace(config, data=config.data or find_kaggle_data(), out=files.out, resume=True,
                               tensorboard=False, max_minutes=time_limit(config.max_minutes))


def run_on_kaggle(settings: dict, resume_from: str) -> int:
    """Trains, paints, and writes images.zip into Kaggle's working folder.

    Args:
        settings: field values of `monet.config.Config` by name, but for `KERNEL_DECIDES`; an empty `data` is found
            below Kaggle's input folder, and a `max_minutes` of 0 is what the accelerator allows.
        resume_from: slug of the kernel whose attached output has the checkpoint to go on from; "" to start anew.

    Returns:
        The exit status: 0 done, 2 a mistake that the user can mend (said on standard error), 130 interrupted.
    """
    return exit_status(lambda: train_and_hand_in(settings, resume_from))


def train_and_hand_in(settings: dict, resume_from: str) -> int:
    """As `run_on_kaggle`, but raises what goes wrong."""
    files = working_files()
    config = kernel_config(settings, files)
    check_config(config)
    if resume_from:
        attach_run(resume_from, files)
    start_logging(files.out)
    try:
        with session_of(float(os.environ.get(START_VARIABLE) or time.monotonic())) as session:
            return run_command(config, session)
    finally:
        clear_up(files)
