"""Draws the built-in sample in parallel and writes it as the competition's TFRecords."""

import contextlib
import hashlib
import io
import itertools
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from sample.brush import paint
from sample.camera import photograph
from sample.scenes import draw_scene

from monet.core.errors import UserError
from monet.core.progress import progress_bar

NUM_MONET, NUM_PHOTO = 80, 240
MAX_FILES = 4  # TFRecord files per domain
RENDERERS = {"monet": paint, "photo": photograph}
NOTICE = """This is the built-in SAMPLE of the Monet kit, for trying it out.

Everything here was drawn by a program from random numbers (tools/sample_data.py, seed {seed}): {photo} landscapes
rendered like photos, and {monet} other landscapes rendered with brush strokes. No real photo and no real painting
is among them, and a network trained on them is of no use in the competition.

The real data: https://www.kaggle.com/competitions/gan-getting-started/data
"""


def draw_picture(seed: int, domain: str, index: int) -> tuple[str, bytes]:
    """Returns picture number `index` of a domain: image_name and JPEG bytes, 256x256 RGB."""
    rng = np.random.default_rng([seed, list(RENDERERS).index(domain), index])
    picture = RENDERERS[domain](rng, draw_scene(rng))
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=95, subsampling="4:4:4")
    jpeg = file.getvalue()
    return hashlib.md5(jpeg, usedforsecurity=False).hexdigest()[:10], jpeg


def draw_pictures(counts: dict[str, int], seed: int) -> Iterator[tuple[str, bytes]]:
    """Yields `counts[domain]` pictures of each domain in turn, drawn by one process per core."""
    domains = [domain for domain, count in counts.items() for _ in range(count)]
    indices = [index for count in counts.values() for index in range(count)]
    # Spawned: this process may have loaded TensorFlow, whose threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    ignore_interrupt = (signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, which ends the workers
    with (ProcessPoolExecutor(min(os.cpu_count() or 1, 8), context, signal.signal, ignore_interrupt) as pool,
          progress_bar("drawing the sample", len(domains), "picture") as show):
        pictures = pool.map(partial(draw_picture, seed), domains, indices, chunksize=4)
        for done, picture in enumerate(pictures, 1):
            show(done)
            yield picture


def write_domain(folder: Path, domain: str, count: int, pictures: Iterator[tuple[str, bytes]]) -> None:
    """Writes the next `count` pictures to a few files in `folder`, named like the competition's."""
    from monet.data.writing import write_records  # here, because the drawing processes need no TensorFlow

    folder.mkdir()
    for number, part in enumerate(np.array_split(np.arange(count), min(MAX_FILES, count))):
        path = folder / f"{domain}{number:02d}-{len(part)}.tfrec"
        write_records(str(path), itertools.islice(pictures, len(part)), domain)


def write_sample(root: Path, seed: int = 0, num_monet: int = NUM_MONET, num_photo: int = NUM_PHOTO) -> None:
    """Draws the sample into the folder `root`, which appears only when the sample is complete.

    Raises:
        UserError: if `root` exists and is not an empty folder.
    """
    root = Path(root)
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise UserError(f"{root} is not an empty folder. Name a new one for the sample, or remove that one first.")
    counts = {"monet": num_monet, "photo": num_photo}
    part = root.with_name(root.name + ".part")
    shutil.rmtree(part, ignore_errors=True)  # from a run that was killed
    try:
        part.mkdir(parents=True)
        with contextlib.closing(draw_pictures(counts, seed)) as pictures:
            for domain, count in counts.items():
                write_domain(part / f"{domain}_tfrec", domain, count, pictures)
        (part / "SAMPLE").write_text(NOTICE.format(seed=seed, monet=num_monet, photo=num_photo), encoding="utf-8")
        part.replace(root)
    finally:
        shutil.rmtree(part, ignore_errors=True)
