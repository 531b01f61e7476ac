"""The submission: paint every photo, encode, stream into images.zip; and the check of what Kaggle would refuse."""

import collections
import hashlib
import io
import os
import shutil
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from monet.core.config import MAX_IMAGES, MIN_IMAGES, SUBMISSION_SIZE, Config
from monet.core.errors import LOG, UserError
from monet.core.files import atomic_write, out_of_space
from monet.core.pixels import decode_image, encode_jpeg, pixels_to_float, resize
from monet.core.progress import progress_bar
from monet.data.read_errors import explain_read_errors
from monet.data.records import ImageSet, read_examples
from monet.submission.check import CPU_THREADS, problems_of, zip_entries
from monet.submission.names import safe_name, unique_name

PAINT_BATCH = 16  # images a call of the network: the same in every call, so that it is traced once
REHEARSED = 4 * PAINT_BATCH  # images that are painted and zipped to see how long all of them will take
PENDING_IMAGES = 2 * PAINT_BATCH  # painted images that may wait for an encoder
CROP_SCALES = (0.8, 0.97)  # side of a cropped variant's part of the photo
GUESSED_BYTES = 50_000  # of a JPEG, before any is written: photos take 45,000 at quality 95


def number_of_images(photos: ImageSet, config: Config) -> int:
    """How many images the submission has: `config.num_images`, or every photo once but 7,000 to 10,000 in any case."""
    return config.num_images or min(max(photos.count, MIN_IMAGES), MAX_IMAGES)


def varied(image: tf.Tensor, round_number: tf.Tensor, index: tf.Tensor, seed: int) -> tf.Tensor:
    """A photo as it is (round 0), mirrored (round 1), or a random part of it, perhaps mirrored (later rounds).

    Args:
        image: float32 `[size, size, 3]`.
        round_number: int64 scalar, how often the photo came before.
        index: int64 scalar, position in the stream of all photos and variants; with `seed` it determines the part.

    Returns:
        float32 `[size, size, 3]` in the same range.
    """
    def cropped() -> tf.Tensor:
        draws = tf.random.stateless_uniform([4], tf.stack([tf.cast(seed, tf.int64), index]))
        side = CROP_SCALES[0] + (CROP_SCALES[1] - CROP_SCALES[0]) * draws[0]
        top, left = draws[1] * (1 - side), draws[2] * (1 - side)
        near, far = left, left + side
        mirrored = draws[3] < 0.5  # a box from right to left is read mirrored
        box = tf.stack([top, tf.where(mirrored, far, near), top + side, tf.where(mirrored, near, far)])
        return tf.image.crop_and_resize(image[None], box[None], [0], tf.shape(image)[:2])[0]

    branches = [lambda: image, lambda: tf.reverse(image, [1]), cropped]
    return tf.ensure_shape(tf.switch_case(tf.cast(tf.minimum(round_number, 2), tf.int32), branches), image.shape)


def photo_batches(photos: ImageSet, config: Config) -> tf.data.Dataset:
    """Endless batches: every photo once in its order, then every photo mirrored, then random parts of them.

    Returns:
        A dataset of (image_name: string `[PAINT_BATCH]`, photo: float32 `[PAINT_BATCH, 256, 256, 3]` in [-1, 1]),
        the same for the same seed.
    """
    def prepared(index, example):
        image = pixels_to_float(resize(decode_image(example["image"]), SUBMISSION_SIZE))
        return example["image_name"], varied(image, index // photos.count, index, config.seed)

    stream = read_examples(photos).repeat().enumerate()
    images = stream.map(prepared, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return images.batch(PAINT_BATCH, drop_remainder=True).prefetch(2)


class ZipFiller:
    """Puts JPEGs into a zip, each under a name of its own, and leaves out what is in it already."""

    def __init__(self, archive: zipfile.ZipFile, wanted: int, image_names: str):
        """Begins with an empty zip that shall hold `wanted` images; `image_names` is the config's."""
        self.archive, self.wanted, self.image_names = archive, wanted, image_names
        self.count, self.repeats, self.seen, self.taken = 0, 0, set(), {}

    def add(self, image_name: str, encoded: bytes) -> None:
        """Writes one JPEG, unless the zip holds the same bytes.

        Photos can be double, and then a variant takes the place of the second. A network that paints all photos alike
        must not keep us here for ever: from a tenth of the images on, repeats are written, and `check` names them.
        """
        digest = hashlib.sha1(encoded, usedforsecurity=False).digest()
        if digest in self.seen:
            self.repeats += 1
            if self.repeats <= self.wanted // 10 + PAINT_BATCH:
                return
        self.seen.add(digest)
        self.count += 1
        name = f"{self.count:04d}" if self.image_names == "number" else unique_name(safe_name(image_name), self.taken)
        # No time stamp of today: equal pictures give equal bytes.
        info = zipfile.ZipInfo(f"{name}.jpg", (1980, 1, 1, 0, 0, 0))
        info.create_system, info.external_attr = 3, 0o100644 << 16  # readable when unpacked, on any system
        self.archive.writestr(info, encoded)


def fill(filler: ZipFiller, paint, photos: ImageSet, config: Config, show: Callable[[int], None]) -> None:
    """Paints until the zip has the images it wants: while the network paints a batch, the next one is decoded by
    tf.data, and the one before encoded by a thread pool. Bounded queues keep the memory flat."""
    batches, pending = iter(photo_batches(photos, config)), collections.deque()
    with ThreadPoolExecutor(CPU_THREADS) as pool:
        while filler.count < filler.wanted:
            if filler.count + len(pending) < filler.wanted and len(pending) <= PENDING_IMAGES:
                with explain_read_errors(os.path.dirname(photos.files[0])):
                    names, images = next(batches)
                painted = np.asarray(paint(images), np.float32)
                encoded = [pool.submit(encode_jpeg, image, config) for image in painted]
                pending.extend(zip(names.numpy(), encoded, strict=True))
            else:
                name, future = pending.popleft()
                filler.add(name.decode("utf-8", "replace"), future.result())
                show(filler.count)


def full_disk(path: str, archive: zipfile.ZipFile | None, wanted: int) -> UserError:
    """The error for a disk that cannot hold the submission, with an estimate from the images written so far."""
    sizes = [info.file_size for info in archive.infolist()] if archive else []
    needed = wanted * (sum(sizes) / len(sizes) if sizes else GUESSED_BYTES)
    folder = os.path.dirname(os.path.abspath(path))
    return UserError(f"The disk is full: {path} needs about {needed / 1e6:.0f} MB in {folder}, where "
                     f"{shutil.disk_usage(folder).free / 1e6:.0f} MB are free. Free some space or give another --out, "
                     "then `generate` again; an earlier file is untouched.")


def generate_submission(paint, photos: ImageSet, path: str, config: Config) -> int:
    """Paints the photos and writes the submission to `path`, whole or not at all.

    With fewer photos than images wanted, mirrored photos and then random parts of them fill up.

    Args:
        paint: a function from float32 `[PAINT_BATCH, 256, 256, 3]` in [-1, 1] to the same painted, array or tensor.
        photos: the photos; only the first are painted if there are more than wanted.
        path: the zip.
        config: gives seed, num_images, image_names, jpeg_quality and jpeg_subsampling.

    Returns:
        The number of images in the zip.

    Raises:
        UserError: if the photos cannot be read, the zip cannot be written (a full disk), or the painted pictures are
            not finite. An earlier file at `path` then stays as it was, as it does after Ctrl-C.
    """
    wanted, archive, started = number_of_images(photos, config), None, time.monotonic()
    LOG.info("Painting %d images: %d pictures and %d variants of them", wanted, min(wanted, photos.count),
             max(0, wanted - photos.count))
    try:
        with (atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w") as archive,
              progress_bar("Painting", wanted) as show):
            filler = ZipFiller(archive, wanted, config.image_names)
            fill(filler, paint, photos, config, show)
    except UserError as error:
        if isinstance(error.__cause__, OSError) and out_of_space(error.__cause__):
            raise full_disk(path, archive, wanted) from error.__cause__
        raise
    seconds = time.monotonic() - started
    LOG.info("Painted, encoded and zipped %d images in %.0f s, %.1f a second", wanted, seconds, wanted / seconds)
    if filler.repeats:
        LOG.warning("%d painted images were equal to others, because the photos are, or the network paints them alike",
                    filler.repeats)
    return wanted


def rehearse_submission(paint, photos: ImageSet, config: Config) -> float:
    """Seconds that painting, zipping and checking the submission will take, from doing it with a few images in memory.

    What is the same for any number of images, such as opening files, is told from the time an image takes by doing it
    with two numbers; and a first time, which does not count, traces what has to be traced.

    Raises:
        UserError: if the photos cannot be read, or the painted pictures are not finite.
    """
    def seconds_for(count: int) -> float:
        started = time.monotonic()
        with zipfile.ZipFile(io.BytesIO(), "w") as archive:
            fill(ZipFiller(archive, count, config.image_names), paint, photos, config, lambda done: None)
            problems_of(list(zip_entries(archive)), 0)
        return time.monotonic() - started

    wanted = number_of_images(photos, config)
    _, few, more = (seconds_for(count) for count in (PAINT_BATCH, PAINT_BATCH, REHEARSED))
    # Each of the numbers is a little noisy: an image takes at least half of what the larger one says.
    each = max((more - few) / (REHEARSED - PAINT_BATCH), more / REHEARSED / 2)
    return more + max(wanted - REHEARSED, 0) * each
