"""The commands `run` and `train`: from the images to a checked images.zip, or to a trained generator."""

import os
from collections.abc import Callable

from monet.core.config import MIN_IMAGES, Config
from monet.core.errors import LOG, UserError
from monet.data.hold_out import split_data
from monet.data.records import Data
from monet.data.validation import find_data
from monet.machine.devices import device_of
from monet.machine.kaggle_machine import find_kaggle_mount
from monet.machine.restarts import past_hangs
from monet.submission.check import check_zip
from monet.submission.images_zip import generate_submission, never
from monet.training.engines import choose_devices
from monet.training.report import update_report
from monet.training.run_files import RunFiles
from monet.training.run_lock import only_writer
from monet.training.session import Session
from monet.training.trainer import Trainer
from monet.training.watchdog import Watchdog

LOCAL_DATA = os.path.join("data", "gan-getting-started")


def open_data(config: Config) -> Data:
    """The images that `config.data` names; empty: data/gan-getting-started, else Kaggle's mount. `config.hold_out` of
    the paintings are held out.

    Raises:
        UserError: if there are none, or they cannot be used, or none are left to train on.
    """
    root = config.data or (LOCAL_DATA if os.path.isdir(LOCAL_DATA) else find_kaggle_mount())
    if not root:
        raise UserError(f"No images were given and {LOCAL_DATA} does not exist. Give --data FOLDER, or use "
                        "`make local-train`, which downloads them or draws a sample.")
    data = split_data(find_data(root, config.swap_sides), config)
    LOG.info("Data: %s", data.describe())
    return data


def hand_in(paint, data: Data, config: Config, is_late: Callable[[], bool] = never) -> int:
    """Paints and zips the submission, checks it, and returns the exit status. See `generate_submission`."""
    path = RunFiles(config.out).zip
    count = generate_submission(paint, data.photo, path, config, is_late, data.monet)
    problems = check_zip(path, fewest=min(count, MIN_IMAGES))
    for problem in problems:
        LOG.error("%s", problem)
    if count < MIN_IMAGES:
        LOG.warning("%s has only %d images: Kaggle refuses fewer than %d", path, count, MIN_IMAGES)
    LOG.info("Wrote %s with %d images, %.0f MB", path, count, os.path.getsize(path) / 1e6)
    if os.path.exists(RunFiles(config.out).facts):  # of a run that was trained here
        update_report(RunFiles(config.out), problems)
    return 2 if problems else 0


def trained(config: Config, session: Session, hands_in: bool) -> Trainer:
    """Trains, and returns the trainer.

    Args:
        config: the run.
        session: this start of the program.
        hands_in: the submission follows, and `max_minutes` must leave time for it.

    Raises:
        UserError: if the device hung twice, or as `Trainer` and `Trainer.fit` do.
    """
    if len(past_hangs()) > 1:
        raise UserError(f"The device hung twice. The newest checkpoint is in {RunFiles(config.out).checkpoints}. Go on "
                        "from it on another device, or paint with it: python -m monet generate --accelerator cpu.")
    devices, data, watchdog = choose_devices(config, session.cluster), open_data(config), Watchdog()
    device = device_of(devices)
    watchdog.start(f"{device.kind}:{device.engine}", session.cluster.is_single, session.started)
    with watchdog.call("start"):
        trainer = Trainer(config, data, devices, session.deadline(config), hands_in, session.terminated,
                          cluster=session.cluster, watchdog=watchdog)
    trainer.fit()
    return trainer


def run_command(config: Config, session: Session) -> int:
    """`run`: train, generate, check."""
    with only_writer(config.out, session.cluster.writes):
        trainer = trained(config, session, hands_in=True)
        if not trainer.engine.cluster.writes:
            LOG.info("Done: the chief of the cluster paints")
            return 0
        status = hand_in(trainer.paint, trainer.data, config)
    LOG.info("Photos beside their paintings, curves and more, on one page: %s", trainer.files.report)
    return status


def train_command(config: Config, session: Session) -> int:
    """`train`: checkpoints, history, preview and the exported generator, no submission."""
    with only_writer(config.out, session.cluster.writes):
        trainer = trained(config, session, hands_in=False)
    LOG.info("Wrote %s and %s, and a page of the run: %s", trainer.files.generator, trainer.files.preview,
             trainer.files.report)
    return 0
