"""How a run ends in time: signals that are noted first, and a clock that knows what is still to be done."""

import contextlib
import logging
import signal
import time
from collections.abc import Iterator

from monet.core.config import SUBMISSION_SIZE, Config
from monet.core.errors import LOG

PAINT_RESERVE = 1.25  # the time kept for painting and zipping, over the time that a few images took
SPARE = 0.05  # of the time limit, kept for what nobody foresees
LAST_SECONDS = 3.0  # that TensorFlow and Python take to begin and to end, whatever is done between
# A step's seconds over those of painting one 256x256 image, until one has been measured: 10 passes through a generator
# and 6 through a discriminator with their gradients, and the optimizers; the tutorial's networks took 15 to 20.
STEP_GUESS = 30
# What making the step's graph adds to the first step, over what making the painting's added to the first painting; of
# four presets it was 14 to 43 times as much.
GRAPH_GUESS = 50
COMPILE_SECONDS = 300.0  # kept for the first call where XLA compiles the step, which nothing foretells


class Interrupted(Exception):
    """Ctrl-C during training, after everything was saved."""


@contextlib.contextmanager
def signal_noted(number: int, message: str) -> Iterator[list]:
    """Turns the first signal `number` into a note, a list that is no longer empty, and logs `message`; the second acts
    as it would have without this."""
    noted = []

    def note(*_):
        noted.append(number)
        signal.signal(number, previous)
        LOG.info("%s", message)

    previous = signal.signal(number, note)
    try:
        yield noted
    finally:
        signal.signal(number, previous)


class Clock:
    """What a run's time limit leaves for training, by what the run has measured of itself.

    Attributes:
        seconds: what each part took when it was last done, by name; parts not yet done are missing.
    """

    def __init__(self, deadline: float | None, limit: float):
        """`deadline` as of `time.monotonic()`, None for none; `limit` is the whole run's time in seconds."""
        self.deadline, self.limit, self.seconds = deadline, limit, {}

    @contextlib.contextmanager
    def measured(self, part: str) -> Iterator[None]:
        """Notes the time that the block takes as that of `part`."""
        started = time.monotonic()
        yield
        self.seconds[part] = time.monotonic() - started

    def reserve(self) -> float:
        """Seconds that it takes, from now, to save, score, paint the last preview, hand in, and have `SPARE` left.

        Twice all but handing in: one more may have become due just now, and the generator is exported.
        """
        parts = 2 * sum(self.seconds.get(part, 0.0) for part in ("save", "score", "preview"))
        return parts + PAINT_RESERVE * self.seconds.get("hand in", 0.0) + LAST_SECONDS + SPARE * self.limit

    def left(self) -> float:
        """Seconds left for training; infinite without a deadline."""
        return float("inf") if self.deadline is None else self.deadline - time.monotonic() - self.reserve()


def guessed_first_call(config: Config, clock: Clock, pictures: int, steps: int, compiled: bool) -> float:
    """Seconds that the first call may take, before any was made.

    Args:
        config: the run.
        clock: has measured the "first paint" and the next "paint" of as many 256x256 images.
        pictures: their number.
        steps: of the call.
        compiled: whether XLA compiles it.
    """
    first, second = clock.seconds["first paint"], clock.seconds["paint"]
    step = STEP_GUESS * second / pictures * config.batch_size * (config.image_size / SUBMISSION_SIZE) ** 2
    return (COMPILE_SECONDS if compiled else GRAPH_GUESS * max(first - second, 0.0)) + steps * step


def say_why(clock: Clock, config: Config, step: int, told: bool) -> None:
    """Logs why training ends after `step` steps, before its last; `told`: because somebody said so."""
    level = logging.INFO if step else logging.WARNING
    late = -clock.left()
    if late > SPARE * clock.limit:
        LOG.warning("Stopping at step %d of %d: what is left to do will end some %.1f minutes after the %g of "
                    "--max-minutes. Give more, or fewer --num-images", step, config.total_steps,
                    (late - SPARE * clock.limit) / 60, config.max_minutes)
    elif clock.deadline is not None and not told:
        LOG.log(level, "Stopping at step %d of %d, so that the run ends within %g minutes; --max-minutes sets another "
                "time", step, config.total_steps, config.max_minutes)
    else:
        LOG.log(level, "Stopping at step %d of %d", step, config.total_steps)


def warn_of_pace(config: Config, reached: int, seconds: float) -> None:
    """Warns if what changes over the run will not come to its end in the time that there is.

    Args:
        config: the run.
        reached: the step at which the time will be over.
        seconds: that a step takes.
    """
    scheduled = config.decay_start < 1 or config.cycle_fall or config.feature_cycle
    if scheduled and reached < config.total_steps:
        LOG.warning("At %.2f s a step, %g minutes are enough for some %d of the %d steps: what falls or rises over the "
                    "run will not come to the end of its way. --epochs %d would fit", seconds, config.max_minutes,
                    reached, config.total_steps, max(reached // config.steps_per_epoch, 1))
