"""The pieces of a landscape: mountains, meadows, water, trees. Each draws itself into a `Scene`."""

import numpy as np
from sample.sky import COLUMNS, ROWS, SIZE, Light, Scene, colour, light_up, mix, noise, smooth
from scipy import fft, ndimage


def ridge(rng: np.random.Generator, rough: float) -> np.ndarray:
    """The outline [256] of a range of hills, mean 0, standard deviation 1; greater `rough` is smoother."""
    waves = rng.standard_normal((2, SIZE + 1))
    frequency = np.arange(SIZE + 1)
    amplitude = (frequency + 1.5) ** -rough
    amplitude[0] = 0
    line = fft.irfft((waves[0] + 1j * waves[1]) * amplitude)[:SIZE]  # half of it, so that the two ends differ
    return ((line - line.mean()) / line.std()).astype(np.float32)


def relief_shade(rng: np.random.Generator, light: Light, slope: float, crags: bool, stretch: float = 1.0) -> np.ndarray:
    """How much sun each point of a rugged surface gets: [256, 256] in [0, 1.2]."""
    heights = ndimage.gaussian_filter(noise(rng, slope, stretch), 0.7)
    if crags:
        heights = -np.abs(heights) - 0.6 * np.abs(noise(rng, slope - 0.2))
    down, right = np.gradient(heights)
    side = float(np.sign(light.sun_at[0] - SIZE / 2))
    tilt = side * right + 0.6 * down
    return np.clip(0.55 + 0.28 * tilt / tilt.std(), 0.0, 1.2).astype(np.float32)


ROCK = [colour(0.42, 0.40, 0.40), colour(0.46, 0.38, 0.32), colour(0.36, 0.38, 0.42)]
FOREST = [colour(0.16, 0.24, 0.13), colour(0.20, 0.27, 0.12), colour(0.13, 0.21, 0.16), colour(0.42, 0.27, 0.10)]
MEADOW = [colour(0.34, 0.44, 0.16), colour(0.28, 0.42, 0.18), colour(0.55, 0.49, 0.24), colour(0.62, 0.55, 0.30),
          colour(0.46, 0.38, 0.22), colour(0.38, 0.46, 0.22)]
PETALS = [colour(0.80, 0.16, 0.10), colour(0.92, 0.86, 0.35), colour(0.85, 0.80, 0.88), colour(0.55, 0.38, 0.70)]
DEPTHS = [colour(0.10, 0.20, 0.26), colour(0.08, 0.16, 0.16), colour(0.14, 0.26, 0.34), colour(0.10, 0.30, 0.32)]


def hill_surface(rng: np.random.Generator, rise: np.ndarray, rocky: bool, snow_line: float, green) -> np.ndarray:
    """The colours of a range before light falls on it: rock with snow above `snow_line`, or woods and meadows."""
    if rocky:
        rock = ROCK[rng.integers(len(ROCK))]
        snow = smooth(-0.08, 0.08, rise + 0.10 * noise(rng, 1.1) - snow_line)
        return mix(rock, colour(0.92, 0.94, 1.0), snow)
    return mix(green, MEADOW[rng.integers(len(MEADOW))], smooth(-0.2, 0.9, noise(rng, 1.4, 0.7)) * 0.7)


def draw_range(rng: np.random.Generator, scene: Scene, near: float, rocky: bool, snow_line: float, green) -> None:
    """One range of hills or peaks; `near` in (0, 1] says how close it is."""
    light, horizon = scene.light, scene.horizon
    lift = horizon * (rng.uniform(0.32, 0.5) if rocky else rng.uniform(0.10, 0.26)) * (1.25 - 0.75 * near)
    if rocky:
        top = horizon - lift * (1 + 0.42 * ridge(rng, 1.6))
    else:
        top = horizon - lift * (1 + 0.5 * ridge(rng, rng.uniform(1.6, 2.3)) + 0.06 * near * ridge(rng, 0.6))
    top = np.minimum(top, horizon + 2.0)
    surface = hill_surface(rng, (horizon - ROWS) / (horizon - top.min() + 1.0), rocky, snow_line, green)
    shade = relief_shade(rng, light, 1.7 if rocky else 1.2, crags=rocky)
    air = light.haze * (1.0 - 0.75 * near + 0.25 * smooth(horizon - lift, horizon, ROWS))
    hazy = mix(light_up(surface, light, shade), 0.8 * light.horizon + 0.2 * light.zenith, np.clip(air, 0, 0.97))
    fall = np.arctan(np.gradient(ndimage.gaussian_filter(top, 6.0)))
    scene.paint(smooth(-0.7, 0.7, ROWS - top), hazy, flow=np.broadcast_to(fall, (SIZE, SIZE)))


def draw_mountains(rng: np.random.Generator, scene: Scene) -> None:
    """One to four ranges, each nearer one lower, darker and less hazy."""
    layers = int(rng.integers(1, 5))
    alpine = rng.random() < 0.45  # rock and perhaps snow behind the hills
    snow_line = rng.uniform(0.2, 0.8) if rng.random() < 0.6 else 9.0
    green = FOREST[rng.integers(len(FOREST))]
    for layer in range(layers):
        draw_range(rng, scene, (layer + 1) / layers, alpine and layer == 0, snow_line, green)


def ground_noise(rng: np.random.Generator, horizon: int, slope: float, coarse: float = 40.0) -> np.ndarray:
    """Noise on the ground plane, seen in perspective: [256, 256], finer towards the horizon."""
    depth = coarse / (np.maximum(ROWS - horizon, 0.0) + 5.0)
    texture = noise(rng, slope)
    shift = rng.uniform(0, SIZE, 2)
    return ndimage.map_coordinates(texture, [depth * 90 + shift[0], (COLUMNS - SIZE / 2) * depth * 0.8 + shift[1]],
                                   order=1, mode="grid-wrap")


def draw_meadow(rng: np.random.Generator, scene: Scene, edge: np.ndarray | int) -> None:
    """Grass, stubble or flowers from the row `edge` ([256] or a number) down to the bottom."""
    light, start = scene.light, int(np.min(edge))
    near, far = (MEADOW[i] for i in rng.choice(len(MEADOW), 2))
    distance = smooth(start, SIZE, ROWS)
    surface = mix(far, near, np.clip(distance + 0.25 * ground_noise(rng, start, 1.5), 0, 1))
    blades = noise(rng, 0.7, 0.6) * (0.05 + 0.13 * distance) + 0.14 * ground_noise(rng, start, 1.5)
    lit = light_up(surface, light, np.clip(0.72 + blades, 0.15, 1.4))
    if rng.random() < 0.35:  # flowers
        dots = ndimage.gaussian_filter(rng.random((SIZE, SIZE), np.float32), 0.5 + 0.3 * rng.random())
        patch = smooth(-0.3, 0.8, ground_noise(rng, start, 1.6))
        flowers = smooth(0.68, 0.74, dots + 0.07 * patch + 0.03 * distance)
        lit = mix(lit, light_up(PETALS[rng.integers(len(PETALS))], light, 0.9), 0.9 * flowers)
    lit = mix(lit, light.horizon, 0.35 * light.haze * (1 - smooth(start, start + 60, ROWS)))
    scene.paint(smooth(-0.8, 0.8, ROWS - edge), lit, flow=np.float32(1.35) + 0.25 * ground_noise(rng, start, 1.8))


def draw_water(rng: np.random.Generator, scene: Scene) -> None:
    """Water from the horizon down, mirroring what stands above it, more broken towards the viewer."""
    light, horizon = scene.light, scene.horizon
    below = np.maximum(ROWS - horizon, 0.0)
    waves = float(rng.choice([0.15, 0.5, 1.0, 1.8]))
    ripple = ground_noise(rng, horizon, 0.9, coarse=28.0) + 0.6 * noise(rng, 0.9, 7.0)
    rows = horizon - 1 - below * rng.uniform(0.85, 1.05) + waves * ripple * (1.0 + 0.07 * below)
    columns = COLUMNS + 0.6 * waves * ripple * (1.0 + 0.02 * below)
    blurred = ndimage.gaussian_filter(scene.image, (1.2, 0.5, 0))
    mirror = np.stack([ndimage.map_coordinates(blurred[..., channel], [rows, columns], order=1, mode="nearest")
                       for channel in range(3)], axis=-1)
    deep = 1.3 * light_up(DEPTHS[rng.integers(len(DEPTHS))], light, 0.7)
    view = np.clip(0.18 + 0.45 * smooth(0, SIZE - horizon, below) + 0.10 * waves * ripple, 0.05, 0.9)
    water = mix(mirror * 0.94, deep, view)
    glitter = np.exp(-np.abs(COLUMNS - light.sun_at[0]) / (8.0 + 0.35 * below)) * smooth(0.5, 1.6, ripple)
    water = water + (0.8 * light.sun_at[1] * glitter)[..., None] * light.sun
    scene.paint(smooth(-0.6, 0.6, ROWS - horizon), np.clip(water, 0, 1.05), flow=0.06 * ripple)


def fir_clump(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A bough: (row, column, half height, half width) as shares of the crown's box; the lower, the wider."""
    at = rng.random() ** 0.7
    return 0.08 + 0.86 * at, 0.5 + rng.uniform(-0.36, 0.36) * at, 0.09, 0.08 + 0.18 * at


def poplar_clump(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """The same for a tall, narrow crown."""
    at = rng.random()
    return 0.06 + 0.88 * at, 0.5 + rng.uniform(-0.22, 0.22) * np.sin(np.pi * min(at + 0.15, 1)), 0.08, 0.26


def round_clump(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """The same for a broad crown on a visible trunk."""
    angle, far, radius = rng.uniform(0, 2 * np.pi), 0.34 * np.sqrt(rng.random()), rng.uniform(0.09, 0.16)
    return 0.46 + far * np.sin(angle), 0.5 + far * 1.05 * np.cos(angle), radius, radius


# What a clump of leaves is like, how many there are, and the crown's width as a share of its height.
TREES = {"fir": (fir_clump, 22, 0.42), "poplar": (poplar_clump, 30, 0.26), "round": (round_clump, 26, 0.85)}


def crown_shape(rng: np.random.Generator, kind: str, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """A tree's crown: (how far inside the leaves a point is, its light from the upper left), both [rows, columns]."""
    clump, count, _ = TREES[kind]
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    y, x = (y + 0.5) / rows, (x + 0.5) / columns
    cover, shade = np.full((rows, columns), -1.0, np.float32), np.zeros((rows, columns), np.float32)
    for _ in range(count):
        row, column, half_height, half_width = map(float, clump(rng))
        dy, dx = (y - row) / half_height, (x - column) / half_width
        bump = 1.0 - dy * dy - dx * dx
        shade = np.where(bump > cover, -0.45 * dy - 0.35 * dx - 0.9 * (row - 0.45), shade)
        cover = np.maximum(cover, bump)
    return cover, shade


def draw_tree(rng: np.random.Generator, scene: Scene, leaves: np.ndarray, kind: str, foot: tuple[float, float],
              height: float, hue: np.ndarray) -> None:
    """One tree with its foot at (column, row), `height` pixels high; `leaves` is noise for the foliage."""
    light, width = scene.light, height * TREES[kind][2] * rng.uniform(0.85, 1.2)
    rows, columns = max(int(height), 4), max(int(width), 3)
    top, left = int(foot[1] - height), int(foot[0] - width / 2)
    y0, y1, x0, x1 = max(top, 0), min(top + rows, SIZE), max(left, 0), min(left + columns, SIZE)
    if y1 <= y0 or x1 <= x0:
        return
    box = np.s_[y0:y1, x0:x1]
    cover, shade = (part[y0 - top:y1 - top, x0 - left:x1 - left] for part in crown_shape(rng, kind, rows, columns))
    grain = np.roll(leaves, rng.integers(0, SIZE, 2), (0, 1))[box]
    bent = np.abs(COLUMNS[box] - foot[0] - 0.02 * height * np.sin(ROWS[box] / 9.0))
    wood = smooth(0.9, 0.1, bent / max(0.035 * height, 0.8)) * (ROWS[box] > top + 0.45 * rows)
    area = scene.image[box]
    area += wood[..., None] * (light_up(colour(0.20, 0.16, 0.13), light, 0.6) - area)
    side = 1.0 if light.sun_at[0] < foot[0] else -0.3
    lit = light_up(hue, light, np.clip(0.32 + 0.55 * side * shade + 0.22 * grain, 0.0, 1.2))
    lit = lit + 0.6 * light.haze * max(1.0 - height / 90.0, 0.0) * (light.horizon - lit)
    mask = smooth(0.15, 0.45, cover + 0.38 * grain)
    area += mask[..., None] * (lit - area)
    scene.flow[box] = np.where(mask > 0.5, 0.9 + 0.5 * grain, scene.flow[box])


LEAVES = [colour(0.24, 0.34, 0.13), colour(0.18, 0.28, 0.13), colour(0.30, 0.36, 0.16), colour(0.15, 0.23, 0.13),
          colour(0.28, 0.38, 0.20), colour(0.34, 0.40, 0.14), colour(0.50, 0.40, 0.13), colour(0.50, 0.28, 0.12)]


def draw_trees(rng: np.random.Generator, scene: Scene, row: float, height: float, count: int) -> None:
    """A stand of trees of one or two kinds along `row`."""
    leaves = noise(rng, 0.45)
    kinds = rng.choice(["round", "round", "poplar", "fir"], 2)
    hues = [LEAVES[i] for i in rng.integers(0, len(LEAVES), 2)]
    centre, spread = rng.uniform(0, SIZE), rng.uniform(0.15, 0.7) * SIZE
    feet = np.sort(rng.normal(0.0, 0.02 * SIZE, count) + row) if height > 60 else row + rng.normal(0, 1.0, count)
    for index in range(count):
        pick = int(rng.random() < 0.3)
        hue = hues[pick] * rng.uniform(0.85, 1.2)
        column = (centre + rng.normal() * spread) % (SIZE * 1.1) - 0.05 * SIZE
        draw_tree(rng, scene, leaves, str(kinds[pick]), (column, float(feet[index])),
                  height * rng.uniform(0.6, 1.2), hue.astype(np.float32))


def draw_shrubs(rng: np.random.Generator, scene: Scene, row: float, height: float) -> None:
    """A bank of bushes, dark and ragged, along `row`."""
    light = scene.light
    top = row - height * (0.7 + 0.3 * ridge(rng, 1.2) + 0.12 * ridge(rng, 0.4))
    hue = LEAVES[rng.integers(len(LEAVES))]
    shade = np.clip(0.4 + 0.3 * noise(rng, 0.6) + 0.3 * smooth(height, 0, ROWS - top), 0, 1.2)
    lit = light_up(hue, light, shade)
    lit = lit + 0.3 * light.haze * (light.horizon - lit)
    mask = smooth(-0.6, 0.8, ROWS - top) * smooth(0.8, -0.8, ROWS - row - 0.8 * ridge(rng, 1.0))
    scene.paint(mask, lit, flow=0.8 + 0.4 * noise(rng, 1.0))


def draw_shore(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """The viewer's own bank, in a lower corner or along the bottom; returns the rows of its edge, [256]."""
    side = float(rng.choice([-1.0, 0.0, 1.0]))
    rise = rng.uniform(0.10, 0.30) * (SIZE - scene.horizon)
    slope = side * (COLUMNS[0] / SIZE - 0.5) * rng.uniform(0.8, 1.6) * (SIZE - scene.horizon)
    edge = SIZE - rise + slope + 2.5 * ridge(rng, 1.0)
    draw_meadow(rng, scene, edge)
    return edge


def draw_path(rng: np.random.Generator, scene: Scene) -> None:
    """A road or a brook that winds from the viewer to the horizon."""
    depth = np.clip((ROWS - scene.horizon) / (SIZE - scene.horizon), 0.0, 1.0)
    bend = rng.uniform(-0.5, 0.5) * np.sin(depth * rng.uniform(2, 5) + rng.uniform(0, 6)) * (0.25 + 0.75 * depth)
    middle = SIZE * (rng.uniform(0.3, 0.7) + 0.6 * bend)
    half = SIZE * (0.008 + rng.uniform(0.06, 0.2) * depth**1.4) * (1 + 0.05 * noise(rng, 1.0))
    mask = smooth(1.0, -1.0, (np.abs(COLUMNS - middle) - half) / (0.5 + depth)) * (scene.horizon + 2 < ROWS)
    if rng.random() < 0.5:
        surface = rng.choice([colour(0.58, 0.50, 0.38), colour(0.50, 0.46, 0.42)])
        surface = light_up(surface, scene.light, 0.75 + 0.08 * noise(rng, 0.5))
    else:
        surface = mix(scene.light.horizon, scene.light.zenith, depth) * (0.9 + 0.03 * noise(rng, 0.9, 6.0))[..., None]
    scene.paint(mask, surface)
