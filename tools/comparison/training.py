"""The training of one preset for tools/compare.py: the only module of the comparison that uses the Trainer."""

import functools
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from monet.core.config import Config
from monet.core.errors import UserError
from monet.core.progress import Every
from monet.data.records import Data
from monet.gan.optimizers import copy_to_paint
from monet.networks.build import build_generator
from monet.submission.painter import make_painter
from monet.training.history import kept_rows
from monet.training.trainer import READ_EVERY, Broken, Trainer

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
        config: the settings.
        data: the photos and paintings.
    """

    def __init__(self, config: Config, data: Data, strategy: tf.distribute.Strategy):
        """Builds the networks.

        Raises:
            UserError: if the settings do not fit together.
        """
        self.config, self.data = config, data
        self.trainer = Trainer(config, data, strategy)

    def train(self, seconds: float) -> dict:
        """Trains for `seconds`, or to the end of the run, and records the losses in history.csv.

        The clock starts after the first call, which traces the networks.

        Returns:
            steps (without the first call's), seconds_per_step, and start_seconds, the duration of the first call.

        Raises:
            UserError: if a loss is not finite.
        """
        trainer, begun = self.trainer, time.monotonic()
        trainer.advance()
        self.read_losses()
        first, started, read_due = trainer.step, time.monotonic(), Every(seconds / READINGS)
        while time.monotonic() - started < seconds and trainer.step < trainer.total:
            trainer.advance()
            if read_due.due() or len(trainer.unread) == READ_EVERY:
                self.read_losses()
        self.read_losses()
        ended, steps = time.monotonic(), trainer.step - first
        return {"steps": steps, "seconds_per_step": (ended - started) / max(steps, 1),
                "start_seconds": started - begun}

    def read_losses(self) -> None:
        """Records the losses of the steps since the last time.

        Raises:
            UserError: if one is not finite.
        """
        try:
            with tqdm(disable=True) as bar:
                self.trainer.read_losses(bar, Every(float("inf")))
        except Broken as error:
            raise UserError(f"{error}. Try a lower --set learning_rate.") from None

    def finish(self) -> None:
        """Gives the trained weights, or their moving average, to the network that paints."""
        self.trainer.preview()

    def history(self) -> list[dict]:
        """Returns the rows of history.csv."""
        return kept_rows(self.trainer.files.history, self.trainer.step)

    def paint(self, photos) -> np.ndarray:
        """Returns photos, float32 `[count, height, width, 3]` in [-1, 1], painted."""
        return paint_in_batches(self.trainer.paint, photos)

    def paint_back(self, paintings) -> np.ndarray | None:
        """Returns paintings turned into photos; None if the system has no such generator."""
        return self.back_painter and paint_in_batches(self.back_painter, paintings)

    @functools.cached_property
    def back_painter(self) -> Callable | None:
        """The function that paints paintings as photos, with the trained weights; None if there is no generator."""
        trained = self.trainer.system.networks.get("monet_to_photo")
        if trained is None:
            return None
        network = build_generator(self.config, trained.name)
        copy_to_paint(trained, self.trainer.system.optimizers[trained.name], network)
        return make_painter(network, self.config.paint_margin)

    def discriminate(self, side: str, images) -> np.ndarray:
        """Returns what the discriminator of `side` makes of images: see `patch_logits`."""
        return patch_logits(self.trainer.system.networks[f"{side}_discriminator"], images)
