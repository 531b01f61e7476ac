"""Measures the README's figures, each beside its peer in one run: `make bench`, or python tools/bench.py [ROW …].

A row is measured in pairs, ours and the peer's in turn, so that a machine that slows down slows both; its ratio is the
median over the pairs, with the lowest and the highest. Writes bench.json beside the table.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from benchmark.features import FEATURE_ROWS
from benchmark.rows import PAIRS, Row
from benchmark.scaling import SCALING_ROWS
from benchmark.score import SCORE_ROWS
from benchmark.step import STEP_ROWS
from console import module_command, module_environment
from find_data import default_data
from PIL import Image

from monet.core.config import make_config
from monet.core.errors import UserError, suggest_names
from monet.core.presets import resolve_config

GENERATED = 500  # images a measurement of `generate`
TRACED = 16  # images of the pair before, in which the network is traced
ZIPPED = 480  # images a measurement of encoding and zipping
INPUT_SECONDS = 4


def rate_of(dataset, images_each: int) -> float:
    """Images a second that an endless dataset of batches gives, measured over `INPUT_SECONDS` once it runs."""
    batches = iter(dataset)
    next(batches)
    count, started = 0, time.monotonic()
    while time.monotonic() - started < INPUT_SECONDS:
        next(batches)
        count += images_each
    return count / (time.monotonic() - started)


def tutorial_input(data):
    """The tutorials' input: one image at a time, cached decoded, jittered by resizing, cropping and mirroring."""
    import tensorflow as tf

    from monet.core.pixels import decode_image
    from monet.data.records import read_examples

    def jitter(image):
        image = tf.image.resize(image, [286, 286], method=tf.image.ResizeMethod.NEAREST_NEIGHBOR)
        return tf.image.random_flip_left_right(tf.image.random_crop(image, [256, 256, 3]))

    def side(image_set):
        images = read_examples(image_set).map(lambda example: example["image"])
        scaled = images.map(lambda image: tf.cast(decode_image(image), tf.float32) / 127.5 - 1)
        return scaled.cache().map(jitter).shuffle(1000).batch(1).repeat()

    return tf.data.Dataset.zip((side(data.photo), side(data.monet)))


def input_row(data) -> Row:
    """Training images a second out of the input pipeline, at the tutorial's settings but batch 4."""
    from monet.data.pipeline import training_pairs

    config = make_config(batch_size=4)
    ours, peer = [], []
    for _ in range(PAIRS):
        ours.append(rate_of(training_pairs(data, config), 2 * config.batch_size))
        peer.append(rate_of(tutorial_input(data), 2))
    return Row("input", "at least 1,000 training images a second", "images/s", ours, "the tutorial's", tuple(peer))


def seconds_of(action: Callable[[], object]) -> float:
    """How long `action` takes."""
    started = time.monotonic()
    action()
    return time.monotonic() - started


def make_network(config):
    """A `photo_to_monet` of the config with random weights: the arithmetic is that of a trained one."""
    from monet.networks.build import build_generator
    from monet.submission.painter import make_painter

    generator = build_generator(config, "photo_to_monet")
    return generator, make_painter(generator, config.paint_margin)


def zip_row(data) -> Row:
    """What encoding and zipping add, an image, to the time that reading and painting the photos take by themselves."""
    from monet.submission.images_zip import PAINT_BATCH, generate_submission, photo_batches

    _, paint = make_network(resolve_config({"preset": "cpu"}))
    config = make_config(num_images=ZIPPED)

    def paint_only():
        for _, photos in photo_batches(data.photo, config).take(ZIPPED // PAINT_BATCH):
            np.asarray(paint(photos))

    added = []
    with tempfile.TemporaryDirectory() as folder:
        paint_only()
        for _ in range(PAIRS):
            alone = seconds_of(paint_only)
            whole = seconds_of(lambda: generate_submission(paint, data.photo, f"{folder}/images.zip", config))
            added.append(1000 * (whole - alone) / ZIPPED)
    return Row("zip", "encode and zip at most 2 ms an image beside the network (500 a second)", "ms/image", added)


def tutorial_generate(generator, data, count: int, folder: Path) -> None:
    """The tutorial's loop: a photo at a time through the network, a PIL file each, then one archive."""
    import tensorflow as tf

    from monet.core.pixels import decode_image, pixels_to_float
    from monet.data.records import read_examples

    images = folder / "images"
    images.mkdir()
    photos = read_examples(data.photo).map(lambda example: pixels_to_float(decode_image(example["image"]))).batch(1)
    for number, photo in enumerate(photos.take(count), start=1):
        painted = generator([photo, tf.zeros([2], tf.int32)], training=False)[0].numpy()
        Image.fromarray((painted * 127.5 + 127.5).astype(np.uint8)).save(images / f"{number}.jpg")
    shutil.make_archive(str(folder / "images"), "zip", images)


def generate_row(data) -> Row:
    """Images a second from photos to the zip with the tutorial's network."""
    from monet.submission.images_zip import generate_submission

    generator, paint = make_network(make_config())
    ours, peer = [], []
    for count in [TRACED] + PAIRS * [GENERATED]:
        config = make_config(num_images=count)
        with tempfile.TemporaryDirectory() as folder:
            mine = seconds_of(lambda f=folder, c=config: generate_submission(paint, data.photo, f"{f}/ours.zip", c))
            theirs = seconds_of(lambda f=folder, n=count: tutorial_generate(generator, data, n, Path(f)))
        if count == GENERATED:
            ours.append(count / mine)
            peer.append(count / theirs)
    return Row("generate", "at least 1.6 x the tutorial's loop", "images/s", ours, "the tutorial's loop", tuple(peer))


def sample_row(data) -> Row:
    """Seconds to draw the built-in sample, which the first `make local-train` without data does."""
    from sample.dataset import write_sample

    with tempfile.TemporaryDirectory() as folder:
        seconds = seconds_of(lambda: write_sample(Path(folder) / "sample"))
    return Row("sample", "drawn in under a minute", "s", [seconds])


def local_train_rows(data, *settings: str) -> list[Row]:
    """Minutes and memory of the whole of `make local-train` after the install, with `settings` of its own if given."""
    with tempfile.TemporaryDirectory() as folder:
        command = module_command("benchmark.memory", "run", "--preset", "cpu", "--data", data.root, "--out", folder)
        started = time.monotonic()
        said = subprocess.run([*command, *settings], env=module_environment(), stdout=subprocess.PIPE, check=True,
                              text=True).stdout
        seconds, peak = time.monotonic() - started, float(said.split()[-1])
    return [Row("local-train", "7,000 images in under 15 minutes", "min", [seconds / 60]),
            Row("local-train memory", "at most 4 GiB", "GiB", [peak])]


def accelerator_rows_if_any(data) -> list[Row]:
    """The rows of a TPU or GPU; without one, a row that says so."""
    from benchmark.accelerator import accelerator_rows, has_accelerator

    if has_accelerator():
        return accelerator_rows(data)
    return [Row("accelerator", "number formats, XLA, steps a call, batch 1 to 64", "", [], "no TPU or GPU is here")]


ROWS = {"input": input_row, "zip": zip_row, "generate": generate_row, "sample": sample_row,
        "local-train": local_train_rows, **STEP_ROWS, **SCALING_ROWS, **SCORE_ROWS, **FEATURE_ROWS,
        "accelerator": accelerator_rows_if_any}


def measure(names: list[str], data: str) -> None:
    """Measures these rows, or all, on `data`: prints each when it is there, and rewrites bench.json.

    Raises:
        UserError: for a row that there is not, or data that cannot be read.
    """
    for name in names:
        if name not in ROWS:
            raise UserError(f"There is no row {name}. {suggest_names(name, ROWS)}")
    root = default_data(data)
    from monet.data.validation import find_data  # here, because TensorFlow takes seconds to load

    images = find_data(root)
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {images.describe()}\n")
    print("| row | claim | ours | peer | ratio, median (lowest to highest) |\n|---|---|---|---|---|", flush=True)
    measured = []
    for name in names or ROWS:
        found = ROWS[name](images)
        for row in found if isinstance(found, list) else [found]:
            measured.append(row)
            print(row.line(), flush=True)
        Path("bench.json").write_text(json.dumps([asdict(row) for row in measured], indent=2) + "\n", encoding="utf-8")


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"any of {', '.join(ROWS)} (default: all)")
    parser.add_argument("--data", default="", help="as in make local-train DATA=… (default: what that takes)")
    options = parser.parse_args()
    try:
        measure(options.rows, options.data)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted: the rows above are in bench.json, too.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
