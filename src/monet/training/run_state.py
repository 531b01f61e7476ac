"""How far a run has come."""

import dataclasses

from monet.core.config import Config
from monet.core.errors import LOG
from monet.machine.devices import Device


@dataclasses.dataclass
class RunState:
    """How far a run has come.

    Attributes:
        step: steps done.
        skipped: batches of data skipped because they led to a setback.
        saved_at: step of the newest checkpoint; None if there is none.
        seconds: training time of earlier sessions.
        setbacks: number since training last got further than before.
        broke_at: the furthest step at which a setback occurred.
    """

    step: int = 0
    skipped: int = 0
    saved_at: int | None = None
    seconds: float = 0.0
    setbacks: int = 0
    broke_at: int = 0


def log_start(config: Config, device: Device, step: int) -> None:
    """Logs what is trained from `step` on, if anything is; `config` is settled."""
    if step < config.total_steps:
        LOG.info("Training %s with %d %s device(s) by %s in %s: from step %d to %d, into %s", config.preset,
                 device.count, device.kind, device.engine, config.precision, step, config.total_steps, config.out)
