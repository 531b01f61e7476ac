"""Measures a finished run by its files: updates, distance of its paintings to others, health, overfitting signals."""

import functools
import hashlib
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from comparison.paintings import JUDGED, Judge, first_pictures, networks_at_hand

from monet.core.config import SUBMISSION_SIZE
from monet.core.pixels import float_to_pixels, pixels_to_float
from monet.data.pipeline import first_images
from monet.data.records import Data
from monet.scoring.health import find_faults, measure_health
from monet.training.history import read_rows
from monet.training.run_files import RunFiles

WAY = 2  # of measuring: raised when it changes, so that what was measured before is measured again
SIGNALS = ("r_t", "r_v")  # columns of history.csv, if paintings are held out: the overfitting signals of ADA


class Examiner:
    """Knows the photos and, if there is a reference, how near paintings are to it.

    Attributes:
        photos: uint8 `[n, 256, 256, 3]`, those that every run paints.
        paintings: the reference's, likewise; None without one.
        networks: those that judge.
    """

    def __init__(self, data: Data, reference: str):
        """Reads the pictures; `reference` may be empty.

        Raises:
            UserError: if they cannot be read.
        """
        self.photos = float_to_pixels(first_images(data.photo, JUDGED, SUBMISSION_SIZE))
        self.paintings = first_pictures(reference) if reference else None
        self.networks = networks_at_hand() if reference else ()

    @functools.cached_property
    def digest(self) -> str:
        """Of all that a run's measurements depend on, besides its files."""
        digest = hashlib.sha256(repr((WAY, self.networks)).encode())
        for images in (self.photos, self.paintings):
            digest.update(b"" if images is None else images.tobytes())
        return digest.hexdigest()

    @functools.cached_property
    def judge(self) -> Judge | None:
        """The judge; None without a reference. Made when it is first asked: it takes a minute."""
        return None if self.paintings is None else Judge(self.paintings, self.photos, self.networks)

    def measure(self, files: RunFiles) -> dict:
        """Returns what a finished run is worth: how far it trained, how near its paintings came, and their health.

        Raises:
            UserError: if its images.zip cannot be read.
        """
        rows, painted = read_rows(files.history)[0], first_pictures(files.zip, len(self.photos))
        # All of them: with 32 photos, halos of the same weights were 2.5 levels, with 300 1.5.
        photos, paintings = (pixels_to_float(side).numpy() for side in (self.photos, painted))
        health = measure_health(photos, paintings, rows)
        return {"updates": int(rows[-1]["step"]), "minutes": minutes_of(rows),
                "seconds_per_step": statistics.median(float(row["seconds_per_step"]) for row in rows),
                "signals": last_signals(rows), "health": health, "faults": find_faults(health),
                **(self.judge.measure(painted) if self.judge else {})}


def minutes_of(rows: Sequence[Mapping]) -> float:
    """Returns the minutes that the steps in the rows of history.csv took: without previews, saving and painting."""
    steps = np.diff([0, *(int(row["step"]) for row in rows)])
    return float(steps @ [float(row["seconds_per_step"]) for row in rows]) / 60


def last_signals(rows: Sequence[Mapping]) -> dict[str, float]:
    """Returns the last value of each of `SIGNALS` that the rows of history.csv have."""
    return {name: float(row[name]) for row in rows for name in SIGNALS if row.get(name)}
