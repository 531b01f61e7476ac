"""How far a run has come."""

import dataclasses


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
