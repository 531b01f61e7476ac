"""The formats that images are read from: competition TFRecords, image files and the records of TensorFlow Datasets.

Every format yields examples `{"image_name": scalar string, "image": scalar string of JPEG or PNG bytes}`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

# The features to read. The competition's records also have a `target`, which is the same in every record.
IMAGE_FEATURES = {
    "image_name": tf.io.FixedLenFeature([], tf.string),
    "image": tf.io.FixedLenFeature([], tf.string),
}


@dataclass(frozen=True)
class Format:
    """How to read the images in one kind of file.

    Attributes:
        label: name of the format in messages.
        list_rows: function from paths, strings `[n]`, to a dataset of (image_name, row) in order, scalar strings.
        load: function from (image_name, row) to an example.
        identify: function from a path to the number of images and a fingerprint, if the file's header gives the number
            and every byte is a valid pixel; None if the images have to be decoded to be checked.
    """

    label: str
    list_rows: Callable
    load: Callable
    identify: Callable | None = None


def number_rows(path: tf.Tensor, rows: tf.data.Dataset) -> tf.data.Dataset:
    """Names the rows of the file at `path` by the file's name and their number: a dataset of (image_name, row)."""
    stem = tf.strings.regex_replace(path, r"^\C*/|\.npy$|\.tfrecord", "")
    return rows.enumerate().map(lambda number, row: (tf.strings.join([stem, tf.strings.as_string(number)], "-"), row))


def list_competition_records(files) -> tf.data.Dataset:
    """Rows are serialized examples. Their names are left empty, because the examples contain them."""
    return tf.data.TFRecordDataset(files).map(lambda record: ("", record))


def list_image_files(files) -> tf.data.Dataset:
    """Rows are the paths. Names are the file names without folder and suffix."""
    return tf.data.Dataset.from_tensor_slices((tf.strings.regex_replace(files, r"^\C*/|\.[^./]*$", ""), files))


def list_tfds_records(files) -> tf.data.Dataset:
    """Rows are serialized examples without a name, so they are numbered."""
    return tf.data.Dataset.from_tensor_slices(files).flat_map(
        lambda path: number_rows(path, tf.data.TFRecordDataset(path)))


def parse_competition_record(name: tf.Tensor, record: tf.Tensor) -> dict[str, tf.Tensor]:
    """Parses a record with both `IMAGE_FEATURES`."""
    return tf.io.parse_single_example(record, IMAGE_FEATURES)


def parse_tfds_record(name: tf.Tensor, record: tf.Tensor) -> dict[str, tf.Tensor]:
    """Parses a record that has only the image."""
    return {"image_name": name, **tf.io.parse_single_example(record, {"image": IMAGE_FEATURES["image"]})}


def load_image_file(name: tf.Tensor, path: tf.Tensor) -> dict[str, tf.Tensor]:
    """Reads an image file."""
    return {"image_name": name, "image": tf.io.read_file(path)}


COMPETITION_RECORDS = Format("TFRecords", list_competition_records, parse_competition_record)
IMAGE_FILES = Format("image files", list_image_files, load_image_file)
TFDS_RECORDS = Format("a TensorFlow dataset", list_tfds_records, parse_tfds_record)
