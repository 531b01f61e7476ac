"""Find, check, count, read and write the images of both sides, in any of four forms, local or on gs://."""

from collections.abc import Iterable
from dataclasses import dataclass

import tensorflow as tf

from monet.core.files import atomic_write
from monet.data.npy import array_pictures

# What reading needs; the competition's records also hold a `target`, the same word in every record.
IMAGE_FEATURES = {
    "image_name": tf.io.FixedLenFeature([], tf.string),
    "image": tf.io.FixedLenFeature([], tf.string),
}
# What files of each kind are called in messages.
FORMS = {"tfrec": "TFRecords", "images": "image files", "tfds": "a TensorFlow dataset", "npy": ".npy arrays"}


@dataclass(frozen=True)
class ImageSet:
    """One side of the data: where its images lie and which of them can be used."""

    files: tuple[str, ...]  # TFRecord files, image files or one .npy file, sorted
    kind: str  # "tfrec" or "images", "tfds" (TFRecords of a TensorFlow dataset) or "npy"
    count: int  # usable images: those of `skipped` are not among them
    skipped: tuple[int, ...] = ()  # positions, in reading order, of the images that cannot be decoded


@dataclass(frozen=True)
class Data:
    """Both sides of the data."""

    root: str
    monet: ImageSet
    photo: ImageSet
    is_sample: bool  # drawn by the program: a file named SAMPLE lies in the root

    def describe(self) -> str:
        """One line for the log: how many images, in what form, and where."""
        forms = [f" in {FORMS[side.kind]}" for side in (self.monet, self.photo)]
        if forms[0] == forms[1]:
            forms[0] = ""
        line = f"{self.monet.count:,} paintings{forms[0]} and {self.photo.count:,} photos{forms[1]} below {self.root}"
        left_out = len(self.monet.skipped) + len(self.photo.skipped)
        if left_out:
            line += f", {left_out:,} that cannot be decoded left out"
        return line + " (the built-in sample, drawn by the program: no real paintings)" * self.is_sample


def parse_example(name: tf.Tensor, record: tf.Tensor) -> dict[str, tf.Tensor]:
    """The features {"image_name", "image"} of one serialized tf.train.Example, scalar strings; `name` is not used."""
    return tf.io.parse_single_example(record, IMAGE_FEATURES)


def parse_nameless(name: tf.Tensor, record: tf.Tensor) -> dict[str, tf.Tensor]:
    """The same features of a record that holds no name."""
    return {"image_name": name, **tf.io.parse_single_example(record, {"image": IMAGE_FEATURES["image"]})}


def load_image_file(name: tf.Tensor, path: tf.Tensor) -> dict[str, tf.Tensor]:
    """The same features from an image file."""
    return {"image_name": name, "image": tf.io.read_file(path)}


def take_picture(name: tf.Tensor, picture: tf.Tensor) -> dict[str, tf.Tensor]:
    """The same features of a picture that is in memory."""
    return {"image_name": name, "image": picture}


LOADERS = {"tfrec": parse_example, "images": load_image_file, "tfds": parse_nameless, "npy": take_picture}


def numbered(path: tf.Tensor, rows: tf.data.Dataset) -> tf.data.Dataset:
    """Pairs of a name and a row, for the rows of the file `path`: the name is the file's and the row's number."""
    stem = tf.strings.regex_replace(path, r"^.*/|\.npy$|\.tfrecord", "")
    return rows.enumerate().map(lambda number, row: (tf.strings.join([stem, tf.strings.as_string(number)], "-"), row))


def list_rows(kind: str, files) -> tf.data.Dataset:
    """What the `LOADERS` take, in order: pairs of a name and a row, scalar strings.

    The rows are the records in TFRecord `files`, the paths of image `files`, or the pictures in an .npy file. The name
    of an image file is without folder and suffix; that of the competition's records is empty here, as they hold it.
    """
    if kind == "npy":
        rows = numbered(files[0], array_pictures(files[0]))
    elif kind == "tfds":
        paths = tf.data.Dataset.from_tensor_slices(files)
        rows = paths.flat_map(lambda path: numbered(path, tf.data.TFRecordDataset(path)))
    elif kind == "images":
        rows = tf.data.Dataset.from_tensor_slices((tf.strings.regex_replace(files, r"^.*/|\.[^./]*$", ""), files))
    else:
        rows = tf.data.TFRecordDataset(files).map(lambda record: ("", record))
    options = tf.data.Options()
    # Its thread sleeps up to a minute at a time, and now and then is not woken: the program then ended that much later.
    options.autotune.enabled = False
    return rows.with_options(options)


def read_examples(image_set: ImageSet) -> tf.data.Dataset:
    """The usable images of a set, once, always in the same order.

    Returns:
        A dataset of {"image_name": scalar string, "image": scalar string, encoded}.
    """
    rows = list_rows(image_set.kind, list(image_set.files))
    if image_set.skipped:
        skipped = tf.constant(image_set.skipped, tf.int64)
        rows = rows.enumerate().filter(lambda position, _: tf.reduce_all(position != skipped)).map(lambda _, row: row)
    examples = rows.map(LOADERS[image_set.kind], num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return examples.apply(tf.data.experimental.assert_cardinality(image_set.count))


def write_records(path: str, rows: Iterable[tuple[str, bytes]], target: str) -> None:
    """Writes a TFRecord file in the competition's layout to `path`, a local file, whole or not at all.

    Args:
        rows: Pairs of image_name and encoded picture.
        target: What every record's `target` says ("monet" or "photo" in the competition).
    """
    with atomic_write(path) as temporary, tf.io.TFRecordWriter(temporary) as writer:
        for name, image in rows:
            texts = {"image_name": name.encode(), "image": image, "target": target.encode()}
            features = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[text]))
                        for key, text in texts.items()}
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
