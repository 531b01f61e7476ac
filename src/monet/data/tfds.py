"""A dataset of TensorFlow Datasets by name, as in tfds:cycle_gan/horse2zebra: prepared if need be, and its files."""

import logging
import os
import sys

import numpy as np

from monet.core.errors import LOG, UserError

TFDS = "tfds:"  # what such a --data begins with
SPLITS = ("trainA", "trainB")  # the paintings and the photos, as in CycleGAN's folders
FOR_EXAMPLE = f"such as {TFDS}cycle_gan/monet2photo"


def import_tfds(address: str):
    """The package tensorflow_datasets.

    Raises:
        UserError: if it is not installed.
    """
    try:
        import tensorflow_datasets  # here, because it is an extra that few runs need
    except ImportError as error:
        raise UserError(f"{address} is read by the package tensorflow-datasets, which is not installed ({error}). "
                        "Install it: make setup EXTRAS=tfds.") from error
    if not logging.getLogger().handlers:  # or the package makes one there, which says every line of ours again
        logging.getLogger().addHandler(logging.NullHandler())
    return tensorflow_datasets


def first_line(error: Exception) -> str:
    """What an error of tensorflow-datasets says, without the pages of advice and names below it."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def open_builder(tfds, address: str):
    """What tensorflow-datasets knows of the dataset `address`; nothing is downloaded.

    Raises:
        UserError: if it does not know it, or the dataset holds no pictures.
    """
    try:
        # The variable is tensorflow-datasets' own, but it looks at it only once, when it is imported.
        builder = tfds.builder(address.removeprefix(TFDS), data_dir=os.environ.get("TFDS_DATA_DIR"))
    except Exception as error:  # every dataset is a program of its own, which may raise anything
        raise UserError(f"{address} cannot be opened ({first_line(error)}). Check the name, {FOR_EXAMPLE}; all are at "
                        "https://www.tensorflow.org/datasets/catalog.") from error
    features = dict(builder.info.features.items())
    image = features.get("image")
    if not isinstance(image, tfds.features.Image) or image.np_dtype != np.uint8:
        raise UserError(f"{address} has no feature `image` of 8-bit pictures; its features are {', '.join(features)}. "
                        f"Give a dataset of pictures, {FOR_EXAMPLE}.")
    return builder


def prepare(tfds, builder, address: str) -> None:
    """Downloads the dataset and writes its TFRecords, unless they are there.

    Raises:
        UserError: if that fails, for whatever reason.
    """
    if not builder.is_prepared():
        LOG.info("Downloading and preparing %s into %s, once. A broken connection is retried for some minutes.",
                 address, builder.data_dir)
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    try:
        builder.download_and_prepare()
    except Exception as error:  # as above
        what = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{address} could not be downloaded and prepared ({what}). Check the network, and the space in "
                        f"{builder.data_dir}, and try again.") from error


def split_files(builder, address: str, split: str) -> tuple[str, ...]:
    """The TFRecord files of a split of the prepared dataset, in order.

    Raises:
        UserError: if it has no such split, or was prepared in another format.
    """
    if split not in builder.info.splits:
        raise UserError(f"{address} has no split {split}, only {', '.join(builder.info.splits)}. Give a dataset with "
                        f"{' and '.join(SPLITS)}, {FOR_EXAMPLE}.")
    form = builder.info.file_format.value
    if form != "tfrecord":
        raise UserError(f"{builder.data_dir} holds {address} as {form} files, not as TFRecords. Delete that folder, or "
                        "let TFDS_DATA_DIR name another, and it is prepared anew.")
    return tuple(str(path) for path in builder.info.splits[split].filepaths)


def find_tfds(address: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The folder of the dataset `address` and the TFRecord files of its two `SPLITS`, downloaded if need be.

    Args:
        address: `TFDS` and the dataset's name, with its config and version if need be.

    Raises:
        UserError: if it is unknown or not of this kind, or cannot be had; or tensorflow-datasets is not installed.
    """
    tfds = import_tfds(address)
    builder = open_builder(tfds, address)
    prepare(tfds, builder, address)
    paintings, photos = (split_files(builder, address, split) for split in SPLITS)
    return str(builder.data_dir), paintings, photos
