"""Checks a run for what users of CycleGANs complain of most: inverted colours, checkerboards, mode collapse, droplets,
halos, frames.

Images are arrays `[images, height, width, 3]` in [-1, 1]: photos and, in the same order, their paintings. A history is
the rows of a run's history.csv. The thresholds were set on 48 photos and 48 Monets of the competition's data and on the
paintings of short runs, so that they flag what is visible and nothing else.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import fft

from monet.core.pixels import LUMINANCE
from monet.scoring.artifacts import changes, droplet_share, frame_levels, halo_levels

BLOCKS_PER_SIDE = 16  # an image is averaged over this many blocks a side, which keeps shapes and shades, not texture
FFT_WINDOW = 64  # pixels per side of the windows whose spectra are averaged: periods 2 and 4 fall on bins 32 and 16
NEAREST_BIN, FARTHEST_BIN = 4, 8  # distance of a peak's neighbours, in bins; a Hann window smears a peak over 2
# Cycles per pixel (vertical, horizontal) of the artifacts of the last stride-2 transposed convolution (period 2) and of
# the one before (period 4). (-1/4, 1/4) is the other diagonal; -1/2 equals 1/2.
CHECKERBOARD_FREQUENCIES = ((0, 1 / 2), (1 / 2, 0), (1 / 2, 1 / 2), (0, 1 / 4), (1 / 4, 0), (1 / 4, 1 / 4),
                            (-1 / 4, 1 / 4))
HISTORY_PARTS = 5  # the first fifth of a history is compared with the last
SHORTEST_HISTORY = 10  # rows: two per part

INVERTED = -0.2  # correlation: for an unrelated photo its deviation is 0.31, that of the median of 32 images 0.07
RISEN, FALLEN = 1.1, 0.9  # last over first fifth: two fifths of one stretch of a run differed by 3 to 6%
GRIDDED = 3.0  # times the photos' ratio: other photos, Monets and resizing presets had 0.9 to 1.5, grids above 70
VISIBLE = 0.5  # levels of 255, averaged over the images: rounding to 8 bits hides most of what is smaller
COLLAPSED = 0.3  # times the photos' variety: that of 24 Monets was 0.74
WITH_DROPLETS = 0.04  # share: at most 0.02 for 5 sets of 48 Monets, 0 for real paintings; blobs of 20 levels are found
HALOED = 2.0  # levels: 0 to 1.6 for Monets and runs without visible ones, 2.9 with, 3.8 for soft rims of 20 levels
FRAMED = 2.5  # levels: 0 to 1.7 for Monets and runs without a visible one, 3.5 with one, 5 for bands of 5


def block_means(images: np.ndarray) -> np.ndarray:
    """Averages each image over blocks: `[images, BLOCKS_PER_SIDE, BLOCKS_PER_SIDE, 3]`.

    Height and width must be multiples of BLOCKS_PER_SIDE.
    """
    count, height, width, channels = images.shape
    rows, columns = height // BLOCKS_PER_SIDE, width // BLOCKS_PER_SIDE
    return images.reshape(count, BLOCKS_PER_SIDE, rows, BLOCKS_PER_SIDE, columns, channels).mean(axis=(2, 4))


def shade_correlation(photos: np.ndarray, painted: np.ndarray) -> float:
    """How well light stays light: the median over images of r(Y(photo), Y(painting)).

    r is Pearson's correlation of the block means, Y the luminance. 1: every shade in its place; negative: inverted.
    An image of a single shade counts as 0.
    """
    shades = [(block_means(images) @ LUMINANCE).reshape(len(images), -1) for images in (photos, painted)]
    a, b = (values - values.mean(axis=1, keepdims=True) for values in shades)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.median((a * b).sum(axis=1) / np.maximum(norms, 1e-9)))


def last_over_first(rows: Sequence[Mapping], name: str) -> float | None:
    """Divides the mean of the loss `name` over the last fifth of the rows by its mean over the first fifth.

    Returns None if the run has no such loss, its weight is 0, or there are fewer than SHORTEST_HISTORY rows.
    """
    if len(rows) < SHORTEST_HISTORY or name not in rows[0]:
        return None
    values, part = [float(row[name]) for row in rows], len(rows) // HISTORY_PARTS
    first = np.mean(values[:part])
    return float(np.mean(values[-part:]) / first) if first > 0 else None


def power_spectrum(images: np.ndarray) -> np.ndarray:
    """Mean power `[FFT_WINDOW, FFT_WINDOW]` over the windows of all images and channels, in squared levels of 255.

    Each window, less its mean, is weighted by a Hann window w; the power is |FFT|^2 / (sum w)^2. A grid of amplitude a
    gives a^2 at frequency 1/2, and a^2 / 4 elsewhere. Height and width must be multiples of FFT_WINDOW.
    """
    count, height, width, channels = images.shape
    rows, columns = height // FFT_WINDOW, width // FFT_WINDOW
    windows = 127.5 * images.reshape(count, rows, FFT_WINDOW, columns, FFT_WINDOW, channels)
    windows = windows - windows.mean(axis=(2, 4), keepdims=True)
    hann = np.hanning(FFT_WINDOW + 1)[:-1]
    weights = np.outer(hann, hann)[:, None, :, None].astype(windows.dtype)
    spectra = np.abs(fft.fft2(windows * weights, axes=(2, 4))) ** 2
    return spectra.mean(axis=(0, 1, 3, 5)) / weights.sum() ** 2


def checkerboard_peaks(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The power at each of CHECKERBOARD_FREQUENCIES, and that of its neighbours, in squared levels of 255.

    The latter is the median of the neighbours in the spectrum's row or of those in its column, whichever is larger:
    horizons and trunks raise a whole axis of the spectrum, a checkerboard only its own bins.
    """
    power = power_spectrum(images)
    offsets = np.array([step for step in range(-FARTHEST_BIN, FARTHEST_BIN + 1) if abs(step) >= NEAREST_BIN])
    peaks, neighbours = [], []
    for vertical, horizontal in CHECKERBOARD_FREQUENCIES:
        y, x = round(vertical * FFT_WINDOW), round(horizontal * FFT_WINDOW)
        peaks.append(power[y % FFT_WINDOW, x % FFT_WINDOW])
        row = power[y % FFT_WINDOW, (x + offsets) % FFT_WINDOW]
        column = power[(y + offsets) % FFT_WINDOW, x % FFT_WINDOW]
        neighbours.append(max(np.median(row), np.median(column)))
    return np.array(peaks), np.array(neighbours)


def checkerboard(photos: np.ndarray, painted: np.ndarray) -> tuple[float, float]:
    """How far the paintings stand out at CHECKERBOARD_FREQUENCIES.

    Returns:
        `(ratio, levels)` at the worst frequency. `ratio` is the peak's power over its neighbours', divided by the same
        of the photos, whose JPEG blocks peak there, too. `levels` is the amplitude, in levels of 255, of a grid with
        the power by which the peak exceeds its neighbours. The worst has the largest ratio of the visible ones, or of
        all if none is visible.
    """
    (photo_peaks, photo_neighbours), (peaks, neighbours) = checkerboard_peaks(photos), checkerboard_peaks(painted)
    noise = 1 / 12 / FFT_WINDOW**2  # power of rounding to 8 bits, so that no ratio is of less than a file can hold
    photo_ratios = (photo_peaks + noise) / (photo_neighbours + noise)
    ratios = (peaks + noise) / (neighbours + noise) / np.maximum(photo_ratios, 1.0)
    at_half = np.array([all(abs(part) in (0, 1 / 2) for part in frequency) for frequency in CHECKERBOARD_FREQUENCIES])
    levels = np.sqrt(np.maximum(peaks - neighbours, 0.0) * np.where(at_half, 1.0, 4.0))
    worst = int(np.argmax(ratios * np.where(levels >= VISIBLE, 1e6, 1.0)))
    return float(ratios[worst]), float(levels[worst])


def variety(photos: np.ndarray, painted: np.ndarray) -> float:
    """How much the paintings differ from one another, relative to the photos; 0: one painting for every photo.

    The root mean square, over block means and channels, of the standard deviation over images; paintings over photos.
    """
    photo_spread, spread = (np.sqrt(block_means(images).var(axis=0).mean()) for images in (photos, painted))
    return float(spread / max(photo_spread, 1e-9))


def measure_health(photos: np.ndarray, painted: np.ndarray, rows: Sequence[Mapping]) -> dict[str, float | None]:
    """Measures a run; `find_faults` interprets the numbers.

    Args:
        photos: `[images, height, width, 3]` in [-1, 1], sides multiples of FFT_WINDOW; a dozen or more different ones.
        painted: the same photos, painted.
        rows: rows of history.csv, as numbers or text.
    """
    ratio, levels = checkerboard(photos, painted)
    rest = changes(photos, painted)
    return {
        "shade_correlation": shade_correlation(photos, painted),
        "cycle_change": last_over_first(rows, "cycle"),
        "identity_change": last_over_first(rows, "identity"),
        "grid_ratio": ratio,
        "grid_levels": levels,
        "variety": variety(photos, painted),
        "droplet_share": droplet_share(photos, rest),
        "halo_levels": halo_levels(photos, painted, rest),
        "frame_levels": frame_levels(rest),
    }


def is_inverted(health: Mapping) -> bool:
    """Whether light became dark in most images."""
    return health["shade_correlation"] < INVERTED


def is_drifting(health: Mapping) -> bool:
    """Whether the cycle loss fell while the identity loss rose: one generator changes colours, the other undoes it.

    The cycle loss does not notice an inversion that the other generator reverts; the identity loss does.
    """
    cycle, identity = health["cycle_change"], health["identity_change"]
    return cycle is not None and identity is not None and cycle < FALLEN and identity > RISEN


def is_gridded(health: Mapping) -> bool:
    """Whether a checkerboard stands out from the surrounding texture and is visible."""
    return health["grid_ratio"] > GRIDDED and health["grid_levels"] > VISIBLE


def is_collapsed(health: Mapping) -> bool:
    """Whether all photos become nearly the same painting; also true early in a run, while everything is grey."""
    return health["variety"] < COLLAPSED


def has_droplets(health: Mapping) -> bool:
    """Whether a few images have a green or purple droplet in a flat place.

    Where all paintings are the same one, its own spots lie in the flat places of other photos.
    """
    return health["droplet_share"] > WITH_DROPLETS and not is_collapsed(health)


def has_halos(health: Mapping) -> bool:
    """Whether most silhouettes have a visible rim of another colour or shade."""
    return health["halo_levels"] > HALOED


def has_frame(health: Mapping) -> bool:
    """Whether a visible line of another colour or shade lies along a side of most images."""
    return health["frame_levels"] > FRAMED


HEALTH_CHECKS = {"inverted": is_inverted, "identity rises": is_drifting, "checkerboard": is_gridded,
                 "collapse": is_collapsed, "droplets": has_droplets, "halos": has_halos, "frame": has_frame}


def find_faults(health: Mapping) -> list[str]:
    """Names the faults that the numbers of `measure_health` show."""
    return [name for name, check_fault in HEALTH_CHECKS.items() if check_fault(health)]
