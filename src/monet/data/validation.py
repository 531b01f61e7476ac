"""Finds the data and reads every image once before a run."""

import os

import tensorflow as tf

from monet.core.errors import LOG, UserError
from monet.core.pixels import decode_image
from monet.data.layouts import find_layout
from monet.data.read_errors import damaged_file_error, explain_read_errors
from monet.data.records import Data, ImageSet, format_of, list_rows

MAX_SKIPPED = 0.01  # share of a set that may fail to decode; above it, the whole set is considered broken
NAMES_LISTED = 5  # undecodable images to name in a message


def is_decodable(encoded: tf.Tensor) -> tf.Tensor:
    """Returns whether `decode_image` accepts the bytes, as a scalar bool. For use inside a graph."""
    # A dataset of one image: `ignore_errors` on the whole dataset would also hide truncated files.
    decoded = tf.data.Dataset.from_tensors(encoded).map(lambda image: tf.size(decode_image(image)) > 0)
    return decoded.ignore_errors().concatenate(tf.data.Dataset.from_tensors(False)).take(1).get_single_element()


@tf.function(reduce_retracing=True, autograph=False)  # traced once per kind, not once per file
def decode_all(kind: str, files: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Reads and tries to decode every image of `files`, a string tensor [n].

    Returns:
        The number of rows, their total length in bytes, and the positions and names of the undecodable images.
    """
    def check(name, row):
        example = format_of(kind).load(name, row)
        return tf.strings.length(row), example["image_name"], is_decodable(example["image"])

    def add(state, numbered_row):
        position, (length, name, decodable) = numbered_row
        count, total_length, positions, names = state
        times = tf.cast(tf.logical_not(decodable), tf.int32)  # append the undecodable once, the others not at all
        return (count + 1, total_length + tf.cast(length, tf.int64),
                tf.concat([positions, tf.repeat(position, times)], 0), tf.concat([names, tf.repeat(name, times)], 0))

    checked = list_rows(kind, files).map(check, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    zero = tf.constant(0, tf.int64)
    return checked.enumerate().reduce((zero, zero, tf.zeros([0], tf.int64), tf.zeros([0], tf.string)), add)


def check_files(kind: str, files: list[str]) -> tuple[int, list[int], list[str]]:
    """Reads and decodes all of `files`, one TFRecord file or any number of image files.

    Returns:
        The number of images, and the positions and names of those that cannot be decoded.

    Raises:
        UserError: if a file is damaged, empty or unreadable, or a record has no image.
    """
    path = os.path.dirname(files[0]) if kind == "images" else files[0]
    with explain_read_errors(path), tf.device("/cpu:0"):
        count, length, positions, names = (part.numpy() for part in decode_all(kind, tf.constant(files)))
        # TensorFlow mistakes a cut inside a record's header (8 bytes of length, 4 of checksum) for the end of the file.
        # So compare the file's size with the rows, plus header and 4 more bytes of checksum for each.
        if kind != "images" and length + 16 * count != tf.io.gfile.stat(path).length:
            raise damaged_file_error(path, f"it ends in the middle of record {count + 1:,}")
    if not count:
        raise UserError(f"{path} contains no records. Copy or download it again, or delete it if it is not needed.")
    return int(count), positions.tolist(), [name.decode(errors="replace") for name in names]


def check_image_set(kind: str, files: tuple[str, ...], label: str) -> ImageSet:
    """Decodes every image of `files` once and returns their ImageSet.

    Args:
        kind: key of `FORMATS`.
        files: as in ImageSet.
        label: name of the set in messages.

    Raises:
        UserError: as `check_files`, and if more than `MAX_SKIPPED` of the images cannot be decoded.
    """
    count_images = format_of(kind).count
    if count_images:
        with explain_read_errors(files[0]):
            return ImageSet(files, kind, count_images(files[0]))
    # TFRecords one at a time, so that an error can name the file; image files together, as their errors name them.
    groups = [list(files)] if kind == "images" else [[file] for file in files]
    total, skipped, skipped_names = 0, [], []
    for group in groups:
        count, positions, names = check_files(kind, group)
        skipped += [total + position for position in positions]
        skipped_names += names
        total += count
    if skipped:
        listed = ", ".join(skipped_names[:NAMES_LISTED]) + ", …" * (len(skipped) > NAMES_LISTED)
        sentence = f"{len(skipped):,} of {total:,} {label} cannot be decoded as JPEG or PNG: {listed}."
        if len(skipped) > MAX_SKIPPED * total:
            raise UserError(f"{sentence} With more than {MAX_SKIPPED:.0%}, the data is probably broken: copy or "
                            "download it again.")
        LOG.warning("%s They are left out.", sentence)
    return ImageSet(files, kind, total - len(skipped), tuple(skipped))


def find_data(root: str, swap_sides: bool = False) -> Data:
    """Finds the images at `root` and decodes each of them once as a check, except the raw pixels of .npy files.

    Args:
        root: local folder or gs:// address with one of the known layouts, not searched any deeper; or the address of a
            TensorFlow dataset (tfds:NAME), which is downloaded if necessary.
        swap_sides: use the second set (photo_tfrec, photo_jpg, trainB) as the paintings.

    Raises:
        UserError: if there is nothing to train on or it cannot be read.
    """
    root = os.path.expanduser(root)
    root = root.rstrip("/") or root
    if root.startswith("gs://"):
        LOG.info("Reading every image of %s once. TensorFlow retries a broken connection for some minutes.", root)
    with explain_read_errors(root):
        folder, monet, photo = find_layout(root)
        is_sample = tf.io.gfile.exists(tf.io.gfile.join(folder, "SAMPLE"))
    if swap_sides:
        monet, photo = photo, monet
    return Data(folder, check_image_set(*monet, "paintings"), check_image_set(*photo, "photos"), is_sample)
