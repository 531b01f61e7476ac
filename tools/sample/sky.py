"""The sky of the built-in sample: times of day, the sun's glow, and clouds."""

import numpy as np
from sample.canvas import COLUMNS, ROWS, SIZE, Light, mix, noise, rgb, smoothstep
from scipy import ndimage

# For each time of day: the colours of zenith, horizon, sun and ambient light; then the ranges of cloud cover, haze and
# the sun's height (0: top of the picture, 1: horizon).
TIMES_OF_DAY = {
    "noon": ((0.16, 0.36, 0.68), (0.66, 0.80, 0.92), (0.95, 0.90, 0.80), (0.34, 0.40, 0.50),
             (0.1, 0.6), (0.3, 0.6), (0.0, 0.2)),
    "bright": ((0.30, 0.52, 0.80), (0.84, 0.90, 0.94), (0.90, 0.87, 0.80), (0.42, 0.46, 0.52),
               (0.3, 0.7), (0.3, 0.7), (0.0, 0.3)),
    "overcast": ((0.52, 0.55, 0.59), (0.80, 0.81, 0.81), (0.30, 0.30, 0.29), (0.52, 0.54, 0.56),
                 (0.7, 0.95), (0.5, 0.8), (0.1, 0.4)),
    "storm": ((0.17, 0.20, 0.25), (0.62, 0.62, 0.58), (0.42, 0.40, 0.34), (0.28, 0.31, 0.35),
              (0.6, 0.9), (0.4, 0.7), (0.2, 0.6)),
    "golden": ((0.34, 0.48, 0.66), (0.97, 0.82, 0.58), (1.10, 0.78, 0.42), (0.30, 0.30, 0.36),
               (0.1, 0.6), (0.4, 0.8), (0.55, 0.85)),
    "sunset": ((0.24, 0.29, 0.48), (0.99, 0.60, 0.32), (0.80, 0.46, 0.24), (0.26, 0.24, 0.29),
               (0.2, 0.7), (0.4, 0.7), (0.8, 0.98)),
    "dusk": ((0.14, 0.20, 0.36), (0.66, 0.55, 0.56), (0.24, 0.19, 0.19), (0.24, 0.26, 0.33),
             (0.1, 0.5), (0.5, 0.8), (0.9, 1.05)),
    "mist": ((0.68, 0.72, 0.76), (0.88, 0.88, 0.86), (0.38, 0.36, 0.32), (0.50, 0.52, 0.54),
             (0.2, 0.6), (0.85, 0.97), (0.3, 0.8)),
}
PROBABILITIES = {"noon": 0.2, "bright": 0.18, "overcast": 0.12, "storm": 0.08, "golden": 0.16, "sunset": 0.1,
                 "dusk": 0.06, "mist": 0.1}


def choose_light(rng: np.random.Generator) -> Light:
    """Returns the light at a random time of day, with slightly varied colours."""
    time = TIMES_OF_DAY[rng.choice(list(PROBABILITIES), p=list(PROBABILITIES.values()))]
    zenith, horizon, sun, ambient = (np.float32(c) * np.float32(rng.uniform(0.88, 1.12) * rng.uniform(0.96, 1.04, 3))
                                     for c in time[:4])
    cloud_cover, haze, sun_height = (rng.uniform(*span) for span in time[4:])
    return Light(np.minimum(zenith, 1), np.minimum(horizon, 1), sun, ambient,
                 rng.uniform(0.05, 0.95) * SIZE, sun_height, cloud_cover, haze)


def draw_sky(rng: np.random.Generator, horizon: int, light: Light) -> np.ndarray:
    """Returns a gradient with the sun's glow and with clouds that flatten towards the horizon: [256, 256, 3]."""
    height = np.clip(1.0 - ROWS / max(horizon, 1), 0.0, 1.0)
    sky = mix(light.horizon, light.zenith, height ** rng.uniform(0.45, 0.9))
    distance = np.hypot(COLUMNS - light.sun_column, 1.3 * (ROWS - light.sun_height * horizon)) / SIZE
    glow = np.exp(-distance * rng.uniform(3.0, 6.0)) * light.sun.mean()
    sky = sky + glow[..., None] * (0.55 * light.sun)
    if light.sun_height > 0.5 and rng.random() < 0.5:  # sometimes show the disc of a low sun
        sky = mix(sky, rgb(1.0, 0.97, 0.86), smoothstep(0.030, 0.018, distance))
    return np.clip(draw_clouds(rng, sky, height, glow, light), 0.0, 1.05)


def draw_clouds(rng: np.random.Generator, sky: np.ndarray, height: np.ndarray, glow: np.ndarray, light: Light):
    """Returns `sky` with clouds: a plane of noise in perspective, lit from the sun's side."""
    depth = 0.75 / (height + 0.22)
    texture = noise(rng, rng.uniform(1.35, 1.75), rng.uniform(0.8, 1.6))
    shift = rng.uniform(0, SIZE, 2)
    across = (COLUMNS - SIZE / 2) * depth * 1.1 + shift[0]
    along = depth * SIZE * 0.55 + shift[1]
    toward_sun = float(np.sign(light.sun_column - SIZE / 2)) * 5
    density, density_sunward = (
        ndimage.map_coordinates(texture, [along - 4 * k, across + toward_sun * k], order=1, mode="grid-wrap")
        for k in (0, 1))
    edge = float(np.quantile(density, 1.0 - light.cloud_cover))
    opacity = smoothstep(edge - 0.15, edge + rng.uniform(0.5, 1.3), density) * rng.uniform(0.7, 0.98)
    shading = np.clip(0.66 + 0.30 * (density - density_sunward) - 0.15 * (density - edge), 0.0, 1.0)
    bright = np.minimum(0.55 * light.horizon + 0.42 + 0.35 * glow[..., None] * light.sun, 1.05)
    dark = 0.62 * light.zenith + 0.30 * light.horizon
    if light.sun.mean() < 0.6 and light.sun_height > 0.75:  # after sunset, light the clouds from below
        bright = 0.45 * light.zenith + 0.6 * light.horizon * (1 - 0.5 * height[..., None])
    return mix(sky, mix(dark, bright, shading), opacity)
