"""`minutes`: the pace of a run, and the number of steps that it plans by it."""

from monet.core.config import Config
from monet.core.errors import LOG
from monet.core.presets import has_presets_minutes
from monet.training.deadline import Clock
from monet.training.engine import TensorFlowEngine
from monet.training.readings import READ_EVERY

# Shares of the time after the first call at which the steps are planned: roughly, because the first steps are slower
# and have no checkpoint among them; then for good, before half of the run, where the rate of presets begins to fall.
PLANS_AT = 0.05, 0.25
LIMIT_SHARE = 0.95  # of the time before a limit, for which a schedule is planned: the pace may fall


class Pace:
    """Measures the seconds of a step, with its share of previews, checkpoints and scores, and plans a run by them.

    Attributes:
        plans: how many were made; a run whose length is known from a checkpoint needs none.
        started: `clock.now()` at the end of the first call, which traces and compiles; None before.
    """

    def __init__(self, config: Config, clock: Clock, is_planned: bool = False):
        """Nothing is measured yet.

        Args:
            config: the settled config.
            clock: the run's.
            is_planned: the steps of the whole run are known.
        """
        self.config, self.clock, self.started = config, clock, None
        self.plans = len(PLANS_AT) if is_planned else 0

    def start(self, position: int, count: int) -> None:
        """Starts to measure after a first call of `count` steps; `position` counts the batches consumed so far."""
        self.started = self.since = self.clock.now()
        self.first = position
        LOG.info("The first call, of %d step(s), took %.1f s, tracing and compiling included", count,
                 self.clock.seconds["first call"])

    def of_a_step(self, position: int) -> float:
        """The seconds of a step since the first call or the last plan; 0 if there was none."""
        steps = position - self.first  # also those that a setback undid
        return (self.clock.now() - self.since) / steps if steps else 0.0

    def plan(self, step: int, engine: TensorFlowEngine, trained: float) -> int | None:
        """Steps of the whole run, if it is time to plan them; else None. In a cluster, the chief's number counts.

        Args:
            step: steps done.
            engine: the run's.
            trained: seconds of training, those of earlier sessions included.
        """
        if self.plans == len(PLANS_AT):
            return None
        left, planned = seconds_to_plan(self.config, self.clock, trained), 0
        spent, seconds = self.clock.now() - self.started, self.of_a_step(engine.position)
        if seconds > 0 and spent >= PLANS_AT[self.plans] * (spent + left):
            planned = step + max(0, int(left / seconds))
        planned = engine.cluster.from_chief(planned)
        if not planned:
            return None
        self.plans, self.since, self.first = self.plans + 1, self.clock.now(), engine.position
        self.say(planned, planned - step, seconds, trained)
        return planned

    def say(self, planned: int, more: int, seconds: float, trained: float) -> None:
        """Logs a plan of `more` steps from now on, each of these `seconds`; or that there was no time for one."""
        if self.plans > 1:
            LOG.info("At %.3f s a step, previews and checkpoints included, the schedules end with the minutes at step "
                     "%d", seconds, planned)
        elif more < READ_EVERY:
            LOG.warning("--minutes %g were nearly over when the pace was known: the run ends at step %d, with hardly a "
                        "schedule. Here, give at least --minutes %.2g", self.config.minutes, planned,
                        2 * (trained + READ_EVERY * seconds) / 60)
        else:
            LOG.info("At %.3f s a step, the minutes end at about step %d. After %.0f%% of them, this is measured once "
                     "more", seconds, planned, 100 * PLANS_AT[1])


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
