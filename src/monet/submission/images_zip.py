"""Writes the submission: photos are read, painted, encoded as JPEGs and streamed into images.zip."""

import collections
import hashlib
import io
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from monet.core.config import MAX_IMAGES, MIN_IMAGES, SUBMISSION_SIZE, Config
from monet.core.errors import LOG, UserError
from monet.core.files import atomic_write, out_of_space
from monet.core.pixels import pad_batch
from monet.core.progress import progress_bar
from monet.data.pipeline import decode_example
from monet.data.read_errors import explain_read_errors
from monet.data.records import ImageSet, read_examples
from monet.submission.check import CPU_THREADS, find_problems, zip_entries
from monet.submission.jpegs import JpegEncoder
from monet.submission.names import safe_name, unique_name

PAINT_BATCH = 16  # images per call of the network, the same in every call so that it is traced once
REHEARSED = 4 * PAINT_BATCH  # images painted and zipped to estimate the time for all
MAX_PENDING = 2 * PAINT_BATCH  # painted images that may wait for an encoder
CROP_SCALES = (0.8, 0.97)  # range of a crop's side, as a share of the photo's
TYPICAL_JPEG_BYTES = 50_000  # assumed until one is written: photos take 45,000 at quality 95


def painted_batches(paint: Callable, photos: Iterable[tf.Tensor]) -> Iterator[np.ndarray]:
    """Paints batches of at most `PAINT_BATCH` photos, in calls of one size: float32 `[n, 256, 256, 3]` each."""
    for batch in photos:
        yield np.asarray(paint(pad_batch(batch, PAINT_BATCH)))[:len(batch)]


def number_of_images(photos: ImageSet, config: Config) -> int:
    """Number of images in the submission: `config.num_images`, or one per photo within Kaggle's 7,000 to 10,000."""
    return config.num_images or min(max(photos.count, MIN_IMAGES), MAX_IMAGES)


def photo_variant(image: tf.Tensor, round_number: tf.Tensor, index: tf.Tensor, seed: int) -> tf.Tensor:
    """Returns a photo as it is (round 0), mirrored (round 1), or as a random crop, mirrored or not (later rounds).

    Args:
        image: float32 `[size, size, 3]`.
        round_number: int64 scalar, how often all photos were used before.
        index: int64 scalar, position in the stream of photos and variants; with `seed`, it determines the crop.

    Returns:
        float32 `[size, size, 3]` in the same range.
    """
    def cropped() -> tf.Tensor:
        draws = tf.random.stateless_uniform([4], tf.stack([tf.cast(seed, tf.int64), index]))
        side = CROP_SCALES[0] + (CROP_SCALES[1] - CROP_SCALES[0]) * draws[0]
        top, left = draws[1] * (1 - side), draws[2] * (1 - side)
        bottom, right = top + side, left + side
        mirrored = draws[3] < 0.5  # a box from right to left is read mirrored
        box = tf.stack([top, tf.where(mirrored, right, left), bottom, tf.where(mirrored, left, right)])
        return tf.image.crop_and_resize(image[None], box[None], [0], tf.shape(image)[:2])[0]

    branches = [lambda: image, lambda: tf.reverse(image, [1]), cropped]
    return tf.ensure_shape(tf.switch_case(tf.cast(tf.minimum(round_number, 2), tf.int32), branches), image.shape)


def photo_batches(photos: ImageSet, config: Config) -> tf.data.Dataset:
    """Endless batches: first every photo in order, then every photo mirrored, then random crops of them.

    Returns:
        A dataset of (image_name: string `[PAINT_BATCH]`, photo: float32 `[PAINT_BATCH, 256, 256, 3]` in [-1, 1]),
        determined by the seed.
    """
    def prepare(index, example):
        image = decode_example(example, SUBMISSION_SIZE)
        return example["image_name"], photo_variant(image, index // photos.count, index, config.seed)

    examples = read_examples(photos).repeat().enumerate()
    images = examples.map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return images.batch(PAINT_BATCH, drop_remainder=True).prefetch(2)


class SubmissionZip:
    """Adds JPEGs to an open zip, each under a unique name, and drops duplicates."""

    def __init__(self, archive: zipfile.ZipFile, wanted: int, image_names: str):
        """`archive` is empty and shall hold `wanted` images; `image_names` is the config's."""
        self.archive, self.wanted, self.image_names = archive, wanted, image_names
        self.count, self.duplicates, self.digests, self.taken = 0, 0, set(), {}

    def add(self, image_name: str, jpeg: bytes) -> None:
        """Writes one JPEG, unless the zip holds the same bytes.

        A variant then takes the place of a duplicate photo. So that a network that paints all photos alike cannot loop
        forever, duplicates beyond a tenth of the images are written; `check` reports them.
        """
        digest = hashlib.sha1(jpeg, usedforsecurity=False).digest()
        if digest in self.digests:
            self.duplicates += 1
            if self.duplicates <= self.wanted // 10 + PAINT_BATCH:
                return
        self.digests.add(digest)
        self.count += 1
        name = f"{self.count:04d}" if self.image_names == "number" else unique_name(safe_name(image_name), self.taken)
        # A fixed timestamp: equal images give equal bytes.
        info = zipfile.ZipInfo(f"{name}.jpg", (1980, 1, 1, 0, 0, 0))
        info.create_system, info.external_attr = 3, 0o100644 << 16  # readable after unpacking on any system
        self.archive.writestr(info, jpeg)


def never() -> bool:
    """A run without a time limit is never late."""
    return False


def paint_into_zip(submission: SubmissionZip, paint, encoder: JpegEncoder, photos: ImageSet, config: Config,
                   show: Callable[[int], None], is_late: Callable[[], bool] = never) -> None:
    """The way of a photo: reads batches, paints them, encodes the paintings and adds them until the zip is full.

    While the network paints a batch, tf.data decodes the next and a thread pool encodes the one before. Bounded queues
    limit the memory. Once `is_late()`, no batch but the first is painted.
    """
    batches, pending = iter(photo_batches(photos, config)), collections.deque()
    with ThreadPoolExecutor(CPU_THREADS) as pool:
        while submission.count < submission.wanted:
            begun = submission.count + len(pending)
            if begun < submission.wanted and len(pending) <= MAX_PENDING and not (begun and is_late()):
                with explain_read_errors(os.path.dirname(photos.files[0])):
                    names, images = next(batches)
                painted = np.asarray(paint(images), np.float32)
                jpegs = [pool.submit(encoder.encode, image) for image in painted]
                pending.extend(zip(names.numpy(), jpegs, strict=True))
            elif pending:
                name, jpeg = pending.popleft()
                submission.add(name.decode("utf-8", "replace"), jpeg.result())
                show(submission.count)
            else:
                break


def disk_full_error(path: str, archive: zipfile.ZipFile | None, wanted: int) -> UserError:
    """The error for a disk too full for the submission, with an estimate from the images written so far."""
    sizes = [info.file_size for info in archive.infolist()] if archive else []
    needed = wanted * (sum(sizes) / len(sizes) if sizes else TYPICAL_JPEG_BYTES)
    folder = os.path.dirname(os.path.abspath(path))
    return UserError(f"The disk is full: {path} needs about {needed / 1e6:.0f} MB in {folder}, where "
                     f"{shutil.disk_usage(folder).free / 1e6:.0f} MB are free. Free some space or give another --out, "
                     "then run `generate` again; an earlier file is untouched.")


def generate_submission(paint, photos: ImageSet, path: str, config: Config,
                        is_late: Callable[[], bool] = never, monet: ImageSet | None = None) -> int:
    """Paints the photos and writes the submission to `path`, as a whole or not at all.

    If there are fewer photos than images wanted, mirrored photos and then random crops make up the rest.

    Args:
        paint: a function from float32 `[PAINT_BATCH, 256, 256, 3]` in [-1, 1] to the painted images, array or tensor.
        photos: the photos; only the first are painted if there are more than wanted.
        path: the zip to write.
        config: gives seed, num_images, image_names and how JPEGs are compressed.
        is_late: whether to stop painting, and to write what is painted.
        monet: the paintings that `config.match_jpeg` takes as models; None: no models.

    Returns:
        The number of images in the zip.

    Raises:
        UserError: if the photos cannot be read, the zip cannot be written (a full disk), or the paintings are not
            finite. An earlier file at `path` then stays as it was, as it does after Ctrl-C.
    """
    wanted, archive, started = number_of_images(photos, config), None, time.monotonic()
    LOG.info("Painting %d images: %d originals and %d variants", wanted, min(wanted, photos.count),
             max(0, wanted - photos.count))
    encoder = JpegEncoder(config, monet)
    try:
        with (atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w") as archive,
              progress_bar("Painting", wanted) as show):
            submission = SubmissionZip(archive, wanted, config.image_names)
            paint_into_zip(submission, paint, encoder, photos, config, show, is_late)
    except UserError as error:
        if isinstance(error.__cause__, OSError) and out_of_space(error.__cause__):
            raise disk_full_error(path, archive, wanted) from error.__cause__
        raise
    seconds = time.monotonic() - started
    count = submission.count
    LOG.info("Painted, encoded and zipped %d images in %.0f s, %.1f per second", count, seconds, count / seconds)
    if submission.duplicates:
        LOG.warning("%d paintings equalled others: their photos are equal, or the network paints them alike",
                    submission.duplicates)
    return count


def rehearse_submission(paint, photos: ImageSet, config: Config) -> float:
    """Estimates the seconds to paint, zip and check the submission, by doing so with a few images in memory.

    Timing two numbers of images separates the time per image from what is constant, such as opening files. A first,
    untimed round traces the network.

    Raises:
        UserError: if the photos cannot be read, or the paintings are not finite.
    """
    def seconds_for(count: int) -> float:
        started = time.monotonic()
        with zipfile.ZipFile(io.BytesIO(), "w") as archive:
            submission = SubmissionZip(archive, count, config.image_names)
            paint_into_zip(submission, paint, encoder, photos, config, lambda done: None)
            find_problems(list(zip_entries(archive)), 0)
        return time.monotonic() - started

    wanted, encoder = number_of_images(photos, config), JpegEncoder(config)
    _, few, more = (seconds_for(count) for count in (PAINT_BATCH, PAINT_BATCH, REHEARSED))
    # Both times are noisy: assume at least half of the larger round's average per image.
    per_image = max((more - few) / (REHEARSED - PAINT_BATCH), more / REHEARSED / 2)
    return more + max(wanted - REHEARSED, 0) * per_image
