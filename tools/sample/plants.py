"""The plants of the sample's landscapes: single trees, stands of trees, and shrubs."""

import numpy as np
from sample.canvas import COLUMNS, ROWS, SIZE, Scene, illuminate, noise, rgb, smoothstep
from sample.terrain import skyline

FOLIAGE = [rgb(0.24, 0.34, 0.13), rgb(0.18, 0.28, 0.13), rgb(0.30, 0.36, 0.16), rgb(0.15, 0.23, 0.13),
           rgb(0.28, 0.38, 0.20), rgb(0.34, 0.40, 0.14), rgb(0.50, 0.40, 0.13), rgb(0.50, 0.28, 0.12)]
BARK = rgb(0.20, 0.16, 0.13)


def fir_cluster(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Returns a cluster of leaves in a fir's crown, wider towards the bottom.

    Row, column, half height and half width, as fractions of the crown's bounding box.
    """
    down = rng.random() ** 0.7
    return 0.08 + 0.86 * down, 0.5 + rng.uniform(-0.36, 0.36) * down, 0.09, 0.08 + 0.18 * down


def poplar_cluster(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Like `fir_cluster`, for a tall, narrow crown."""
    down = rng.random()
    return 0.06 + 0.88 * down, 0.5 + rng.uniform(-0.22, 0.22) * np.sin(np.pi * min(down + 0.15, 1)), 0.08, 0.26


def round_cluster(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Like `fir_cluster`, for a broad crown on a visible trunk."""
    angle, distance, radius = rng.uniform(0, 2 * np.pi), 0.34 * np.sqrt(rng.random()), rng.uniform(0.09, 0.16)
    return 0.46 + distance * np.sin(angle), 0.5 + distance * 1.05 * np.cos(angle), radius, radius


# For each kind of tree: its leaf clusters, their number, and the crown's width relative to its height.
TREES = {"fir": (fir_cluster, 22, 0.42), "poplar": (poplar_cluster, 30, 0.26), "round": (round_cluster, 26, 0.85)}


def tree_crown(rng: np.random.Generator, kind: str, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a crown's height field (positive in the leaves) and its light from the upper left: [rows, columns]."""
    cluster, count, _ = TREES[kind]
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    y, x = (y + 0.5) / rows, (x + 0.5) / columns
    crown, shading = np.full((rows, columns), -1.0, np.float32), np.zeros((rows, columns), np.float32)
    for _ in range(count):
        row, column, half_height, half_width = map(float, cluster(rng))
        dy, dx = (y - row) / half_height, (x - column) / half_width
        bump = 1.0 - dy * dy - dx * dx
        shading = np.where(bump > crown, -0.45 * dy - 0.35 * dx - 0.9 * (row - 0.45), shading)
        crown = np.maximum(crown, bump)
    return crown, shading


def draw_tree(rng: np.random.Generator, scene: Scene, leaf_noise: np.ndarray, kind: str, foot: tuple[float, float],
              height: float, colour: np.ndarray) -> None:
    """Draws a tree that is `height` pixels tall, with its foot at (column, row); `leaf_noise` textures the foliage."""
    light, width = scene.light, height * TREES[kind][2] * rng.uniform(0.85, 1.2)
    rows, columns = max(int(height), 4), max(int(width), 3)
    top, left = int(foot[1] - height), int(foot[0] - width / 2)
    y0, y1, x0, x1 = max(top, 0), min(top + rows, SIZE), max(left, 0), min(left + columns, SIZE)
    if y1 <= y0 or x1 <= x0:
        return
    box = np.s_[y0:y1, x0:x1]
    crown, shading = (part[y0 - top:y1 - top, x0 - left:x1 - left] for part in tree_crown(rng, kind, rows, columns))
    grain = np.roll(leaf_noise, rng.integers(0, SIZE, 2), (0, 1))[box]
    from_trunk = np.abs(COLUMNS[box] - foot[0] - 0.02 * height * np.sin(ROWS[box] / 9.0))
    trunk = smoothstep(0.9, 0.1, from_trunk / max(0.035 * height, 0.8)) * (ROWS[box] > top + 0.45 * rows)
    area = scene.image[box]
    area += trunk[..., None] * (illuminate(BARK, light, 0.6) - area)
    side = 1.0 if light.sun_column < foot[0] else -0.3
    lit = illuminate(colour, light, np.clip(0.32 + 0.55 * side * shading + 0.22 * grain, 0.0, 1.2))
    lit = lit + 0.6 * light.haze * max(1.0 - height / 90.0, 0.0) * (light.horizon - lit)
    mask = smoothstep(0.15, 0.45, crown + 0.38 * grain)
    area += mask[..., None] * (lit - area)
    scene.flow[box] = np.where(mask > 0.5, 0.9 + 0.5 * grain, scene.flow[box])


def draw_trees(rng: np.random.Generator, scene: Scene, row: float, height: float, count: int) -> None:
    """Draws a stand of `count` trees of one or two kinds along `row`."""
    leaf_noise = noise(rng, 0.45)
    kinds = rng.choice(["round", "round", "poplar", "fir"], 2)
    colours = [FOLIAGE[i] for i in rng.integers(0, len(FOLIAGE), 2)]
    centre, spread = rng.uniform(0, SIZE), rng.uniform(0.15, 0.7) * SIZE
    feet = np.sort(rng.normal(0.0, 0.02 * SIZE, count) + row) if height > 60 else row + rng.normal(0, 1.0, count)
    for index in range(count):
        choice = int(rng.random() < 0.3)
        colour = colours[choice] * rng.uniform(0.85, 1.2)
        column = (centre + rng.normal() * spread) % (SIZE * 1.1) - 0.05 * SIZE
        draw_tree(rng, scene, leaf_noise, str(kinds[choice]), (column, float(feet[index])),
                  height * rng.uniform(0.6, 1.2), colour.astype(np.float32))


def draw_shrubs(rng: np.random.Generator, scene: Scene, row: float | np.ndarray, height: float) -> None:
    """Draws a dark, ragged bank of bushes along `row` (a number or [256])."""
    light = scene.light
    top = row - height * (0.7 + 0.3 * skyline(rng, 1.2) + 0.12 * skyline(rng, 0.4))
    colour = FOLIAGE[rng.integers(len(FOLIAGE))]
    sunlight = np.clip(0.4 + 0.3 * noise(rng, 0.6) + 0.3 * smoothstep(height, 0, ROWS - top), 0, 1.2)
    lit = illuminate(colour, light, sunlight)
    lit = lit + 0.3 * light.haze * (light.horizon - lit)
    mask = smoothstep(-0.6, 0.8, ROWS - top) * smoothstep(0.8, -0.8, ROWS - row - 0.8 * skyline(rng, 1.0))
    scene.blend(mask, lit, flow=0.8 + 0.4 * noise(rng, 1.0))
