"""Curves over a run's steps as inline SVG. A page's CSS colours them; without one they take the text's colour."""

import html
import math
from collections.abc import Mapping, Sequence

import numpy as np

WIDTH, HEIGHT = 330, 160  # of a curve, in pixels
ACROSS_X, ACROSS_Y = (44, WIDTH - 16), (HEIGHT - 26, 8)  # its frame: pixels of the first and last step, low and high
MAX_POINTS = 400
TICKS = 4
NOT_CURVES = ("step", "epoch", "seconds_per_step")  # columns of history.csv that have no curve
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
    """Draws values over the steps, with axes and a caption that gives the last one; empty if there are none.

    A thin line shows the values, a bold one their running mean. Rare outliers are cut off at the frame.

    Args:
        name: of the values.
        steps: one per value.
        values: those not finite are left out.
    """
    steps, values = np.asarray(steps, float), np.asarray(values, float)
    steps, values = steps[np.isfinite(values)], values[np.isfinite(values)]
    if not len(values):
        return ""
    horizontal, vertical = (steps.min(), steps.max()), tuple(np.quantile(values, [OUTLIERS, 1 - OUTLIERS]))
    if vertical[0] == vertical[1]:
        vertical = (vertical[0] - 0.5, vertical[1] + 0.5)
    x, y = scaled(steps, horizontal, ACROSS_X), scaled(values, vertical, ACROSS_Y)
    lines = polyline(x, y, 'stroke-opacity="0.35"') + polyline(x, smoothed(y), 'stroke-width="2"')
    label = html.escape(name)
    return (f'<figure style="display:inline-block"><figcaption><b>{label}</b> {values[-1]:.3g}<br>'
            f'{MEANINGS.get(name, "")}</figcaption><svg width="{WIDTH}" height="{HEIGHT}" '
            f'viewBox="0 0 {WIDTH} {HEIGHT}" font-size="12" fill="currentColor" role="img" '
            f'aria-label="{label} over the steps">{axes(horizontal, vertical)}{lines}</svg></figure>')


def curves_of(rows: Sequence[Mapping[str, str]]) -> str:
    """A curve for each loss in the rows of a history.csv, whose steps are whole numbers; empty without losses."""
    def number(text: str | None) -> float:
        try:
            return float(text or "nan")
        except ValueError:
            return math.nan

    names = [name for name in (rows[0] if rows else {}) if name and name not in NOT_CURVES]
    curves = [curve(name, [int(row["step"]) for row in rows], [number(row[name]) for row in rows]) for name in names]
    return f'<div class="curves">{"".join(curves)}</div>' if any(curves) else ""
