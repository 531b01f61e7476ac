"""The two sets of images, paintings and photos, and how to read them."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from monet.core.config import look_up
from monet.core.file_names import printable
from monet.data.formats import COMPETITION_RECORDS, IMAGE_FILES, TFDS_RECORDS, Format
from monet.data.npy import NPY_ARRAY
from monet.data.storage import raw_paths

FORMATS = {"tfrec": COMPETITION_RECORDS, "images": IMAGE_FILES, "tfds": TFDS_RECORDS, "npy": NPY_ARRAY}


@dataclass(frozen=True)
class ImageSet:
    """The images of one domain.

    Attributes:
        files: TFRecord files, image files or one .npy file, sorted.
        kind: key of `FORMATS`.
        count: number of usable images, `skipped` not included.
        skipped: positions in reading order of the images that cannot be decoded.
        turned: number of images that their EXIF data turn; at least 1 if that is not known.
        fingerprint: the same for the same pictures in any order and any folder; 0 if it is not known.
        apart: positions in reading order of the usable images that are in other parts of the set (`part_of`). Files,
            `skipped`, `turned` and `fingerprint` are those of the whole set.
    """

    files: tuple[str, ...]
    kind: str
    count: int
    skipped: tuple[int, ...] = ()
    turned: int = 1
    fingerprint: int = 0
    apart: tuple[int, ...] = ()


@dataclass(frozen=True)
class Data:
    """Both domains.

    Attributes:
        root: folder or address that contains the files.
        monet: the paintings to train on.
        photo: the photos.
        is_sample: the images are the built-in sample (the root contains a file named SAMPLE).
        held_out: the paintings that are not trained on (`split_data`); None: there are none.
    """

    root: str
    monet: ImageSet
    photo: ImageSet
    is_sample: bool
    held_out: ImageSet | None = None

    def describe(self) -> str:
        """Returns a line for the log: the number of images, their formats and their folder."""
        formats = [f" in {format_of(image_set.kind).label}" for image_set in (self.monet, self.photo)]
        if formats[0] == formats[1]:
            formats[0] = ""
        held_out = f" to train on, {self.held_out.count:,} held out," if self.held_out else ""
        line = (f"{self.monet.count:,} paintings{held_out}{formats[0]} and {self.photo.count:,} photos{formats[1]} "
                f"below {printable(self.root)}")
        skipped = len(self.monet.skipped) + len(self.photo.skipped)
        if skipped:
            line += f", {skipped:,} that cannot be decoded left out"
        turned = self.monet.turned + self.photo.turned
        if turned:
            line += f", {turned:,} turned upright by their EXIF data"
        return line + " (the built-in sample, drawn by the program: no real paintings)" * self.is_sample


def format_of(kind: str) -> Format:
    """Returns the format `kind`, a key of `FORMATS`.

    Raises:
        UserError: if this is a bundle without that format.
    """
    return look_up(FORMATS, kind, "data")


def list_rows(kind: str, files) -> tf.data.Dataset:
    """Returns the rows of the format's `files` in order: a dataset of (image_name, row), scalar strings."""
    options = tf.data.Options()
    # The autotuning thread sleeps for up to a minute at a time and sometimes misses its wake-up, which delays the end
    # of the program by that long.
    options.autotune.enabled = False
    return format_of(kind).list_rows(files).with_options(options)


def read_examples(image_set: ImageSet) -> tf.data.Dataset:
    """Returns the usable images of a set, each once, always in the same order.

    Returns:
        A dataset of {"image_name": scalar string, "image": scalar string of JPEG or PNG bytes}.
    """
    rows = list_rows(image_set.kind, raw_paths(image_set.files))
    if left_out := [*image_set.skipped, *image_set.apart]:
        kept = np.ones(image_set.count + len(left_out), bool)
        kept[left_out] = False
        rows = rows.enumerate().filter(lambda position, _: tf.gather(kept, position)).map(lambda _, row: row)
    examples = rows.map(format_of(image_set.kind).load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return examples.apply(tf.data.experimental.assert_cardinality(image_set.count))
