"""The rule of `--select-by best`: which of a run's checkpoints is handed in, by what was measured of them.

A run on a few hundred paintings first gains. Then its discriminator wins: it tells all that is painted from Monets, or
knows the Monets by heart, and soon the colours come apart. No single number says where to stop:

- A network trained on ImageNet is fooled by screaming colours, so a checkpoint is out if its colours are `APART` times
  as far from the paintings' as the nearest before it.
- Colours alone are fooled by an early checkpoint that has hardly painted: strokes get better long after the palette
  does. So of checkpoints that are equal within `EQUAL`, the later is better.
- That holds only while the discriminator still teaches. Once it has won, a later checkpoint must be better by more than
  `EQUAL`.
- Shortly before the colours come apart they swing, and one measurement can be wrong. So a checkpoint counts for no more
  than the one before it: only what was good twice in a row is good.

Whether a checkpoint is chosen depends on those before it alone, so that a run keeps the best on disk as it goes: the
choice is the last that was chosen.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

EQUAL = 0.05  # relative difference
# Where colours are matched after painting, what they were before says little about a painting, and swings: 0.55, 0.70,
# 0.60, 0.54 and 0.55 in a run that only got better. So they only tell when colours come apart.
EQUAL_IF_MATCHED = 0.5
APART = 1.5  # times; a run that went on too long came to 2.2 when that was first visible, and to 3.7 soon after
# From these on, the discriminator has won. r_v is 0 while it takes held-out paintings for those it trained on, and 1
# once it takes them for fakes. Its loss fell to a third of its highest, and further, when a run's colours began to
# swing, while r_v was still 0. r_t does not tell: it was 0.93 after 1,100 steps of a run, while fakes were still poor.
BY_HEART_R_V, LOSS_FALLEN = 0.5, 1 / 3


class Measurement(NamedTuple):
    """What was measured of a checkpoint; NaN: it was not, or could not be."""

    step: int
    colour_left: float  # of `monet.scoring.colour`
    distance: float = float("nan")  # by the Inception: lower is better, at least 0
    r_v: float = float("nan")  # an overfitting signal, and the Monet discriminator's loss, since the checkpoint before
    loss: float = float("nan")


class Verdict(NamedTuple):
    """Whether a checkpoint was chosen, in its time, and why or why not, as the end of a sentence."""

    chosen: bool
    why: str


def discriminator_won(measurement: Measurement, highest_loss: float) -> str:
    """The signal by which the discriminator has won, in words; empty if it has not."""
    if measurement.r_v >= BY_HEART_R_V:
        return f"knows the paintings by heart (r_v {measurement.r_v:.2f})"
    if measurement.loss <= LOSS_FALLEN * highest_loss:
        return f"tells all paintings apart (its loss {measurement.loss:.2g}, {highest_loss:.2g} before)"
    return ""


def steadied(values: Sequence[float]) -> np.ndarray:
    """The larger of each value and the finite one before it; float64 `[n]`, NaN where the value is not finite."""
    result = np.full(len(values), np.nan)
    finite = np.flatnonzero(np.isfinite(values))
    for before, index in zip([*finite[:1], *finite], finite, strict=False):
        result[index] = max(values[before], values[index])
    return result


class Standard(NamedTuple):
    """What a checkpoint is compared with, of those before it: the lowest value, infinite without any, and the highest
    loss, 0 without any."""

    value: float = float("inf")
    colour: float = float("inf")
    loss: float = 0.0


def judge(series: Sequence[Measurement], matched: bool = False) -> list[Verdict]:
    """The verdict on each measured checkpoint of a run, in the order of their steps.

    They are compared by the Inception's distances if all that have colours have one, else by their colours.

    Args:
        series: what was measured.
        matched: its colours are those before `match_colors`.
    """
    colours = steadied([measurement.colour_left for measurement in series])
    distances = steadied([measurement.distance for measurement in series])
    by_distance = np.isfinite(distances[np.isfinite(colours)]).all()
    equal = EQUAL_IF_MATCHED if matched and not by_distance else EQUAL
    verdicts, standard = [], Standard()
    for measurement, value, colour in zip(series, distances if by_distance else colours, colours, strict=True):
        if not (np.isfinite(value) and np.isfinite(colour)):
            verdicts.append(Verdict(False, "it could not be measured"))
        elif colour > APART * standard.colour:
            verdicts.append(Verdict(False, f"its colours come apart: {colour:.2f} left, {standard.colour:.2f} before"))
        else:
            verdicts.append(compare(measurement, value, standard, equal,
                                    "distance" if by_distance else "colours left"))
            standard = Standard(min(value, standard.value), min(colour, standard.colour),
                                np.fmax(standard.loss, measurement.loss))
    return verdicts


def compare(measurement: Measurement, value: float, standard: Standard, equal: float, what: str) -> Verdict:
    """The verdict on a checkpoint by its `value`, which is called `what`; `equal` is a relative difference."""
    lowest = standard.value
    if lowest == float("inf"):
        return Verdict(True, f"it is the first: {what} {value:.3g}")
    compared = f"{what} {value:.3g}, the best before {lowest:.3g}"
    if value < lowest * (1 - equal):
        return Verdict(True, f"it is the best so far: {compared}")
    if value > lowest * (1 + equal):
        return Verdict(False, f"it is worse: {compared}")
    if won := discriminator_won(measurement, standard.loss):
        return Verdict(False, f"it is not clearly better ({compared}) and the discriminator {won}")
    return Verdict(True, f"it is as good as the best, and later: {compared}")


def choose(series: Sequence[Measurement]) -> int | None:
    """The step that is handed in; None if none could be measured."""
    chosen = [measurement.step for measurement, verdict in zip(series, judge(series), strict=True) if verdict.chosen]
    return chosen[-1] if chosen else None
