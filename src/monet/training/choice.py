"""The rule of `--select-by best`: which of a run's checkpoints is handed in, by what was measured of them.

A run on a few hundred paintings first gains. Then its discriminator knows the paintings by heart, and soon afterwards
the colours come apart. No single number says where to stop:

- A network trained on ImageNet is fooled by screaming colours, so a checkpoint is out if its colours are `APART` times
  as far from the paintings' as the nearest before it.
- Colours alone are fooled by an early checkpoint that has hardly painted: strokes get better long after the palette
  does. So of checkpoints that are equal within `EQUAL`, the later is better.
- That holds only while the discriminator still teaches. Once it knows the paintings by heart, a later checkpoint must
  be better by more than `EQUAL`.
- One measurement can be wrong. So a checkpoint counts as good only if it and the median of the last three both are.

Whether a checkpoint is chosen depends on those before it alone, so that a run keeps the best on disk as it goes: the
choice is the last that was chosen.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

EQUAL = 0.05  # relative difference
APART = 1.5  # times; runs that went on too long ended at 4 to 6 times
MEDIAN_OF = 3  # checkpoints
# From these on, the discriminator knows the paintings by heart: r_v is 0 while it takes held-out paintings for those it
# trained on, and 1 once it takes them for fakes; r_t is 1 once it is right about every patch of what it trained on.
BY_HEART_R_V, BY_HEART_R_T = 0.5, 0.9


class Measurement(NamedTuple):
    """What was measured of a checkpoint; NaN: it was not, or could not be."""

    step: int
    colour_left: float  # of `monet.scoring.colour`
    distance: float = float("nan")  # by the Inception: lower is better, at least 0
    r_t: float = float("nan")  # overfitting signals, means since the checkpoint before
    r_v: float = float("nan")


class Verdict(NamedTuple):
    """Whether a checkpoint was chosen, in its time, and why or why not, as the end of a sentence."""

    chosen: bool
    why: str


def knows_by_heart(measurement: Measurement) -> str:
    """The signal by which the discriminator knows the paintings by heart, in words; empty if it does not.

    r_v decides. Only without held-out paintings does r_t, which is also high while fakes are still poor.
    """
    for name, value, limit in (("r_v", measurement.r_v, BY_HEART_R_V), ("r_t", measurement.r_t, BY_HEART_R_T)):
        if np.isfinite(value):
            return f"{name} {value:.2f}" if value >= limit else ""
    return ""


def steadied(values: Sequence[float]) -> np.ndarray:
    """Each value, or the median of the last `MEDIAN_OF` finite ones if that is larger; float64 `[n]`, NaN where the
    value is not finite."""
    result = np.full(len(values), np.nan)
    finite = np.flatnonzero(np.isfinite(values))
    for position, index in enumerate(finite):
        recent = [values[other] for other in finite[max(position + 1 - MEDIAN_OF, 0):position + 1]]
        result[index] = max(values[index], np.median(recent))
    return result


class Standard(NamedTuple):
    """What a checkpoint is compared with: the lowest of those before it, infinite if there are none."""

    value: float = float("inf")
    colour: float = float("inf")


def judge(series: Sequence[Measurement]) -> list[Verdict]:
    """The verdict on each measured checkpoint of a run, in the order of their steps.

    They are compared by the Inception's distances if all that have colours have one, else by their colours.
    """
    colours = steadied([measurement.colour_left for measurement in series])
    distances = steadied([measurement.distance for measurement in series])
    by_distance = np.isfinite(distances[np.isfinite(colours)]).all()
    verdicts, standard = [], Standard()
    for measurement, value, colour in zip(series, distances if by_distance else colours, colours, strict=True):
        if not (np.isfinite(value) and np.isfinite(colour)):
            verdicts.append(Verdict(False, "it could not be measured"))
        elif colour > APART * standard.colour:
            verdicts.append(Verdict(False, f"its colours come apart: {colour:.2f} left, {standard.colour:.2f} before"))
        else:
            verdicts.append(compare(measurement, value, standard.value, "distance" if by_distance else "colours left"))
            standard = Standard(min(value, standard.value), min(colour, standard.colour))
    return verdicts


def compare(measurement: Measurement, value: float, lowest: float, what: str) -> Verdict:
    """The verdict on a checkpoint by its `value`, which is called `what`, and the `lowest` before it."""
    if lowest == float("inf"):
        return Verdict(True, f"it is the first: {what} {value:.3g}")
    compared = f"{what} {value:.3g}, the best before {lowest:.3g}"
    if value < lowest * (1 - EQUAL):
        return Verdict(True, f"it is the best so far: {compared}")
    if value > lowest * (1 + EQUAL):
        return Verdict(False, f"it is worse: {compared}")
    if signal := knows_by_heart(measurement):
        return Verdict(False, f"it is not clearly better ({compared}), and the discriminator knows the paintings by "
                              f"heart: {signal}")
    return Verdict(True, f"it is as good as the best, and later: {compared}")


def choose(series: Sequence[Measurement]) -> int | None:
    """The step that is handed in; None if none could be measured."""
    chosen = [measurement.step for measurement, verdict in zip(series, judge(series), strict=True) if verdict.chosen]
    return chosen[-1] if chosen else None
