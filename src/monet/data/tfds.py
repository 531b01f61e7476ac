"""TensorFlow Datasets by name, such as tfds:cycle_gan/horse2zebra: prepares the dataset and returns its files."""

import logging
import os
import sys

import numpy as np

from monet.core.errors import LOG, UserError

SPLITS = ("trainA", "trainB")  # the paintings and the photos, as in CycleGAN's folders
EXAMPLE = "such as tfds:cycle_gan/monet2photo"


def import_tfds(address: str):
    """Returns the package tensorflow_datasets.

    Raises:
        UserError: if it is not installed.
    """
    try:
        import tensorflow_datasets  # imported here because it is an extra that few runs need
    except ImportError as error:
        raise UserError(f"{address} needs the package tensorflow-datasets, which is not installed ({error}). "
                        "Install it: make setup EXTRAS=tfds.") from error
    if not logging.getLogger().handlers:  # else the package adds one there, which would repeat every log line
        logging.getLogger().addHandler(logging.NullHandler())
    return tensorflow_datasets


def first_line(error: Exception) -> str:
    """Returns the first line of the error's message: tensorflow-datasets adds pages of advice and names."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def open_builder(tfds, address: str):
    """Returns the builder of the dataset `address`. Nothing is downloaded.

    Raises:
        UserError: if the dataset is unknown or contains no 8-bit images.
    """
    try:
        # tensorflow-datasets itself reads this variable only once, when it is imported.
        builder = tfds.builder(address.removeprefix("tfds:"), data_dir=os.environ.get("TFDS_DATA_DIR"))
    except Exception as error:  # a dataset is a program, which may raise anything
        raise UserError(f"{address} cannot be opened ({first_line(error)}). Check the name, {EXAMPLE}; all names are "
                        "at https://www.tensorflow.org/datasets/catalog.") from error
    features = dict(builder.info.features.items())
    image = features.get("image")
    if not isinstance(image, tfds.features.Image) or image.np_dtype != np.uint8:
        raise UserError(f"{address} has no feature `image` of 8-bit images; its features are {', '.join(features)}. "
                        f"Give a dataset of images, {EXAMPLE}.")
    return builder


def prepare(tfds, builder, address: str) -> None:
    """Downloads the dataset and writes its TFRecords, unless that is done already.

    Raises:
        UserError: if that fails, for whatever reason.
    """
    if not builder.is_prepared():
        LOG.info("Downloading and preparing %s in %s. This is done once; a broken connection is retried for minutes.",
                 address, builder.data_dir)
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    try:
        builder.download_and_prepare()
    except Exception as error:  # as above
        cause = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{address} could not be downloaded and prepared ({cause}). Check the network and the free "
                        f"space in {builder.data_dir}, and try again.") from error


def split_files(builder, address: str, split: str) -> tuple[str, ...]:
    """Returns the TFRecord files of a split of the prepared dataset, in order.

    Raises:
        UserError: if there is no such split, or it was prepared in another file format.
    """
    if split not in builder.info.splits:
        raise UserError(f"{address} has no split {split}, only {', '.join(builder.info.splits)}. Give a dataset with "
                        f"{' and '.join(SPLITS)}, {EXAMPLE}.")
    file_format = builder.info.file_format.value
    if file_format != "tfrecord":
        raise UserError(f"{builder.data_dir} contains {address} as {file_format} files, not as TFRecords. Delete that "
                        "folder, or set TFDS_DATA_DIR to another, and it is prepared again.")
    return tuple(str(path) for path in builder.info.splits[split].filepaths)


def find_tfds(address: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Returns the folder of the dataset and the TFRecord files of its two `SPLITS`; downloads it if necessary.

    Args:
        address: tfds:NAME, optionally with a config and a version.

    Raises:
        UserError: if the dataset is unknown, unsuitable or cannot be downloaded, or tensorflow-datasets is missing.
    """
    tfds = import_tfds(address)
    builder = open_builder(tfds, address)
    prepare(tfds, builder, address)
    paintings, photos = (split_files(builder, address, split) for split in SPLITS)
    return str(builder.data_dir), paintings, photos
