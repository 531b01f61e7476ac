"""The losses of training steps: read at intervals and checked."""

import contextlib
import time
from collections.abc import Callable, Iterator

import numpy as np

from monet.core.array_files import NotFiniteError
from monet.core.config import Config
from monet.training.train_step import broken_loss

READ_EVERY = 25  # steps between readings, which make the host wait for the device


class Broken(Exception):
    """A loss or a weight is no longer finite, or a loss has diverged; the message says which."""


@contextlib.contextmanager
def broken_if_not_finite(step: int, alone: bool) -> Iterator[None]:
    """Turns the error about an array that is not finite, after `step` steps, into `Broken`; except in a cluster (not
    `alone`), whose other machines are still reading and cannot go back now."""
    try:
        yield
    except NotFiniteError as error:
        if not alone:
            raise
        raise Broken(f"{error.name} became NaN or infinite before step {step}") from None


class Readings:
    """The losses of the steps since the last reading.

    Attributes:
        step: steps done at the last reading.
        count: readings so far.
        text: the last reading in words, for the progress bar.
    """

    def __init__(self, config: Config, names: tuple[str, ...], step: int, now: Callable[[], float] = time.monotonic):
        """Starts after `step` steps; `names` are the engine's losses, and `now` returns the time in seconds."""
        self.config, self.names, self.now = config, names, now
        self.count, self.text = 0, ""
        self.restart(step)

    def restart(self, step: int) -> None:
        """Forgets the steps since the last reading; training continues from `step`."""
        self.pending, self.step, self.since = [], step, self.now()

    def pause(self) -> None:
        """Excludes the time since the last reading from the seconds per step."""
        self.since = self.now()

    def add(self, count: int, sums) -> None:
        """Adds the sums of the losses over `count` more steps, which the device may still be computing."""
        self.pending.append((count, sums))

    def is_due(self, step: int) -> bool:
        """Whether a reading is due after `step` steps."""
        return step // READ_EVERY > self.step // READ_EVERY

    def read(self, step: int) -> tuple[dict[str, float], float]:
        """The mean losses of the steps since the last reading by name, and the seconds that each took.

        Raises:
            Broken: if a mean is NaN or infinite, or has diverged.
        """
        count = sum(count for count, _ in self.pending)
        means = np.sum([np.asarray(sums, np.float64) for _, sums in self.pending], axis=0) / count
        losses = dict(zip(self.names, means.tolist(), strict=True))
        seconds = (self.now() - self.since) / count
        self.restart(step)
        self.count += 1
        if broken := broken_loss(losses, self.config):
            raise Broken(f"The loss {broken} became {losses[broken]:g} before step {step}")
        self.text = describe_reading(step, losses, self.config)
        return losses, seconds


def epoch_of(step: int, config: Config) -> int:
    """The epoch, counted from 1, that the last of `step` steps belongs to."""
    return (step - 1) // config.steps_per_epoch + 1


def describe_reading(step: int, losses: dict[str, float], config: Config) -> str:
    """A reading in words, for the progress bar."""
    return f"epoch {epoch_of(step, config)}, " + " ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
