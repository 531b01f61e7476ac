"""The rows of `make bench` about growth: of a training step with its batch, of `generate` with its photos."""

import contextlib
import tempfile
import time

import numpy as np
from benchmark.rows import PAIRS, Row
from benchmark.step import start_side

from monet.core.config import make_config
from monet.core.presets import resolve_config

BATCHES = (1, 2, 4, 8)
PHOTOS = (500, 1000, 2000)


def line_of(sizes, seconds) -> tuple[float, float]:
    """The least-squares line through what each size took.

    Returns:
        Its slope, in seconds a unit of size, and the share of itself by which a point is farthest from it.
    """
    slope, start = np.polyfit(sizes, seconds, 1)
    line = slope * np.asarray(sizes) + start
    return float(slope), float(np.abs(np.asarray(seconds) / line - 1).max())


def line_rows(name: str, what: str, unit: str, sizes, rounds) -> list[Row]:
    """The slope of each round's line, and how straight it is.

    Args:
        name: of the rows.
        what: what grows with what.
        unit: of the slope.
        sizes: what was measured.
        rounds: a list of seconds for each round, one a size.
    """
    slopes, bends = zip(*(line_of(sizes, seconds) for seconds in rounds), strict=True)
    span = ", ".join(f"{size:,}" for size in sizes)
    return [Row(f"{name} slope", f"{what}, at {span}", unit, list(slopes)),
            Row(f"{name} straight", "no point farther than 0.15 of the line from it", "of the line", list(bends))]


def step_rows(preset: str = "tutorial", batches: tuple = BATCHES) -> list[Row]:
    """Seconds a pair of images that a larger batch adds to a preset's step."""
    with contextlib.ExitStack() as stack:
        sides = [stack.enter_context(start_side("ours", preset, batch)) for batch in batches]
        rounds = [[side.step() for side in sides] for _ in range(PAIRS)]
    return line_rows("scaling step", f"{preset}'s step grows with its batch", "s a pair", batches, rounds)


def generate_rows(data) -> list[Row]:
    """Seconds a photo that `generate` takes with the network of `cpu`, from the data's photos to a checked zip."""
    from monet.networks.build import build_generator
    from monet.submission.images_zip import generate_submission
    from monet.submission.painter import make_painter

    config = resolve_config({"preset": "cpu"})
    paint = make_painter(build_generator(config, "photo_to_monet"), config.paint_margin)

    def seconds_for(count: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            generate_submission(paint, data.photo, f"{folder}/images.zip", make_config(num_images=count))
            return time.monotonic() - started

    seconds_for(PHOTOS[0])  # traces
    rounds = [[seconds_for(count) for count in PHOTOS] for _ in range(PAIRS)]
    what = "generate with cpu's network grows with the photos"
    return line_rows("scaling generate", what, "s a photo", PHOTOS, rounds)


SCALING_ROWS = {"scaling": lambda data: [*step_rows(), *generate_rows(data)]}
