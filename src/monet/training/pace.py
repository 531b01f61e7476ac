"""`minutes`: the pace of a run, and the number of steps that it plans by it."""

from monet.core.config import Config
from monet.core.errors import LOG
from monet.core.presets import has_presets_minutes
from monet.training.deadline import Clock
from monet.training.engine import TensorFlowEngine
from monet.training.readings import READ_EVERY

PACE_SHARE = 0.05  # of the time that is left after the first call: so long the pace is measured; first steps are slower
LIMIT_SHARE = 0.95  # of the time before a limit, for which a schedule is planned: the pace may fall


class Pace:
    """The seconds of a step, from the end of the first call, which traces and compiles.

    Attributes:
        started: `clock.now()` at the end of the first call; None before.
    """

    def __init__(self, config: Config, clock: Clock):
        """Nothing is measured yet; `config` is settled."""
        self.config, self.clock, self.started = config, clock, None

    def start(self, position: int, count: int) -> None:
        """Starts to measure after a first call of `count` steps; `position` counts the batches consumed so far."""
        self.started, self.first, self.aside = self.clock.now(), position, self.clock.aside
        LOG.info("The first call, of %d step(s), took %.1f s, tracing and compiling included", count,
                 self.clock.seconds["first call"])

    def of_a_step(self, position: int) -> float:
        """The seconds of a step in the long run: with its share of previews, checkpoints and scores, as far as these
        have been measured. 0 if no step has been."""
        steps = position - self.first  # also those that a setback undid
        spent = self.clock.now() - self.started - (self.clock.aside - self.aside)
        if not steps or spent <= 0:
            return 0.0
        seconds, parts, config = spent / steps, self.clock.seconds, self.config
        saving = parts.get("save", 0.0) + parts.get("score", 0.0)
        works = [(parts.get("preview", 0.0), 60 * config.preview_minutes, config.steps_per_call * seconds),
                 (saving, 0.0, config.checkpoint_steps * seconds) if config.checkpoint_steps else
                 (saving, 60 * config.checkpoint_minutes, config.steps_per_call * seconds)]
        for work, interval, between in works:
            # It comes due once an interval, after some steps in between.
            seconds /= 1 - work / max(interval, work + between)
        return seconds

    def plan(self, step: int, engine: TensorFlowEngine, trained: float) -> int | None:
        """Steps of the whole run; None as long as it is too early to tell. In a cluster, the chief's number counts.

        Args:
            step: steps done.
            engine: the run's.
            trained: seconds of training, those of earlier sessions included.
        """
        left, planned = seconds_to_plan(self.config, self.clock, trained), 0
        spent, seconds = self.clock.now() - self.started, self.of_a_step(engine.position)
        if seconds and spent >= PACE_SHARE * (spent + left):
            planned = step + max(0, int(left / seconds))
        planned = engine.cluster.from_chief(planned)
        if not planned:
            return None
        if planned - step < READ_EVERY:
            LOG.warning("--minutes %g were nearly over when the pace was known: the run ends at step %d, with hardly a "
                        "schedule. Here, give at least --minutes %.2g", self.config.minutes, planned,
                        2 * (trained + READ_EVERY * seconds) / 60)
        else:
            LOG.info("At %.3f s a step, previews and checkpoints included, the schedules end with the minutes at step "
                     "%d", seconds, planned)
        return planned


def seconds_to_plan(config: Config, clock: Clock, trained: float) -> float:
    """Seconds of training, after `trained`, for which a run is planned: what is left of its `minutes`.

    If those are its preset's, a time limit shortens them.
    """
    left = 60 * config.minutes - trained
    return min(left, LIMIT_SHARE * clock.left()) if has_presets_minutes(config) else left


def say_what_fits(config: Config, clock: Clock, trained: float) -> None:
    """Says, before anything is planned, if `minutes` do not fit into `max_minutes`; arguments as above."""
    wanted, planned = 60 * config.minutes - trained, seconds_to_plan(config, clock, trained)
    if planned < wanted:
        LOG.info("The preset's %g minutes of training do not fit into --max-minutes %g, images.zip included: the "
                 "schedules are planned to end after %.1f minutes", config.minutes, config.max_minutes,
                 max(trained + planned, 0.0) / 60)
    elif clock.left() < wanted:
        LOG.warning("--minutes %g of training do not fit into --max-minutes %g, images.zip included: this session ends "
                    "before the schedules do. Give --minutes %d, or go on afterwards with the same command",
                    config.minutes, config.max_minutes, max(int((trained + LIMIT_SHARE * clock.left()) / 60), 1))
