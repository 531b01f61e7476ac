"""The ground floor of the built-in sample: noise, colours, the hours of the day, and their skies.

Pictures are float32 [256, 256, 3] in [0, 1], rows from the top; every random number comes from the `rng` given.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft, ndimage

SIZE = 256  # pixels a side
ROWS, COLUMNS = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)


@dataclass(frozen=True)
class Light:
    """The hour of the day: colours in [0, 1], and where the sun stands (columns and rows from the top left)."""

    zenith: np.ndarray
    horizon: np.ndarray
    sun: np.ndarray
    ambient: np.ndarray
    sun_at: tuple[float, float]
    cloud: float  # share of the sky that clouds cover
    haze: float  # share of the far distance that the air hides


@dataclass
class Scene:
    """A picture in the making."""

    image: np.ndarray
    flow: np.ndarray  # which way the surface at each point runs: radians from the horizontal, [256, 256]
    horizon: int  # row
    light: Light

    def paint(self, mask: np.ndarray, colour, flow=0.0) -> None:
        """Lays `colour` over the picture where `mask` [256, 256] in [0, 1] says so."""
        self.image += mask[..., None] * (colour - self.image)
        self.flow = np.where(mask > 0.5, flow, self.flow)


# Colours of zenith, horizon, sun and ambient light; shares from-to of clouds, of haze, and of the sky above the sun.
HOURS = {
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
HOUR_SHARES = {"noon": 0.2, "bright": 0.18, "overcast": 0.12, "storm": 0.08, "golden": 0.16, "sunset": 0.1,
               "dusk": 0.06, "mist": 0.1}


@lru_cache(maxsize=64)
def spectrum(slope: float, stretch: float) -> np.ndarray:
    """Amplitudes [256, 129] of noise that falls off as frequency^-slope and is drawn out sideways by `stretch`."""
    vertical = fft.fftfreq(SIZE)[:, None] * SIZE
    horizontal = fft.rfftfreq(SIZE)[None] * SIZE * stretch
    frequency = np.hypot(vertical, horizontal)
    frequency[0, 0] = np.inf
    return (frequency + 1.0).astype(np.float32) ** -slope


def noise(rng: np.random.Generator, slope: float = 1.6, stretch: float = 1.0) -> np.ndarray:
    """Fractal noise [256, 256], mean 0, standard deviation 1, that tiles; a greater `slope` is smoother."""
    amplitude = spectrum(slope, stretch)
    waves = rng.standard_normal((2, *amplitude.shape), dtype=np.float32)
    field = fft.irfft2((waves[0] + 1j * waves[1]) * amplitude, s=(SIZE, SIZE))
    return (field / field.std()).astype(np.float32)


def smooth(low: float, high: float, values: np.ndarray) -> np.ndarray:
    """The cubic step: 0 below `low`, 1 above `high`."""
    share = np.clip((values - low) / (high - low), 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


def mix(first, second, share) -> np.ndarray:
    """`first` where `share` [256, 256] is 0, `second` where it is 1; both colours or pictures."""
    share = np.asarray(share, np.float32)[..., None]
    return first + share * (second - first)


def colour(red: float, green: float, blue: float) -> np.ndarray:
    """A colour as an array that broadcasts over a picture."""
    return np.array([red, green, blue], np.float32)


def light_up(surface: np.ndarray, light: Light, shade) -> np.ndarray:
    """The `surface`'s colours under the sky's light and `shade` times the sun's (a number or [256, 256])."""
    return surface * (light.ambient + np.asarray(shade, np.float32)[..., None] * light.sun)


def choose_light(rng: np.random.Generator) -> Light:
    """One of the hours, each time a little different."""
    hour = HOURS[rng.choice(list(HOUR_SHARES), p=list(HOUR_SHARES.values()))]
    zenith, horizon, sun, ambient = (np.float32(c) * np.float32(rng.uniform(0.88, 1.12) * rng.uniform(0.96, 1.04, 3))
                                    for c in hour[:4])
    cloud, haze, height = (rng.uniform(*span) for span in hour[4:])
    return Light(np.minimum(zenith, 1), np.minimum(horizon, 1), sun, ambient,
                 (rng.uniform(0.05, 0.95) * SIZE, height), cloud, haze)


def draw_sky(rng: np.random.Generator, horizon: int, light: Light) -> np.ndarray:
    """Gradient, glow around the sun, and clouds that flatten towards the horizon: [256, 256, 3]."""
    height = np.clip(1.0 - ROWS / max(horizon, 1), 0.0, 1.0)
    sky = mix(light.horizon, light.zenith, height ** rng.uniform(0.45, 0.9))
    distance = np.hypot(COLUMNS - light.sun_at[0], 1.3 * (ROWS - light.sun_at[1] * horizon)) / SIZE
    glow = np.exp(-distance * rng.uniform(3.0, 6.0)) * light.sun.mean()
    sky = sky + glow[..., None] * (0.55 * light.sun)
    if light.sun_at[1] > 0.5 and rng.random() < 0.5:  # a low sun is sometimes in the picture
        sky = mix(sky, colour(1.0, 0.97, 0.86), smooth(0.030, 0.018, distance))
    return np.clip(draw_clouds(rng, sky, height, glow, light), 0.0, 1.05)


def draw_clouds(rng: np.random.Generator, sky: np.ndarray, height: np.ndarray, glow: np.ndarray, light: Light):
    """Clouds over `sky`: a noise plane seen in perspective, lit from the sun's side."""
    depth = 0.75 / (height + 0.22)
    texture = noise(rng, rng.uniform(1.35, 1.75), rng.uniform(0.8, 1.6))
    shift = rng.uniform(0, SIZE, 2)
    across = (COLUMNS - SIZE / 2) * depth * 1.1 + shift[0]
    along = depth * SIZE * 0.55 + shift[1]
    toward = float(np.sign(light.sun_at[0] - SIZE / 2)) * 5
    density, beyond = (ndimage.map_coordinates(texture, [along - 4 * k, across + toward * k], order=1, mode="grid-wrap")
                       for k in (0, 1))
    edge = float(np.quantile(density, 1.0 - light.cloud))
    cover = smooth(edge - 0.15, edge + rng.uniform(0.5, 1.3), density) * rng.uniform(0.7, 0.98)
    relief = np.clip(0.66 + 0.30 * (density - beyond) - 0.15 * (density - edge), 0.0, 1.0)
    bright = np.minimum(0.55 * light.horizon + 0.42 + 0.35 * glow[..., None] * light.sun, 1.05)
    dark = 0.62 * light.zenith + 0.30 * light.horizon
    if light.sun.mean() < 0.6 and light.sun_at[1] > 0.75:  # after sunset the clouds burn from below
        bright = 0.45 * light.zenith + 0.6 * light.horizon * (1 - 0.5 * height[..., None])
    return mix(sky, mix(dark, bright, relief), cover)
