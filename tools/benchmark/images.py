"""Rows of `make bench` about images: read for training, painted, encoded, and written into the zip."""

import tempfile
import time
from pathlib import Path

import numpy as np
from benchmark.measure import seconds_of
from benchmark.rows import PAIRS, Row, paired_row

from monet.core.config import make_config
from monet.core.presets import resolve_config

INPUT_SECONDS = 4  # of one measurement of the input pipeline
GENERATED = 500  # images per measurement of `generate`
WARM_UP = 16  # images painted before the first measurement, which traces the network
ZIPPED = 480  # images per measurement of encoding and zipping


def images_per_second(dataset, images_per_element: int) -> float:
    """Returns how many images per second an endless dataset yields after its first element."""
    batches = iter(dataset)
    next(batches)
    count, started = 0, time.monotonic()
    while time.monotonic() - started < INPUT_SECONDS:
        next(batches)
        count += images_per_element
    return count / (time.monotonic() - started)


def input_rows(data) -> list[Row]:
    """Images per second from the input pipeline, with the tutorial's settings but batch 4."""
    from benchmark.peers.tutorial import tutorial_input  # here, because TensorFlow takes seconds to load

    from monet.data.pipeline import training_pairs

    config = make_config(batch_size=4)
    pairs = [(images_per_second(training_pairs(data, config), 2 * config.batch_size),
              images_per_second(tutorial_input(data), 2)) for _ in range(PAIRS)]
    return [paired_row("input", "at least 1,000 training images a second", "images/s", "the tutorial's", pairs)]


def untrained_generator(preset: str):
    """Returns a preset's `photo_to_monet` with random weights, which cost as much as trained ones, and its painter."""
    from monet.machine.devices import Device
    from monet.networks.build import build_generator
    from monet.submission.painter import make_painter
    from monet.training.settled import settled

    config = settled(resolve_config({"preset": preset}), Device("CPU"))
    generator = build_generator(config, "photo_to_monet")
    return generator, make_painter(generator, config.paint_margin)


def zip_rows(data) -> list[Row]:
    """Milliseconds per image that encoding and zipping add to reading and painting."""
    from monet.submission.images_zip import PAINT_BATCH, generate_submission, photo_batches

    _, paint = untrained_generator("cpu")
    config = make_config(num_images=ZIPPED)

    def paint_only():
        for _, photos in photo_batches(data.photo, config).take(ZIPPED // PAINT_BATCH):
            np.asarray(paint(photos))

    added = []
    with tempfile.TemporaryDirectory() as folder:
        paint_only()
        for _ in range(PAIRS):
            painting = seconds_of(paint_only)
            everything = seconds_of(lambda: generate_submission(paint, data.photo, f"{folder}/images.zip", config))
            added.append(1000 * (everything - painting) / ZIPPED)
    return [Row("zip", "encode and zip at most 2 ms an image beside the network (500 a second)", "ms/image", added)]


def generate_rows(data) -> list[Row]:
    """Images per second from photos to the zip, with the tutorial's network."""
    from benchmark.peers.tutorial import tutorial_generate

    from monet.submission.images_zip import generate_submission

    generator, paint = untrained_generator("tutorial")

    def rates(count: int) -> tuple[float, float]:
        config = make_config(num_images=count)
        with tempfile.TemporaryDirectory() as folder:
            ours = seconds_of(lambda: generate_submission(paint, data.photo, f"{folder}/ours.zip", config))
            peer = seconds_of(lambda: tutorial_generate(generator, data, count, Path(folder)))
        return count / ours, count / peer

    rates(WARM_UP)
    pairs = [rates(GENERATED) for _ in range(PAIRS)]
    return [paired_row("generate", "at least 1.6 x the tutorial's loop", "images/s", "the tutorial's loop", pairs)]


IMAGE_ROWS = {"input": input_rows, "zip": zip_rows, "generate": generate_rows}
