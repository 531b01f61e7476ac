"""The command `run`, whatever hung before: it trains and paints, or, after two hangs, only paints."""

import dataclasses
import time

from monet.core.config import Config, look_up
from monet.core.errors import LOG
from monet.machine.devices import choose_strategy, device_of, set_precision
from monet.machine.restarts import past_hangs
from monet.networks.build import build_generator
from monet.submission.painter import make_painter
from monet.training.checkpoint import restore_network
from monet.training.deadline import LAST_SECONDS, PAINT_RESERVE
from monet.training.run import hand_in, open_data, run_command
from monet.training.run_files import RunFiles
from monet.training.run_lock import only_writer
from monet.training.selections import SELECTIONS
from monet.training.session import Session
from monet.training.settled import settled


def run_or_salvage(config: Config, session: Session) -> int:
    """`run`: trains, paints and checks the submission; returns the exit status."""
    if len(past_hangs()) < 2:
        return run_command(config, session)
    with only_writer(config.out):
        return salvage(config, session)


def salvage(config: Config, session: Session) -> int:
    """Paints on the CPU with the newest checkpoint, or the best generator that the run kept.

    It paints as many photos as the time that is left allows, and at least one batch.

    Returns:
        The exit status.

    Raises:
        UserError: if there is no checkpoint, or it or the data cannot be used.
    """
    LOG.warning("The device hung twice: no more training. The CPU paints with the newest checkpoint")
    config = dataclasses.replace(config, accelerator="cpu", precision="float32")
    strategy = choose_strategy(config)
    run = settled(config, device_of(strategy))
    set_precision(run.precision)
    generator, files = build_generator(run, "photo_to_monet"), RunFiles(run.out)
    restore_network(files.checkpoints, generator)
    if method := look_up(SELECTIONS, config.select_by, "select_by"):
        method.choose(generator, files)
    paint = make_painter(generator, run.paint_margin, strategy)
    data, deadline, now = open_data(run), session.deadline(run), time.monotonic()
    # The images must still be checked, in at most this share of what painting them takes.
    until = float("inf") if deadline is None else now + (deadline - now) / PAINT_RESERVE - LAST_SECONDS
    return hand_in(paint, data, run, lambda: time.monotonic() > until)
