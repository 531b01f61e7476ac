"""The losses of training steps: read now and then, checked, and shown."""

import sys
import time

import numpy as np
from tqdm import tqdm

from monet.core.config import Config
from monet.core.errors import LOG
from monet.core.progress import Every
from monet.training.train_step import broken_loss

READ_EVERY = 25  # steps between readings, which make the host wait for the device
LOG_SECONDS = 30  # between log lines where there is no progress bar


class Broken(Exception):
    """A loss or a weight is no longer finite, or a loss has diverged; the message says which."""


class Readings:
    """The losses of the steps since the last reading.

    Attributes:
        step: steps done at the last reading.
        count: readings so far.
    """

    def __init__(self, config: Config, names: tuple[str, ...], step: int):
        """No steps yet after `step`; `names` are those of the engine's losses."""
        self.config, self.names, self.count = config, names, 0
        self.restart(step)

    def restart(self, step: int) -> None:
        """Forgets the steps since the last reading; training goes on from `step`."""
        self.pending, self.step, self.since = [], step, time.monotonic()

    def pause(self) -> None:
        """Leaves the time since the last reading out of the seconds a step."""
        self.since = time.monotonic()

    def add(self, count: int, sums) -> None:
        """Notes the sums of the losses over `count` more steps, which the device may still be computing."""
        self.pending.append((count, sums))

    def is_due(self, step: int) -> bool:
        """Whether enough steps were done since the last reading, now that `step` are."""
        return step // READ_EVERY > self.step // READ_EVERY

    def read(self, step: int) -> tuple[dict[str, float], float]:
        """The mean losses of the steps since the last reading by name, and the seconds that each took.

        Raises:
            Broken: if a mean is NaN, infinite or beyond all measure.
        """
        count = sum(count for count, _ in self.pending)
        means = np.sum([np.asarray(sums, np.float64) for _, sums in self.pending], axis=0) / count
        losses = dict(zip(self.names, means.tolist(), strict=True))
        seconds = (time.monotonic() - self.since) / count
        self.restart(step)
        self.count += 1
        if broken := broken_loss(losses, self.config):
            raise Broken(f"The loss {broken} became {losses[broken]:g} before step {step}")
        return losses, seconds


class StepProgress:
    """Shows how far training is: a bar on a terminal, elsewhere a log line now and then."""

    def __init__(self, config: Config, step: int, quiet: bool = False):
        """Starts at `step`; `quiet` shows no bar."""
        self.config, self.log_due = config, Every(LOG_SECONDS)
        self.bar = tqdm(total=config.total_steps, initial=step, unit="step", disable=quiet or not sys.stderr.isatty())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()

    def move_to(self, step: int) -> None:
        """Shows that `step` steps are done; after a setback they can be fewer than before."""
        self.bar.update(step - self.bar.n)

    def show(self, step: int, seconds: float, losses: dict[str, float]) -> None:
        """Shows a reading."""
        text = " ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
        self.bar.set_postfix_str(text, refresh=False)
        if self.bar.disable and self.log_due.due():
            minutes = (self.config.total_steps - step) * seconds / 60
            LOG.info("epoch %d, step %d of %d, %.2f s a step, %.0f min left: %s", epoch_of(step, self.config), step,
                     self.config.total_steps, seconds, minutes, text)


def epoch_of(step: int, config: Config) -> int:
    """The epoch, counted from 1, that the last of `step` steps belongs to."""
    return (step - 1) // config.steps_per_epoch + 1
