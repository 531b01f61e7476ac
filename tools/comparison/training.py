"""The training of one preset for tools/compare.py: an engine, and the losses as a run records them."""

import functools
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from monet.core.config import Config
from monet.core.errors import UserError
from monet.core.files import write_config
from monet.core.progress import Interval
from monet.data.records import Data
from monet.machine.cluster import ONE_MACHINE
from monet.machine.devices import check_reach, device_of
from monet.training.engines import make_engine
from monet.training.history import History, kept_rows
from monet.training.readings import Broken, Readings, epoch_of
from monet.training.run_files import prepare_out
from monet.training.settled import settled

READINGS = 40  # of the losses in a run, several for each fifth of it
PAINT_BATCH = 4


def paint_in_batches(paint: Callable, images) -> np.ndarray:
    """Returns `paint` of images, float32 `[count, height, width, 3]`, `PAINT_BATCH` at a time."""
    starts = range(0, len(images), PAINT_BATCH)
    return np.concatenate([np.asarray(paint(images[start:start + PAINT_BATCH]), np.float32) for start in starts])


def patch_logits(discriminator: tf.keras.Model, images) -> np.ndarray:
    """Returns the logits of images, float32 `[heads, count, map height, map width]`."""
    heads = tf.nest.flatten(discriminator(images, training=False))
    return np.stack([np.asarray(logits, np.float32)[..., 0] for logits in heads])


class Training:
    """A preset's networks, which train for some seconds and then paint.

    Attributes:
        config: the settled config.
        data: the photos and paintings.
        step: steps done.
    """

    def __init__(self, config: Config, data: Data, devices):
        """Builds the networks, and writes config.json.

        Raises:
            UserError: if the settings do not fit together, or the folder cannot be written.
        """
        check_reach(data.root)
        self.config, self.data, self.step = settled(config, device_of(devices), data), data, 0
        files = prepare_out(config, data, ONE_MACHINE)
        write_config(config, files.config)
        self.engine = make_engine(self.config, data, devices)
        self.history = History(files, 0, config.tensorboard)
        self.readings = Readings(self.config, self.engine.loss_names, 0)

    def train(self, seconds: float) -> dict:
        """Trains for `seconds`, or to the end of the run, and records the losses in history.csv.

        The clock starts after the first call, which traces the networks.

        Returns:
            steps (without the first call's), seconds_per_step, and start_seconds, the duration of the first call.

        Raises:
            UserError: if a loss is not finite.
        """
        begun = time.monotonic()
        self.advance()
        self.read_losses()
        first, started, read_due = self.step, time.monotonic(), Interval(seconds / READINGS)
        while time.monotonic() - started < seconds and self.step < self.config.total_steps:
            self.advance()
            if read_due.due() or self.readings.is_due(self.step):
                self.read_losses()
        self.read_losses()
        ended, steps = time.monotonic(), self.step - first
        return {"steps": steps, "seconds_per_step": (ended - started) / max(steps, 1),
                "start_seconds": started - begun}

    def advance(self) -> None:
        """Makes the steps of one call."""
        count = min(self.config.steps_per_call, self.config.total_steps - self.step)
        self.readings.add(count, self.engine.run_steps(self.step, count))
        self.step += count

    def read_losses(self) -> None:
        """Records the losses of the steps since the last time.

        Raises:
            UserError: if one is not finite.
        """
        if not self.readings.pending:
            return
        try:
            losses, seconds = self.readings.read(self.step)
        except Broken as error:
            raise UserError(f"{error}. Try a lower --set learning_rate.") from None
        self.history.add(self.step, epoch_of(self.step, self.config), seconds, losses)

    def loss_rows(self) -> list[dict]:
        """Returns the rows of history.csv."""
        return kept_rows(self.history.path, self.step)

    def finish(self) -> None:
        """Gives the trained weights, or their moving average, to the network that paints."""
        self.engine.update_painter()

    def paint(self, photos) -> np.ndarray:
        """Returns photos, float32 `[count, height, width, 3]` in [-1, 1], painted."""
        return paint_in_batches(self.engine.paint, photos)

    def paint_back(self, paintings) -> np.ndarray | None:
        """Returns paintings turned into photos, with the trained weights; None if the system has no such generator."""
        return self.back_painter and paint_in_batches(self.back_painter, paintings)

    @functools.cached_property
    def back_painter(self) -> Callable | None:
        """The function that paints paintings as photos; None if there is no generator."""
        return self.engine.paint_function("monet_to_photo")

    def discriminate(self, side: str, images) -> np.ndarray:
        """Returns what the discriminator of `side` makes of images: see `patch_logits`."""
        return patch_logits(self.engine.system.networks[f"{side}_discriminator"], images)
