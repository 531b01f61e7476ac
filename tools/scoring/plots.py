"""Inline SVG for the report of tools/mifid.py: a map of points and curves of losses. Colours are the page's."""

import html
import math
from collections.abc import Sequence

import numpy as np

from monet.scoring.mifid import covariance_factor

MOST_POINTS = 2000  # generated images in the map
MAP_WIDTH, MOST_HEIGHT, EDGE = 860, 560, 12
CURVE_WIDTH, CURVE_HEIGHT = 420, 180
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 28  # margins of a curve's frame
MOST_STEPS = 400  # points of a curve
TICKS = 4


def principal_map(generated: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Both sides' features on the two directions in which the images of both, counted equally, differ most.

    Returns:
        float64 `[images, 2]` of each side, and the share of the variance that these directions hold.
    """
    few = generated[np.linspace(0, len(generated) - 1, min(len(generated), len(real), 1000)).astype(int)]
    both = np.concatenate([few, real])
    centre, factor = both.mean(axis=0), covariance_factor(both)
    _, values, directions = np.linalg.svd(factor, full_matrices=False)
    share = float(np.square(values[:2]).sum() / max(np.square(values).sum(), np.finfo(float).tiny))
    return (generated - centre) @ directions[:2].T, (real - centre) @ directions[:2].T, share


def scatter(generated: np.ndarray, real: np.ndarray) -> str:
    """The map of points `[n, 2]`: generated ones as dots, real ones as rings on top."""
    if len(generated) > MOST_POINTS:
        generated = generated[np.linspace(0, len(generated) - 1, MOST_POINTS).astype(int)]
    points = np.concatenate([generated, real])
    if points.shape[1] < 2:
        points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    low, high = points.min(axis=0), points.max(axis=0)
    extent = np.maximum(high - low, 1e-12)
    # The same on both axes, so that distances on the map are true.
    scale = min((MAP_WIDTH - 2 * EDGE) / extent[0], (MOST_HEIGHT - 2 * EDGE) / extent[1])
    height = round(scale * extent[1]) + 2 * EDGE
    places = (points - low) * scale + [(MAP_WIDTH - scale * extent[0]) / 2, EDGE]
    dots = [f'<circle class="{"dot" if number < len(generated) else "ring"}" cx="{x:.1f}" cy="{height - y:.1f}" '
            f'r="{2.2 if number < len(generated) else 3.2}"/>' for number, (x, y) in enumerate(places)]
    return (f'<svg viewBox="0 0 {MAP_WIDTH} {height}" role="img" aria-label="map of the features">'
            f'<rect class="frame" x="0.5" y="0.5" width="{MAP_WIDTH - 1}" height="{height - 1}"/>{"".join(dots)}</svg>')


def ticks(low: float, high: float) -> list[float]:
    """A few round numbers from `low` to `high`."""
    step = 10 ** math.floor(math.log10(max(high - low, 1e-12) / TICKS))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= TICKS + 1)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def short(value: float) -> str:
    """A tick's number."""
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:.10g}"


def curve(name: str, steps: Sequence[float], values: Sequence[float]) -> str:
    """One loss over the steps, at most `MOST_STEPS` of its values, with axes and its name.

    Args:
        name: the loss's.
        steps: at least one.
        values: as many; those that are not finite are left out.
    """
    pairs = [(x, y) for x, y in zip(steps, values, strict=True) if math.isfinite(y)]
    pairs = pairs[::max(1, math.ceil(len(pairs) / MOST_STEPS))]
    if not pairs:
        return ""
    (left, right), (low, high) = ((min(axis), max(axis)) for axis in zip(*pairs, strict=True))
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)

    def across(x: float) -> float:
        return LEFT + (x - left) / max(right - left, 1e-12) * (CURVE_WIDTH - LEFT - RIGHT)

    def up(y: float) -> float:
        return CURVE_HEIGHT - BOTTOM - (y - low) / (high - low) * (CURVE_HEIGHT - TOP - BOTTOM)

    parts = [f'<line class="grid" x1="{LEFT}" x2="{CURVE_WIDTH - RIGHT}" y1="{up(y):.1f}" y2="{up(y):.1f}"/>'
             f'<text x="{LEFT - 6}" y="{up(y) + 4:.1f}" text-anchor="end">{short(y)}</text>' for y in ticks(low, high)]
    parts += [f'<text x="{across(x):.1f}" y="{CURVE_HEIGHT - 8}" text-anchor="middle">{short(x)}</text>'
              for x in ticks(left, right)]
    line = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in pairs)
    return (f'<figure><figcaption>{html.escape(name)}</figcaption><svg viewBox="0 0 {CURVE_WIDTH} {CURVE_HEIGHT}" '
            f'role="img" aria-label="{html.escape(name)} over the steps">{"".join(parts)}'
            f'<polyline class="line" points="{line}"/></svg></figure>')
