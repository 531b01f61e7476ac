"""The ground of the sample's landscapes: mountains, meadows, water, shores and paths."""

import numpy as np
from sample.canvas import COLUMNS, ROWS, SIZE, Light, Scene, illuminate, mix, noise, rgb, smoothstep
from scipy import fft, ndimage

ROCK = [rgb(0.42, 0.40, 0.40), rgb(0.46, 0.38, 0.32), rgb(0.36, 0.38, 0.42)]
FOREST = [rgb(0.16, 0.24, 0.13), rgb(0.20, 0.27, 0.12), rgb(0.13, 0.21, 0.16), rgb(0.42, 0.27, 0.10)]
MEADOW = [rgb(0.34, 0.44, 0.16), rgb(0.28, 0.42, 0.18), rgb(0.55, 0.49, 0.24), rgb(0.62, 0.55, 0.30),
          rgb(0.46, 0.38, 0.22), rgb(0.38, 0.46, 0.22)]
FLOWERS = [rgb(0.80, 0.16, 0.10), rgb(0.92, 0.86, 0.35), rgb(0.85, 0.80, 0.88), rgb(0.55, 0.38, 0.70)]
DEEP_WATER = [rgb(0.10, 0.20, 0.26), rgb(0.08, 0.16, 0.16), rgb(0.14, 0.26, 0.34), rgb(0.10, 0.30, 0.32)]


def skyline(rng: np.random.Generator, slope: float) -> np.ndarray:
    """Returns a 1-D noise outline [256] with mean 0 and standard deviation 1; a larger `slope` is smoother."""
    waves = rng.standard_normal((2, SIZE + 1))
    frequency = np.arange(SIZE + 1)
    amplitude = (frequency + 1.5) ** -slope
    amplitude[0] = 0
    line = fft.irfft((waves[0] + 1j * waves[1]) * amplitude)[:SIZE]  # half a period, so that the two ends differ
    return ((line - line.mean()) / line.std()).astype(np.float32)


def hillshade(rng: np.random.Generator, light: Light, slope: float, crags: bool, stretch: float = 1.0) -> np.ndarray:
    """Returns how much sun each point of a random rough surface gets: [256, 256] in [0, 1.2]."""
    heights = ndimage.gaussian_filter(noise(rng, slope, stretch), 0.7)
    if crags:
        heights = -np.abs(heights) - 0.6 * np.abs(noise(rng, slope - 0.2))
    down, right = np.gradient(heights)
    sun_side = float(np.sign(light.sun_column - SIZE / 2))
    tilt = sun_side * right + 0.6 * down
    return np.clip(0.55 + 0.28 * tilt / tilt.std(), 0.0, 1.2).astype(np.float32)


def mountain_albedo(rng: np.random.Generator, elevation: np.ndarray, rocky: bool, snow_line: float, green):
    """Returns a range's colours before lighting: rock with snow above `snow_line`, or woods and meadows."""
    if rocky:
        rock = ROCK[rng.integers(len(ROCK))]
        snow = smoothstep(-0.08, 0.08, elevation + 0.10 * noise(rng, 1.1) - snow_line)
        return mix(rock, rgb(0.92, 0.94, 1.0), snow)
    return mix(green, MEADOW[rng.integers(len(MEADOW))], smoothstep(-0.2, 0.9, noise(rng, 1.4, 0.7)) * 0.7)


def draw_range(rng: np.random.Generator, scene: Scene, nearness: float, rocky: bool, snow_line: float, green) -> None:
    """Draws one range of hills or peaks; `nearness` is in (0, 1]."""
    light, horizon = scene.light, scene.horizon
    height = horizon * (rng.uniform(0.32, 0.5) if rocky else rng.uniform(0.10, 0.26)) * (1.25 - 0.75 * nearness)
    if rocky:
        top = horizon - height * (1 + 0.42 * skyline(rng, 1.6))
    else:
        top = horizon - height * (1 + 0.5 * skyline(rng, rng.uniform(1.6, 2.3)) + 0.06 * nearness * skyline(rng, 0.6))
    top = np.minimum(top, horizon + 2.0)
    albedo = mountain_albedo(rng, (horizon - ROWS) / (horizon - top.min() + 1.0), rocky, snow_line, green)
    lit = illuminate(albedo, light, hillshade(rng, light, 1.7 if rocky else 1.2, crags=rocky))
    haze = light.haze * (1.0 - 0.75 * nearness + 0.25 * smoothstep(horizon - height, horizon, ROWS))
    hazy = mix(lit, 0.8 * light.horizon + 0.2 * light.zenith, np.clip(haze, 0, 0.97))
    fall_line = np.arctan(np.gradient(ndimage.gaussian_filter(top, 6.0)))
    scene.blend(smoothstep(-0.7, 0.7, ROWS - top), hazy, flow=np.broadcast_to(fall_line, (SIZE, SIZE)))


def draw_mountains(rng: np.random.Generator, scene: Scene) -> None:
    """Draws one to four ranges; nearer ones are lower, darker and less hazy."""
    count = int(rng.integers(1, 5))
    alpine = rng.random() < 0.45  # the farthest range is rock, perhaps with snow
    snow_line = rng.uniform(0.2, 0.8) if rng.random() < 0.6 else 9.0
    green = FOREST[rng.integers(len(FOREST))]
    for index in range(count):
        draw_range(rng, scene, (index + 1) / count, alpine and index == 0, snow_line, green)


def ground_noise(rng: np.random.Generator, horizon: int, slope: float, scale: float = 40.0) -> np.ndarray:
    """Returns noise on the ground plane in perspective, finer towards the horizon: [256, 256]."""
    depth = scale / (np.maximum(ROWS - horizon, 0.0) + 5.0)
    texture = noise(rng, slope)
    shift = rng.uniform(0, SIZE, 2)
    return ndimage.map_coordinates(texture, [depth * 90 + shift[0], (COLUMNS - SIZE / 2) * depth * 0.8 + shift[1]],
                                   order=1, mode="grid-wrap")


def draw_meadow(rng: np.random.Generator, scene: Scene, edge: np.ndarray | int) -> None:
    """Draws grass, stubble or flowers from row `edge` ([256] or a number) to the bottom."""
    light, start = scene.light, int(np.min(edge))
    near, far = (MEADOW[i] for i in rng.choice(len(MEADOW), 2))
    nearness = smoothstep(start, SIZE, ROWS)
    albedo = mix(far, near, np.clip(nearness + 0.25 * ground_noise(rng, start, 1.5), 0, 1))
    blades = noise(rng, 0.7, 0.6) * (0.05 + 0.13 * nearness) + 0.14 * ground_noise(rng, start, 1.5)
    lit = illuminate(albedo, light, np.clip(0.72 + blades, 0.15, 1.4))
    if rng.random() < 0.35:
        dots = ndimage.gaussian_filter(rng.random((SIZE, SIZE), np.float32), 0.5 + 0.3 * rng.random())
        patches = smoothstep(-0.3, 0.8, ground_noise(rng, start, 1.6))
        flowers = smoothstep(0.68, 0.74, dots + 0.07 * patches + 0.03 * nearness)
        lit = mix(lit, illuminate(FLOWERS[rng.integers(len(FLOWERS))], light, 0.9), 0.9 * flowers)
    lit = mix(lit, light.horizon, 0.35 * light.haze * (1 - smoothstep(start, start + 60, ROWS)))
    scene.blend(smoothstep(-0.8, 0.8, ROWS - edge), lit, flow=np.float32(1.35) + 0.25 * ground_noise(rng, start, 1.8))


def draw_water(rng: np.random.Generator, scene: Scene) -> None:
    """Draws water below the horizon that mirrors the picture above it, with larger waves towards the viewer."""
    light, horizon = scene.light, scene.horizon
    below = np.maximum(ROWS - horizon, 0.0)
    waves = float(rng.choice([0.15, 0.5, 1.0, 1.8]))
    ripples = ground_noise(rng, horizon, 0.9, scale=28.0) + 0.6 * noise(rng, 0.9, 7.0)
    rows = horizon - 1 - below * rng.uniform(0.85, 1.05) + waves * ripples * (1.0 + 0.07 * below)
    columns = COLUMNS + 0.6 * waves * ripples * (1.0 + 0.02 * below)
    blurred = ndimage.gaussian_filter(scene.image, (1.2, 0.5, 0))
    reflection = np.stack([ndimage.map_coordinates(blurred[..., channel], [rows, columns], order=1, mode="nearest")
                           for channel in range(3)], axis=-1)
    deep = 1.3 * illuminate(DEEP_WATER[rng.integers(len(DEEP_WATER))], light, 0.7)
    transparency = np.clip(0.18 + 0.45 * smoothstep(0, SIZE - horizon, below) + 0.10 * waves * ripples, 0.05, 0.9)
    water = mix(reflection * 0.94, deep, transparency)
    glitter = np.exp(-np.abs(COLUMNS - light.sun_column) / (8.0 + 0.35 * below)) * smoothstep(0.5, 1.6, ripples)
    water = water + (0.8 * light.sun_height * glitter)[..., None] * light.sun
    scene.blend(smoothstep(-0.6, 0.6, ROWS - horizon), np.clip(water, 0, 1.05), flow=0.06 * ripples)


def draw_shore(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """Draws the near bank, in a lower corner or along the bottom. Returns the rows of its edge, [256]."""
    side = float(rng.choice([-1.0, 0.0, 1.0]))
    height = rng.uniform(0.10, 0.30) * (SIZE - scene.horizon)
    slope = side * (COLUMNS[0] / SIZE - 0.5) * rng.uniform(0.8, 1.6) * (SIZE - scene.horizon)
    edge = SIZE - height + slope + 2.5 * skyline(rng, 1.0)
    draw_meadow(rng, scene, edge)
    return edge


def draw_path(rng: np.random.Generator, scene: Scene) -> None:
    """Draws a road or a brook that winds from the viewer to the horizon."""
    nearness = np.clip((ROWS - scene.horizon) / (SIZE - scene.horizon), 0.0, 1.0)
    bend = rng.uniform(-0.5, 0.5) * np.sin(nearness * rng.uniform(2, 5) + rng.uniform(0, 6)) * (0.25 + 0.75 * nearness)
    middle = SIZE * (rng.uniform(0.3, 0.7) + 0.6 * bend)
    half_width = SIZE * (0.008 + rng.uniform(0.06, 0.2) * nearness**1.4) * (1 + 0.05 * noise(rng, 1.0))
    mask = smoothstep(1.0, -1.0, (np.abs(COLUMNS - middle) - half_width) / (0.5 + nearness))
    mask = mask * (scene.horizon + 2 < ROWS)
    if rng.random() < 0.5:
        gravel = rng.choice([rgb(0.58, 0.50, 0.38), rgb(0.50, 0.46, 0.42)])
        surface = illuminate(gravel, scene.light, 0.75 + 0.08 * noise(rng, 0.5))
    else:
        sky = mix(scene.light.horizon, scene.light.zenith, nearness)
        surface = sky * (0.9 + 0.03 * noise(rng, 0.9, 6.0))[..., None]
    scene.blend(mask, surface)
