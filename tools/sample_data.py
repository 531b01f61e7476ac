"""Draws the built-in sample: landscape "photos" and "paintings" of other landscapes, as the competition's TFRecords.

    python tools/sample_data.py FOLDER [--seed N] [--monet N] [--photo N]

For people with no data and no Kaggle account. No photo and no painting was used; the same seed gives the same bytes.
"""

import argparse
import contextlib
import hashlib
import io
import itertools
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from sample.brush import paint
from sample.scenes import draw_scene, photograph
from tqdm import tqdm

from monet.core.errors import UserError

MONET, PHOTO = 80, 240  # pictures of each side
FILES = 4  # TFRecord files a side
SIDES = {"monet": paint, "photo": photograph}
NOTICE = """This is the built-in SAMPLE of the Monet kit, for trying it out.

Everything here was drawn by a program from random numbers (tools/sample_data.py, seed {seed}): {photo} landscapes
rendered like photos, and {monet} other landscapes rendered with brush strokes. No real photo and no real painting
is among them, and a network trained on them is of no use in the competition.

The real data: https://www.kaggle.com/competitions/gan-getting-started/data
"""


def draw_picture(seed: int, side: str, index: int) -> tuple[str, bytes]:
    """Picture number `index` of a side: (image_name, JPEG bytes), 256x256 RGB."""
    rng = np.random.default_rng([seed, list(SIDES).index(side), index])
    picture = SIDES[side](rng, draw_scene(rng))
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=95, subsampling="4:4:4")
    encoded = file.getvalue()
    return hashlib.md5(encoded, usedforsecurity=False).hexdigest()[:10], encoded


def draw_pictures(counts: dict[str, int], seed: int) -> Iterator[tuple[str, bytes]]:
    """As many pictures of each side as `counts` says, side after side, drawn by one process a core."""
    sides, indices = zip(*((side, index) for side, count in counts.items() for index in range(count)), strict=True)
    # Not forked: this process may hold TensorFlow, whose threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    quiet = (signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits for these
    with ProcessPoolExecutor(min(os.cpu_count() or 1, 8), context, signal.signal, quiet) as pool:
        pictures = pool.map(partial(draw_picture, seed), sides, indices, chunksize=4)
        yield from tqdm(pictures, desc="drawing the sample", total=len(sides), unit="picture", disable=None)


def write_side(folder: Path, side: str, count: int, pictures: Iterator[tuple[str, bytes]]) -> None:
    """Writes the next `count` pictures to `folder`, in a few files named as the competition names them."""
    from monet.data.writing import write_records  # here, because the drawing processes need no TensorFlow

    folder.mkdir()
    for number, share in enumerate(np.array_split(np.arange(count), min(FILES, count))):
        path = folder / f"{side}{number:02d}-{len(share)}.tfrec"
        write_records(str(path), itertools.islice(pictures, len(share)), side)


def write_sample(root: Path, seed: int = 0, num_monet: int = MONET, num_photo: int = PHOTO) -> None:
    """Draws the sample into the folder `root`, which appears only when it is complete.

    Raises:
        UserError: if `root` exists and is not an empty folder.
    """
    root = Path(root)
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise UserError(f"{root} is not an empty folder. Name a new one for the sample, or remove that one first.")
    counts = {"monet": num_monet, "photo": num_photo}
    part = root.with_name(root.name + ".part")
    shutil.rmtree(part, ignore_errors=True)  # what a killed run left
    try:
        part.mkdir(parents=True)
        with contextlib.closing(draw_pictures(counts, seed)) as pictures:
            for side, count in counts.items():
                write_side(part / f"{side}_tfrec", side, count, pictures)
        (part / "SAMPLE").write_text(NOTICE.format(seed=seed, monet=num_monet, photo=num_photo), encoding="utf-8")
        part.replace(root)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def whole_number(low: int) -> Callable[[str], int]:
    """For argparse: reads a whole number that is at least `low`."""
    def read(text: str) -> int:
        number = int(text)
        if number < low:
            raise argparse.ArgumentTypeError(f"must be at least {low}")
        return number
    return read


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Draw the built-in sample: no data and no account needed.")
    parser.add_argument("folder", type=Path, help="where to write it: a new or an empty folder")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="the same seed draws the same pictures")
    parser.add_argument("--monet", type=whole_number(1), default=MONET, help=f"paintings (default {MONET})")
    parser.add_argument("--photo", type=whole_number(1), default=PHOTO, help=f"photos (default {PHOTO})")
    options = parser.parse_args()
    try:
        write_sample(options.folder, options.seed, options.monet, options.photo)
    except (UserError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.folder}: {options.monet} paintings and {options.photo} photos, all drawn by this program")
    return 0


if __name__ == "__main__":
    sys.exit(main())
