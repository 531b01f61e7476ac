"""Numbers for what the users of CycleGANs complain of most: inverted colours, checkerboards, collapse.

Pictures are arrays `[images, height, width, 3]` in [-1, 1], the photos and, in the same order, what was painted from
them; a history is the rows of a run's history.csv. The thresholds were set on 48 photos and 48 Monets of the
competition's data, and on what short runs painted, so that they name what an eye finds and leave the rest alone.
"""

from collections.abc import Mapping, Sequence

import numpy as np

LUMINANCE = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, the Y of JPEG
BLOCKS = 16  # blocks a side that a picture is averaged to, for what shapes and shades remain without texture
WINDOW = 64  # pixels a side of the windows whose spectra are averaged: periods 2 and 4 fall on its bins 32 and 16
NEAR, FAR = 4, 8  # bins: a neighbouring frequency lies this far off; a Hann window smears a peak over 2
# Cycles a pixel, vertically and horizontally: what the last (period 2) and the last but one (4) of the stride-2
# transposed convolutions leave. -1/4 with 1/4 is the other diagonal; -1/2 is 1/2.
GRID = ((0, 1 / 2), (1 / 2, 0), (1 / 2, 1 / 2), (0, 1 / 4), (1 / 4, 0), (1 / 4, 1 / 4), (-1 / 4, 1 / 4))
FIFTH = 5  # the first and the last of this many parts of a history are compared
FEWEST_ROWS = 10  # of a history that says anything: two a part

INVERTED = -0.2  # correlation: with an unrelated photo it scatters by 0.31, the median over 32 pictures by 0.07
RISEN, FALLEN = 1.1, 0.9  # last over first fifth: two fifths of one stretch of a run were seen to differ by 3 to 6 %
GRIDDED = 3.0  # times the photos' own: other photos, Monets and resizing presets were at 0.9 to 1.5, others above 70
VISIBLE = 0.5  # levels of 255, on average over the pictures: what is smaller, rounding to 8 bits all but hides
COLLAPSED = 0.3  # times the photos' own variety: that of 24 Monets was 0.74


def block_means(images: np.ndarray) -> np.ndarray:
    """The means of BLOCKS x BLOCKS blocks of each picture, `[images, BLOCKS, BLOCKS, 3]`: a coarse low-pass.

    Height and width must be multiples of BLOCKS.
    """
    count, height, width, channels = images.shape
    return images.reshape(count, BLOCKS, height // BLOCKS, BLOCKS, width // BLOCKS, channels).mean(axis=(2, 4))


def shade_correlation(photos: np.ndarray, painted: np.ndarray) -> float:
    """How far light stays light: the median over pictures of r(Y(photo), Y(painted)).

    r is Pearson's correlation over the block means, Y the luminance. 1: every shade in its place; below 0: inverted.
    A picture of a single shade counts as 0.
    """
    shades = [(block_means(images) @ LUMINANCE).reshape(len(images), -1) for images in (photos, painted)]
    a, b = (values - values.mean(axis=1, keepdims=True) for values in shades)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.median((a * b).sum(axis=1) / np.maximum(norms, 1e-9)))


def last_over_first(rows: Sequence[Mapping], name: str) -> float | None:
    """Mean of the loss `name` over the last fifth of the rows, over that of the first fifth.

    None if the run has no such loss, gave it no weight, or is shorter than FEWEST_ROWS.
    """
    if len(rows) < FEWEST_ROWS or name not in rows[0]:
        return None
    values, part = [float(row[name]) for row in rows], len(rows) // FIFTH
    first = np.mean(values[:part])
    return float(np.mean(values[-part:]) / first) if first > 0 else None


def power_spectrum(images: np.ndarray) -> np.ndarray:
    """Mean power `[WINDOW, WINDOW]` of the windows of all pictures and channels, in levels of 255, squared.

    Each window is freed of its mean and weighted by a Hann window w; |FFT|^2 / (sum w)^2, so that a grid of amplitude a
    gives a^2 at frequency 1/2, and a^2 / 4 elsewhere. Height and width must be multiples of WINDOW.
    """
    count, height, width, channels = images.shape
    windows = 127.5 * images.reshape(count, height // WINDOW, WINDOW, width // WINDOW, WINDOW, channels)
    windows = windows - windows.mean(axis=(2, 4), keepdims=True)
    hann = np.hanning(WINDOW + 1)[:-1]
    weights = np.outer(hann, hann)[:, None, :, None]
    spectra = np.abs(np.fft.fft2(windows * weights, axes=(2, 4))) ** 2
    return spectra.mean(axis=(0, 1, 3, 5)) / weights.sum() ** 2


def grid_peaks(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of GRID, the power there and that of the neighbouring frequencies, in levels squared.

    The neighbours' is the median over those in the same row of the spectrum or over those in the same column, whichever
    is larger: horizons and trunks raise the whole of the spectrum's axes, a grid only its own places.
    """
    power = power_spectrum(images)
    offsets = np.array([step for step in range(-FAR, FAR + 1) if abs(step) >= NEAR])
    peaks, around = [], []
    for vertical, horizontal in GRID:
        y, x = round(vertical * WINDOW), round(horizontal * WINDOW)
        peaks.append(power[y % WINDOW, x % WINDOW])
        row, column = power[y % WINDOW, (x + offsets) % WINDOW], power[(y + offsets) % WINDOW, x % WINDOW]
        around.append(max(np.median(row), np.median(column)))
    return np.array(peaks), np.array(around)


def checkerboard(photos: np.ndarray, painted: np.ndarray) -> tuple[float, float]:
    """How far the painted pictures stand out at the frequencies of GRID.

    Returns:
        `(ratio, levels)` at the worst of them: power over that of the neighbouring frequencies, over the same of the
        photos (whose own JPEG blocks peak there, too); and the amplitude, in levels of 255, of a grid with that surplus
        of power. The worst is the one with the largest ratio among the visible, or the largest of all if none is.
    """
    (own, own_around), (peaks, around) = grid_peaks(photos), grid_peaks(painted)
    noise = 1 / 12 / WINDOW**2  # of rounding to 8 bits: no ratio of things that no file holds
    ratios = (peaks + noise) / (around + noise) / np.maximum((own + noise) / (own_around + noise), 1.0)
    halves = np.array([all(abs(frequency) in (0, 1 / 2) for frequency in place) for place in GRID])
    levels = np.sqrt(np.maximum(peaks - around, 0.0) * np.where(halves, 1.0, 4.0))
    worst = int(np.argmax(ratios * np.where(levels >= VISIBLE, 1e6, 1.0)))
    return float(ratios[worst]), float(levels[worst])


def variety(photos: np.ndarray, painted: np.ndarray) -> float:
    """How much the painted pictures differ from each other, as a share of how much the photos do.

    The root mean square, over block means and channels, of the standard deviation over pictures; painted over photos.
    0: one picture for every photo.
    """
    spread = [np.sqrt(block_means(images).var(axis=0).mean()) for images in (photos, painted)]
    return float(spread[1] / max(spread[0], 1e-9))


def measure_health(photos: np.ndarray, painted: np.ndarray, rows: Sequence[Mapping]) -> dict[str, float | None]:
    """All the numbers of a run, by name; `FAULTS` says which of them are bad.

    Args:
        photos: `[images, height, width, 3]` in [-1, 1], sides multiples of WINDOW; a dozen or more that differ.
        painted: the same photos painted.
        rows: the rows of history.csv, numbers or their text.
    """
    ratio, levels = checkerboard(photos, painted)
    return {
        "shade_correlation": shade_correlation(photos, painted),
        "cycle_change": last_over_first(rows, "cycle"),
        "identity_change": last_over_first(rows, "identity"),
        "grid_ratio": ratio,
        "grid_levels": levels,
        "variety": variety(photos, painted),
    }


def is_inverted(numbers: Mapping) -> bool:
    """Whether light became dark in most pictures."""
    return numbers["shade_correlation"] < INVERTED


def is_drifting(numbers: Mapping) -> bool:
    """Whether the cycle error fell while the identity error rose: colours that are turned there and back again.

    The cycle does not mind an inversion that the other generator undoes; the identity loss is what speaks against it.
    """
    cycle, identity = numbers["cycle_change"], numbers["identity_change"]
    return cycle is not None and identity is not None and cycle < FALLEN and identity > RISEN


def is_gridded(numbers: Mapping) -> bool:
    """Whether a checkerboard stands out from the texture around it, and can be seen."""
    return numbers["grid_ratio"] > GRIDDED and numbers["grid_levels"] > VISIBLE


def is_collapsed(numbers: Mapping) -> bool:
    """Whether all photos become about the same picture; early in a run, when all is still grey, that is so too."""
    return numbers["variety"] < COLLAPSED


FAULTS = {"inverted": is_inverted, "identity rises": is_drifting, "checkerboard": is_gridded, "collapse": is_collapsed}


def find_faults(numbers: Mapping) -> list[str]:
    """The names of the faults that the numbers of `measure_health` show."""
    return [name for name, shown in FAULTS.items() if shown(numbers)]
