"""How far a run has come."""

import dataclasses
import math

from monet.core.config import Config
from monet.core.errors import LOG
from monet.machine.devices import Device


@dataclasses.dataclass
class RunState:
    """How far a run has come.

    Attributes:
        step: steps done.
        total_steps: steps of the whole run; None if `minutes` decide it and the pace is not known yet.
        skipped: batches of data skipped because they led to a setback.
        saved_at: step of the newest checkpoint; None if there is none.
        setbacks: number since training last got further than before.
        broke_at: the furthest step at which a setback occurred.
    """

    step: int = 0
    total_steps: int | None = None
    skipped: int = 0
    saved_at: int | None = None
    setbacks: int = 0
    broke_at: int = 0

    @property
    def end(self) -> float:
        """The step at which the run ends; infinite if that is not known yet."""
        return math.inf if self.total_steps is None else self.total_steps

    def place(self) -> str:
        """How far the run has come, in words."""
        return f"step {self.step}" + (f" of {self.total_steps}" if self.total_steps is not None else "")

    def next_count(self, config: Config) -> int:
        """Steps of the next call: up to the next multiple of `steps_per_call`, the next checkpoint, or the end."""
        intervals = filter(None, (config.steps_per_call, config.checkpoint_steps))
        return min(self.end, *(self.step - self.step % interval + interval for interval in intervals)) - self.step


def log_start(config: Config, device: Device, state: RunState) -> None:
    """Logs what is still trained, if anything is; `config` is settled."""
    if state.step < state.end:
        until = f"for {config.minutes:g} minutes" if state.total_steps is None else f"to {state.total_steps}"
        LOG.info("Training %s with %d %s device(s) by %s in %s: from step %d %s, into %s", config.preset,
                 device.count, device.kind, device.engine, config.precision, state.step, until, config.out)
