"""The losses of training steps, and the signals of overfitting: read at intervals, and the losses checked."""

import contextlib
import time
from collections.abc import Callable, Iterator

import numpy as np

from monet.core.array_files import NotFiniteError
from monet.core.config import Config
from monet.training.overfitting import signals_in_words
from monet.training.train_step import broken_loss

READ_EVERY = 25  # steps between readings, which make the host wait for the device
# Steps between those of the signals of overfitting, which cost as much as 1.2 to 2.4 steps of `cpu` on two cores.
SIGNALS_EVERY = 100


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
    """The losses of the steps since the last reading, and the signals of overfitting.

    Attributes:
        step: steps done at the last reading.
        count: readings so far.
        text: the last reading in words, for the progress bar.
    """

    def __init__(self, config: Config, names: tuple[str, ...], step: int, now: Callable[[], float] = time.monotonic,
                 overfitting: Callable[[], dict] | None = None):
        """Starts after `step` steps.

        Args:
            config: the settled config.
            names: the engine's losses.
            step: steps done.
            now: returns the time in seconds.
            overfitting: the engine's method; None: no signals of overfitting are read.
        """
        self.config, self.names, self.now, self.overfitting = config, names, now, overfitting
        self.count, self.text, self.signals, self.signals_read_at = 0, "", {}, step
        self.restart(step)

    def restart(self, step: int) -> None:
        """Forgets the steps since the last reading; training continues from `step`."""
        self.pending, self.step, self.since = [], step, self.now()
        self.signals_read_at = min(self.signals_read_at, step)

    def pause(self) -> None:
        """Excludes the time since the last reading from the seconds per step."""
        self.since = self.now()

    def add(self, count: int, sums) -> None:
        """Adds the sums of the losses over `count` more steps, which the device may still be computing."""
        self.pending.append((count, sums))

    def is_due(self, step: int) -> bool:
        """Whether a reading is due after `step` steps."""
        return step // READ_EVERY > self.step // READ_EVERY

    def read(self, step: int) -> tuple[dict[str, float | None], float]:
        """The mean losses of the steps since the last reading and, if due, the signals of overfitting, by name; and the
        seconds that each step took.

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
        signals = self.read_signals(step)
        self.text = f"{describe_reading(step, losses, self.config)} {signals_in_words(self.signals)}".rstrip()
        return losses | signals, seconds

    def read_signals(self, step: int) -> dict[str, float | None]:
        """The signals of overfitting if they are due: at the first reading, which may take as long as compiling does,
        every `SIGNALS_EVERY` steps, and at the end of the run."""
        first, ends = not self.signals, step >= self.config.total_steps
        due = first or ends or step // SIGNALS_EVERY > self.signals_read_at // SIGNALS_EVERY
        if self.overfitting is None or not due:
            return {}
        self.signals, self.signals_read_at = self.overfitting(), step
        if first:
            self.pause()
        return self.signals


def epoch_of(step: int, config: Config) -> int:
    """The epoch, counted from 1, that the last of `step` steps belongs to."""
    return (step - 1) // config.steps_per_epoch + 1


def describe_reading(step: int, losses: dict[str, float], config: Config) -> str:
    """A reading in words, for the progress bar."""
    return f"epoch {epoch_of(step, config)}, " + " ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
