"""Curves over a run's steps as inline SVG. A page's CSS colours them; without one they take the text's colour."""

import html
import math
from collections.abc import Mapping, Sequence

import numpy as np

WIDTH, HEIGHT = 330, 160  # of a curve, in pixels
ACROSS_X, ACROSS_Y = (44, WIDTH - 16), (HEIGHT - 26, 8)  # its frame: pixels of the first and last step, low and high
MAX_POINTS = 400
TICKS = 4
OUTPUTS, SIGNALS = ("d_trained", "d_held_out", "d_fake"), ("r_t", "r_v")  # columns of history.csv that share frames
NOT_CURVES = ("step", "epoch", "seconds_per_step", *OUTPUTS, *SIGNALS)  # columns without a frame of their own
SIGNALS_WITHIN = (-1.0, 2.0)  # drawn; as long as paintings and fakes are judged alike, r_v is divided by nearly nothing
LOOKS = ("", 'stroke-dasharray="7 3"', 'stroke-dasharray="2 3"')  # of the lines that share a frame
OUTLIERS = 0.005  # fraction of the values at either end that may lie outside the frame
MEANINGS = {
    "cycle": "what a picture loses on the way there and back",
    "identity": "what changes in a picture already in style",
    "photo_to_monet": "high: the judge sees through the paintings",
    "monet_to_photo": "the same for the way back",
    "monet_discriminator": "low: the judge tells Monets from paintings",
    "photo_discriminator": "the same for photos",
    "nce": "low: a painting matches its photo, patch by patch",
    "nce_identity": "the same for paintings, painted again",
}


def ticks(low: float, high: float) -> list[float]:
    """A few round numbers between `low` and `high`."""
    step = 10 ** math.floor(math.log10(max(high - low, 1e-12) / TICKS))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= TICKS + 1)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def tick_label(value: float) -> str:
    """A tick's number, in thousands if it is long."""
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:.10g}"


def smoothed(values: np.ndarray) -> np.ndarray:
    """The mean of each value and its neighbours, an eighth of all: `[n]` for `[n]`."""
    reach = len(values) // 16
    window = np.ones(2 * reach + 1)
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")


def scaled(values, ends: tuple[float, float], pixels: tuple[float, float]) -> np.ndarray:
    """Maps the interval between the `ends` to that between the `pixels`; values beyond are cut off."""
    low, high = ends
    return pixels[0] + (np.clip(values, low, high) - low) / max(high - low, 1e-12) * (pixels[1] - pixels[0])


def axes(horizontal: tuple[float, float], vertical: tuple[float, float]) -> str:
    """Lines and numbers for a frame between these values."""
    rows = [(tick, scaled(tick, vertical, ACROSS_Y)) for tick in ticks(*vertical)]
    columns = [(tick, scaled(tick, horizontal, ACROSS_X)) for tick in ticks(*horizontal)]
    return "".join(
        [f'<line class="grid" stroke="currentColor" stroke-opacity="0.2" x1="{ACROSS_X[0]}" x2="{ACROSS_X[1]}" '
         f'y1="{y:.1f}" y2="{y:.1f}"/><text x="{ACROSS_X[0] - 6}" y="{y + 4:.1f}" text-anchor="end">'
         f'{tick_label(tick)}</text>' for tick, y in rows]
        + [f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{tick_label(tick)}</text>' for tick, x in columns])


def polyline(x: np.ndarray, y: np.ndarray, look: str) -> str:
    """A line through at most `MAX_POINTS` of the points."""
    stride = math.ceil(len(x) / MAX_POINTS)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x[::stride], y[::stride], strict=True))
    return f'<polyline class="line" fill="none" stroke="currentColor" {look} points="{points}"/>'


def curve(name: str, steps: Sequence[float], values: Sequence[float]) -> str:
    """`curves_in_one` of one series, named `name`."""
    return curves_in_one(steps, {name: values}, MEANINGS.get(name, ""))


def caption(name: str, last: float, key: str) -> str:
    """A series' name and last value, behind a piece of its line that looks like `key`, if that is not empty."""
    sample = polyline(np.array([0, 24]), np.array([3, 3]), key)
    picture = f'<span class="key"><svg width="24" height="6" style="width:24px">{sample}</svg></span> ' if key else ""
    return f"{picture}<b>{html.escape(name)}</b> {last:.3g}"


def curves_in_one(steps: Sequence[float], series: Mapping[str, Sequence[float]], meaning: str) -> str:
    """Draws up to three series over the steps in one frame; empty if they have no values.

    Thin lines show the values, bold ones their running means. Rare outliers are cut off at the frame. The caption gives
    each series' last value.

    Args:
        steps: one per value.
        series: values by name; those not finite are left out.
        meaning: a few words below the names.
    """
    steps = np.asarray(steps, float)
    series = {name: np.asarray(values, float) for name, values in series.items()}
    series = {name: values for name, values in series.items() if np.isfinite(values).any()}
    if not series:
        return ""
    every = np.stack(list(series.values()))
    shown = steps[np.isfinite(every).any(0)]
    horizontal, vertical = (shown.min(), shown.max()), tuple(np.nanquantile(every, [OUTLIERS, 1 - OUTLIERS]))
    if vertical[0] == vertical[1]:
        vertical = (vertical[0] - 0.5, vertical[1] + 0.5)
    lines, captions = "", []
    for look, (name, values) in zip(LOOKS, series.items(), strict=False):
        finite, bold = np.isfinite(values), f'stroke-width="2" {look}'
        x, y = scaled(steps[finite], horizontal, ACROSS_X), scaled(values[finite], vertical, ACROSS_Y)
        lines += polyline(x, y, 'stroke-opacity="0.35"') + polyline(x, smoothed(y), bold)
        captions.append(caption(name, values[finite][-1], bold if len(series) > 1 else ""))
    return (f'<figure style="display:inline-block"><figcaption>{" ".join(captions)}<br>{meaning}</figcaption>'
            f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="12" '
            f'fill="currentColor" role="img" aria-label="{html.escape(", ".join(series))} over the steps">'
            f'{axes(horizontal, vertical)}{lines}</svg></figure>')


def curves_of(rows: Sequence[Mapping[str, str]]) -> str:
    """A curve for each loss in the rows of a history.csv, whose steps are whole numbers, and two frames for the signs
    of overfitting; empty without any."""
    def number(text: str | None) -> float:
        try:
            return float(text or "nan")
        except ValueError:
            return math.nan

    columns = {name: np.array([number(row[name]) for row in rows]) for name in (rows[0] if rows else {}) if name}
    steps = [int(row["step"]) for row in rows]
    curves = [curve(name, steps, values) for name, values in columns.items() if name not in NOT_CURVES]
    signals = {name: np.clip(columns[name], *SIGNALS_WITHIN) for name in SIGNALS if name in columns}
    outputs = {name: columns[name] for name in OUTPUTS if name in columns}
    curves += [curves_in_one(steps, signals, "near 1, or r_v rising: the judge knows its paintings by heart"),
               curves_in_one(steps, outputs, "what the judge makes of paintings, known and held out, and of fakes")]
    return f'<div class="curves">{"".join(curves)}</div>' if any(curves) else ""
