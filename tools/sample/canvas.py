"""The drawing primitives of the built-in sample: noise, colours, light, and the picture that layers are drawn on.

Pictures are float32 [256, 256, 3] in [0, 1], with row 0 at the top. All randomness comes from the given `rng`.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft

SIZE = 256  # width and height in pixels
ROWS, COLUMNS = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)


@dataclass(frozen=True)
class Light:
    """The light at one time of day. Colours are RGB, around [0, 1]."""

    zenith: np.ndarray  # colour of the sky overhead
    horizon: np.ndarray  # colour of the sky at the horizon
    sun: np.ndarray
    ambient: np.ndarray
    sun_column: float
    sun_height: float  # position in the sky: 0 at the top of the picture, 1 at the horizon
    cloud_cover: float  # fraction of the sky
    haze: float  # fraction of the far distance that fades into the sky


@dataclass
class Scene:
    """A picture in progress, drawn from back to front."""

    image: np.ndarray
    flow: np.ndarray  # direction of the surface at each pixel, in radians from the horizontal: [256, 256]
    horizon: int  # row
    light: Light

    def blend(self, mask: np.ndarray, colour, flow=0.0) -> None:
        """Blends `colour` over the picture with opacity `mask` [256, 256] in [0, 1]; sets `flow` where it covers."""
        self.image += mask[..., None] * (colour - self.image)
        self.flow = np.where(mask > 0.5, flow, self.flow)


@lru_cache(maxsize=64)
def noise_spectrum(slope: float, stretch: float) -> np.ndarray:
    """Returns the amplitudes [256, 129] of 1/frequency^slope noise, stretched horizontally by `stretch`."""
    vertical = fft.fftfreq(SIZE)[:, None] * SIZE
    horizontal = fft.rfftfreq(SIZE)[None] * SIZE * stretch
    frequency = np.hypot(vertical, horizontal)
    frequency[0, 0] = np.inf
    return (frequency + 1.0).astype(np.float32) ** -slope


def noise(rng: np.random.Generator, slope: float = 1.6, stretch: float = 1.0) -> np.ndarray:
    """Returns tileable fractal noise [256, 256] with mean 0 and standard deviation 1; a larger `slope` is smoother."""
    amplitude = noise_spectrum(slope, stretch)
    waves = rng.standard_normal((2, *amplitude.shape), dtype=np.float32)
    field = fft.irfft2((waves[0] + 1j * waves[1]) * amplitude, s=(SIZE, SIZE))
    return (field / field.std()).astype(np.float32)


def smoothstep(low: float, high: float, values: np.ndarray) -> np.ndarray:
    """Cubic interpolation from 0 at `low` to 1 at `high`, clamped outside; `low` may be above `high`."""
    t = np.clip((values - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def mix(first, second, weight) -> np.ndarray:
    """Interpolates between two colours or pictures: `first` where `weight` [256, 256] is 0, `second` where it is 1."""
    weight = np.asarray(weight, np.float32)[..., None]
    return first + weight * (second - first)


def rgb(red: float, green: float, blue: float) -> np.ndarray:
    """Returns a colour as an array that broadcasts over a picture."""
    return np.array([red, green, blue], np.float32)


def illuminate(albedo: np.ndarray, light: Light, sunlight) -> np.ndarray:
    """Returns surface colours under ambient light plus `sunlight` (a number or [256, 256]) times the sun's."""
    return albedo * (light.ambient + np.asarray(sunlight, np.float32)[..., None] * light.sun)
