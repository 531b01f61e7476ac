"""Rows of `make bench` about scaling: a training step with its batch, and `generate` with its photos."""

import contextlib
import json
import tempfile

import numpy as np
from benchmark.images import untrained_generator
from benchmark.measure import seconds_of
from benchmark.rows import PAIRS, Row
from benchmark.step import start_worker

from monet.core.config import make_config

BATCHES = (1, 2, 4, 8)
PHOTOS = (500, 1000, 2000)


def fit_line(sizes, seconds) -> tuple[float, float]:
    """Fits a least-squares line through the seconds that each size took.

    Returns:
        The slope, in seconds per unit of size, and the largest relative distance of a point from the line.
    """
    slope, intercept = np.polyfit(sizes, seconds, 1)
    line = slope * np.asarray(sizes) + intercept
    return float(slope), float(np.abs(np.asarray(seconds) / line - 1).max())


def line_rows(name: str, claim: str, unit: str, sizes, rounds) -> list[Row]:
    """Returns the rows of the lines' slopes and of their straightness.

    Args:
        name: of the rows.
        claim: of the slope.
        unit: of the slope.
        sizes: that were measured.
        rounds: for each round, a list of seconds, one for each size.
    """
    slopes, deviations = zip(*(fit_line(sizes, seconds) for seconds in rounds), strict=True)
    measured = ", ".join(f"{size:,}" for size in sizes)
    return [Row(f"{name} slope", f"{claim}, at {measured}", unit, slopes),
            Row(f"{name} straight", "no point farther than 0.15 of the line from it", "of the line", deviations)]


def step_rows(preset: str = "tutorial", batches: tuple[int, ...] = BATCHES, **settings) -> list[Row]:
    """Seconds that each further pair of images adds to a preset's step; `settings` are more config fields."""
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(start_worker("ours", preset, batch, json.dumps(settings))) for batch in batches]
        rounds = [[worker.repeat() for worker in workers] for _ in range(PAIRS)]
    return line_rows("scaling step", f"{preset}'s step grows with its batch", "s a pair", batches, rounds)


def generate_rows(data) -> list[Row]:
    """Seconds that each further photo adds to `generate` with the network of `cpu`, from files to a checked zip."""
    from monet.submission.images_zip import generate_submission  # here, because TensorFlow takes seconds to load

    _, paint = untrained_generator("cpu")

    def seconds_for(count: int) -> float:
        config = make_config(num_images=count)
        with tempfile.TemporaryDirectory() as folder:
            return seconds_of(lambda: generate_submission(paint, data.photo, f"{folder}/images.zip", config))

    seconds_for(PHOTOS[0])  # traces the network
    rounds = [[seconds_for(count) for count in PHOTOS] for _ in range(PAIRS)]
    return line_rows("scaling generate", "generate with cpu's network grows with the photos", "s a photo", PHOTOS,
                     rounds)


SCALING_ROWS = {"scaling": lambda data: [*step_rows(), *generate_rows(data)]}
