"""Inline SVG for the report of tools/mifid.py: a map of points, coloured by the page's CSS."""

import numpy as np

from monet.scoring.mifid import covariance_factor

MAX_POINTS = 2000  # generated images in the map
MAX_MAP_BASIS = 1000  # generated images that the map's directions are computed from
MAP_WIDTH, MAX_MAP_HEIGHT, MAP_MARGIN = 860, 560, 12


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
