"""How a run ends in time: signals noted for later, and a clock that allows for the remaining work."""

import contextlib
import logging
import signal
import time
from collections.abc import Callable, Iterator

from monet.core.config import SUBMISSION_SIZE, Config
from monet.core.errors import LOG
from monet.training.run_state import RunState

PAINT_RESERVE = 1.25  # time kept for painting and zipping, relative to a rehearsal with few images
SPARE = 0.05  # fraction of the time limit kept for surprises
LAST_SECONDS = 3.0  # for TensorFlow and Python to start and exit
# Guess for the seconds of a step, relative to painting one 256x256 image, until a step has been measured: 10 passes
# through a generator and 6 through a discriminator, with gradients, and the optimizers. The tutorial's networks took
# 15 to 20.
STEP_GUESS = 30
# Guess for the seconds of tracing the step's graph, relative to tracing the painting's. Four presets took 14 to 43.
GRAPH_GUESS = 50
ASIDE = ("save", "score", "preview")  # what a run does from time to time beside making steps
COMPILE_SECONDS = 300.0  # kept for the first call if XLA compiles it


class Interrupted(Exception):
    """Ctrl-C during training, after everything was saved."""


@contextlib.contextmanager
def noted_signal(number: int, message: str) -> Iterator[list]:
    """Notes the first signal `number` in the list that it yields, and logs `message`. A second one acts as usual."""
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
    """How much of a run's time limit is left for training, from the run's own measurements.

    Attributes:
        deadline: in terms of `now()`; None for none.
        limit: the whole run's time in seconds.
        seconds: how long each part last took, by name; parts not done yet are missing.
        now: returns the time in seconds.
    """

    def __init__(self, deadline: float | None, limit: float, now: Callable[[], float] = time.monotonic):
        """Nothing is measured yet."""
        self.deadline, self.limit, self.seconds, self.now = deadline, limit, {}, now

    @contextlib.contextmanager
    def measured(self, part: str) -> Iterator[None]:
        """Measures the block as `part`."""
        started = self.now()
        yield
        self.seconds[part] = self.now() - started

    def reserve(self) -> float:
        """Seconds needed to save, score, paint the last preview and hand in, with `SPARE` left.

        Everything but handing in counts twice: another may just have become due, and the generator is exported.
        """
        parts = 2 * sum(self.seconds.get(part, 0.0) for part in ASIDE)
        return parts + PAINT_RESERVE * self.seconds.get("hand in", 0.0) + LAST_SECONDS + SPARE * self.limit

    def left(self) -> float:
        """Seconds left for training; infinite without a deadline."""
        return float("inf") if self.deadline is None else self.deadline - self.now() - self.reserve()


def first_call_guess(config: Config, clock: Clock, pictures: int, steps: int, compiled: bool) -> float:
    """Estimates the seconds of the first training call, before any has been measured.

    Args:
        config: the run.
        clock: has measured the "first paint" and the next "paint" of `pictures` 256x256 images.
        pictures: their number.
        steps: number in the call.
        compiled: whether it is compiled.
    """
    first, second = clock.seconds["first paint"], clock.seconds["paint"]
    step = STEP_GUESS * second / pictures * config.batch_size * (config.image_size / SUBMISSION_SIZE) ** 2
    return (COMPILE_SECONDS if compiled else GRAPH_GUESS * max(first - second, 0.0)) + steps * step


def log_stop(clock: Clock, config: Config, state: RunState, told: bool) -> None:
    """Logs why training ends early; `told`: somebody asked for it."""
    level, place = logging.INFO if state.step else logging.WARNING, state.place()
    late = -clock.left()
    if late > SPARE * clock.limit:
        LOG.warning("Stopping at %s: the rest of the work will end about %.1f minutes after --max-minutes %g. Give "
                    "more minutes, or fewer --num-images", place, (late - SPARE * clock.limit) / 60, config.max_minutes)
    elif clock.deadline is not None and not told:
        LOG.log(level, "Stopping at %s, so that the run ends within %g minutes; --max-minutes changes the limit", place,
                config.max_minutes)
    else:
        LOG.log(level, "Stopping at %s", place)


def has_schedules(config: Config) -> bool:
    """Whether a rate or a weight depends on how far the run is from its last step."""
    return bool(config.decay_start < 1 or config.cycle_fall or config.feature_cycle)


def warn_of_pace(config: Config, state: RunState, clock: Clock, seconds: float) -> None:
    """Warns if the time limit, at `seconds` a step, ends the run before its schedules do, as far as those are known."""
    if clock.deadline is None or state.total_steps is None or not has_schedules(config):
        return
    reached = int(state.step + clock.left() / seconds)
    if reached < state.total_steps:
        advice = ("The same command goes on afterwards" if config.minutes else
                  f"--epochs {max(reached // config.steps_per_epoch, 1)} would fit")
        LOG.warning("At %.2f s a step, %g minutes are enough for about %d of the %d steps, so the run's schedules will "
                    "not finish. %s", seconds, config.max_minutes, reached, state.total_steps, advice)
