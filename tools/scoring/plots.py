"""Inline SVG for the report of tools/mifid.py: a map of points and curves of losses, coloured by the page's CSS."""

import html
import math
from collections.abc import Sequence

import numpy as np

from monet.scoring.mifid import covariance_factor

MAX_POINTS = 2000  # generated images in the map
MAX_MAP_BASIS = 1000  # generated images that the map's directions are computed from
MAP_WIDTH, MAX_MAP_HEIGHT, MAP_MARGIN = 860, 560, 12
CURVE_WIDTH, CURVE_HEIGHT = 420, 180
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 28  # margins of a curve's frame
MAX_CURVE_POINTS = 400
TICKS = 4


def evenly_spaced(rows: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the rows, at equal distances."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(int)]


def principal_map(generated: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Projects both sides' features on their first two principal components, both sides weighing the same.

    Returns:
        float64 `[images, 2]` for each side, and the share of the variance that the two components explain.
    """
    both = np.concatenate([evenly_spaced(generated, min(len(real), MAX_MAP_BASIS)), real])
    mean, factor = both.mean(axis=0), covariance_factor(both)
    _, values, directions = np.linalg.svd(factor, full_matrices=False)
    share = float(np.square(values[:2]).sum() / max(np.square(values).sum(), np.finfo(float).tiny))
    return (generated - mean) @ directions[:2].T, (real - mean) @ directions[:2].T, share


def scatter(generated: np.ndarray, real: np.ndarray) -> str:
    """Draws points `[n, 2]`: generated images as dots, real ones as rings on top."""
    generated = evenly_spaced(generated, MAX_POINTS)
    points = np.concatenate([generated, real])
    if points.shape[1] < 2:
        points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    low, high = points.min(axis=0), points.max(axis=0)
    extent = np.maximum(high - low, 1e-12)
    # One scale for both axes, so that distances on the map are true.
    scale = min((MAP_WIDTH - 2 * MAP_MARGIN) / extent[0], (MAX_MAP_HEIGHT - 2 * MAP_MARGIN) / extent[1])
    height = round(scale * extent[1]) + 2 * MAP_MARGIN
    places = (points - low) * scale + [(MAP_WIDTH - scale * extent[0]) / 2, MAP_MARGIN]
    circles = [f'<circle class="{"dot" if number < len(generated) else "ring"}" cx="{x:.1f}" cy="{height - y:.1f}" '
               f'r="{2.2 if number < len(generated) else 3.2}"/>' for number, (x, y) in enumerate(places)]
    return (f'<svg viewBox="0 0 {MAP_WIDTH} {height}" role="img" aria-label="map of the features">'
            f'<rect class="frame" x="0.5" y="0.5" width="{MAP_WIDTH - 1}" height="{height - 1}"/>{"".join(circles)}'
            '</svg>')


def ticks(low: float, high: float) -> list[float]:
    """A few round numbers between `low` and `high`."""
    step = 10 ** math.floor(math.log10(max(high - low, 1e-12) / TICKS))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= TICKS + 1)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def tick_label(value: float) -> str:
    """A tick's number, in thousands if it is long."""
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:.10g}"


def curve(name: str, steps: Sequence[float], values: Sequence[float]) -> str:
    """Draws a loss over the steps, with axes and a caption.

    Args:
        name: of the loss.
        steps: at least one.
        values: one per step; those not finite are left out.
    """
    pairs = [(x, y) for x, y in zip(steps, values, strict=True) if math.isfinite(y)]
    pairs = pairs[::max(1, math.ceil(len(pairs) / MAX_CURVE_POINTS))]
    if not pairs:
        return ""
    (first, last), (low, high) = ((min(axis), max(axis)) for axis in zip(*pairs, strict=True))
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)

    def to_x(step: float) -> float:
        return LEFT + (step - first) / max(last - first, 1e-12) * (CURVE_WIDTH - LEFT - RIGHT)

    def to_y(value: float) -> float:
        return CURVE_HEIGHT - BOTTOM - (value - low) / (high - low) * (CURVE_HEIGHT - TOP - BOTTOM)

    axes = [f'<line class="grid" x1="{LEFT}" x2="{CURVE_WIDTH - RIGHT}" y1="{to_y(tick):.1f}" y2="{to_y(tick):.1f}"/>'
            f'<text x="{LEFT - 6}" y="{to_y(tick) + 4:.1f}" text-anchor="end">{tick_label(tick)}</text>'
            for tick in ticks(low, high)]
    axes += [f'<text x="{to_x(tick):.1f}" y="{CURVE_HEIGHT - 8}" text-anchor="middle">{tick_label(tick)}</text>'
             for tick in ticks(first, last)]
    points = " ".join(f"{to_x(x):.1f},{to_y(y):.1f}" for x, y in pairs)
    return (f'<figure><figcaption>{html.escape(name)}</figcaption><svg viewBox="0 0 {CURVE_WIDTH} {CURVE_HEIGHT}" '
            f'role="img" aria-label="{html.escape(name)} over the steps">{"".join(axes)}'
            f'<polyline class="line" points="{points}"/></svg></figure>')
