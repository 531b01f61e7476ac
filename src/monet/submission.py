"""The submission: paint every photo, encode, stream into images.zip; and the check of what Kaggle would refuse."""

import collections
import hashlib
import io
import os
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from PIL import Image

from monet.config import FEWEST_IMAGES, LOG, MOST_IMAGES, SUBMISSION_SIZE, Config, UserError
from monet.files import out_of_space, whole_file
from monet.painting import encode_jpeg, progress, safe_name, unique_name
from monet.pipeline import resized, scaled
from monet.records import ImageSet, decode_image, explained, read_examples

PAINT_BATCH = 16  # images a call of the network: the same in every call, so that it is traced once
REHEARSED = 4 * PAINT_BATCH  # images that are painted and zipped to see how long all of them will take
PENDING_IMAGES = 2 * PAINT_BATCH  # painted images that may wait for an encoder
CPU_THREADS = min(8, os.cpu_count() or 1)  # that encode and decode; Pillow releases the interpreter's lock
CROP_SCALES = (0.8, 0.97)  # side of a cropped variant's part of the photo
GUESSED_BYTES = 50_000  # of a JPEG, before any is written: photos take 45,000 at quality 95

ZIP_NAME = "images.zip"
MOST_BYTES = 20 << 20  # of a file that `check` reads: a 256x256 picture has no use for more
JPEG_START, JPEG_SCAN, JPEG_END = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"
UNREADABLE_ENTRY = (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError)
NAMES_SHOWN = 5


def number_of_images(photos: ImageSet, config: Config) -> int:
    """How many images the submission has: `config.num_images`, or every photo once but 7,000 to 10,000 in any case."""
    return config.num_images or min(max(photos.count, FEWEST_IMAGES), MOST_IMAGES)


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
        image = scaled(resized(decode_image(example["image"]), SUBMISSION_SIZE))
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
                with explained(os.path.dirname(photos.files[0])):
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
        with (whole_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive,
              progress("Painting", wanted) as show):
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


@dataclass(frozen=True)
class Entry:
    """A file of a submission, in the zip or in the folder."""

    name: str  # with folders, if any
    size: int  # bytes, as the zip's directory or the file system says
    encrypted: bool
    read: Callable[[], bytes]


def zip_entries(archive: zipfile.ZipFile) -> Iterator[Entry]:
    """The entries of an open zip; reading one compares its checksum."""
    for info in archive.infolist():
        yield Entry(info.filename, info.file_size, bool(info.flag_bits & 1), lambda info=info: archive.read(info))


def folder_entries(folder: str) -> Iterator[Entry]:
    """What lies in `folder`, sorted by name; folders in it end with a slash, as in a zip."""
    for item in sorted(os.scandir(folder), key=lambda item: item.name):
        def read(path=item.path) -> bytes:
            with open(path, "rb") as file:
                return file.read(MOST_BYTES)

        is_file = item.is_file()
        yield Entry(item.name if is_file else f"{item.name}/", item.stat().st_size if is_file else 0, False, read)


def is_jpg_name(name: str) -> bool:
    """Whether the name is one of a picture at the top of the zip."""
    return name.endswith(".jpg") and not name.startswith(".") and not set(name) & set("/\\")


def fault_of_jpeg(data: bytes) -> str:
    """What is wrong with the bytes of a picture; empty if nothing is."""
    if not data.startswith(JPEG_START):
        return "Not a JPEG, whatever the name says"
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            if image.mode != "RGB":
                return "Not RGB"
            if image.size != (SUBMISSION_SIZE, SUBMISSION_SIZE):
                return f"Not {SUBMISSION_SIZE}x{SUBMISSION_SIZE} pixels"
            image.load()
    except (*UNREADABLE_ENTRY, SyntaxError, Image.DecompressionBombError):
        return "Cut off or damaged JPEG"
    # Decoders take zeros for image data: a file that a crash left without its tail. Within a scan's data the marker
    # for the end cannot occur.
    return "" if data.rfind(JPEG_END) > data.rfind(JPEG_SCAN) else "Cut off or damaged JPEG"


def examine(entry: Entry) -> tuple[str, bytes]:
    """What is wrong with one file, empty if nothing is, and a digest of its bytes, empty if they were not read."""
    if not is_jpg_name(entry.name):
        return "No place in a submission, which holds only NAME.jpg without folders", b""
    if entry.encrypted:
        return "Encrypted", b""
    if entry.size > MOST_BYTES:
        return f"Larger than {MOST_BYTES >> 20} MB", b""
    try:
        data = entry.read()
    except UNREADABLE_ENTRY:
        return "Unreadable, or not passing the zip's checksum", b""
    return fault_of_jpeg(data), hashlib.sha1(data, usedforsecurity=False).digest()


def list_names(names: list[str]) -> str:
    """The first few names, and how many more there are; what a terminal could mind is replaced."""
    shown = ["".join(c if c.isprintable() else "?" for c in name) for name in names[:NAMES_SHOWN]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def problems_of(entries: list[Entry], fewest: int) -> list[str]:
    """The sentences of `check` about a submission's files."""
    with ThreadPoolExecutor(CPU_THREADS) as pool:
        results = list(pool.map(examine, entries))
    faults, first_of = collections.defaultdict(list), {}
    names = collections.Counter(entry.name for entry in entries)
    faults["Name used more than once"] = [name for name, times in names.items() if times > 1]
    for entry, (fault, digest) in zip(entries, results, strict=True):
        if fault:
            faults[fault].append(entry.name)
        if digest in first_of:
            faults["The same picture again"].append(f"{entry.name} (= {first_of[digest]})")
        elif digest:
            first_of[digest] = entry.name
    count = sum(is_jpg_name(entry.name) for entry in entries)
    problems = [f"{fault}: {list_names(found)} ({len(found):,} in all)." for fault, found in faults.items() if found]
    if not fewest <= count <= MOST_IMAGES:
        problems.insert(0, f"The number of pictures is {count:,}: Kaggle takes {FEWEST_IMAGES:,} to {MOST_IMAGES:,}.")
    return problems


def check(path: str, fewest: int = FEWEST_IMAGES) -> list[str]:
    """What Kaggle would refuse, as far as known, about a submission; nothing is unpacked.

    Args:
        path: a zip, a folder with an images.zip, or a folder of pictures.
        fewest: the least number of pictures to accept.

    Returns:
        The problems, sentences that name the first few offending files; empty if there are none.

    Raises:
        UserError: if there is nothing at `path`, or it may not be read.
    """
    inner = os.path.join(path, ZIP_NAME)
    path = inner if os.path.isfile(inner) else path
    try:
        if os.path.isdir(path):
            entries = list(folder_entries(path))
            if not any(is_jpg_name(entry.name) for entry in entries):
                raise UserError(f"{path} holds no {ZIP_NAME} and no pictures. `make local-train` writes one; or name "
                                "the zip or folder to check.")
            return problems_of(entries, fewest)
        with zipfile.ZipFile(path) as archive:
            return problems_of(list(zip_entries(archive)), fewest)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}). Give an images.zip, or a folder with "
                        "it or with the pictures.") from None
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        return [f"{path} is no readable zip: {error}."]
