"""Finds the data and reads every image once before a run."""

import os
from typing import NamedTuple

import tensorflow as tf

from monet.core.errors import LOG, UserError
from monet.core.file_names import list_names
from monet.core.pixels import decode_image, exif_orientation
from monet.core.progress import progress_bar
from monet.data.layouts import find_layout
from monet.data.read_errors import damaged_file_error, explain_read_errors
from monet.data.records import Data, ImageSet, format_of, list_rows
from monet.data.storage import file_size, path_exists, raw_paths

MAX_SKIPPED = 0.01  # share of a set that may fail to decode; above it, the whole set is considered broken
FILES_AT_ONCE = 256  # image files to check before progress is shown
FINGERPRINTS = 1 << 40  # number of different fingerprints


def is_decodable(encoded: tf.Tensor) -> tf.Tensor:
    """Returns whether `decode_image` accepts the bytes, as a scalar bool. For use inside a graph."""
    # A dataset of one image: `ignore_errors` on the whole dataset would also hide truncated files. EXIF data
    # cannot make an image undecodable.
    decoded = tf.data.Dataset.from_tensors(encoded).map(lambda image: tf.size(decode_image(image, exif=False)) > 0)
    return decoded.ignore_errors().concatenate(tf.data.Dataset.from_tensors(False)).take(1).get_single_element()


class Checked(NamedTuple):
    """What `decode_all` finds: scalars of int64, and for the undecodable images a tensor `[n]` each."""

    count: tf.Tensor  # of rows
    length: tf.Tensor  # of all rows together, in bytes
    turned: tf.Tensor  # number of images that their EXIF data turn
    fingerprint: tf.Tensor  # sum of the images' hashes, in which their order does not matter
    positions: tf.Tensor  # int64, of the undecodable images
    names: tf.Tensor  # strings, of the undecodable images


@tf.function(reduce_retracing=True, autograph=False)  # traced once per kind, not once per file
def decode_all(kind: str, files: tf.Tensor) -> Checked:
    """Reads and tries to decode every image of `files`, a string tensor [n]."""
    def check(name, row):
        example = format_of(kind).load(name, row)
        image = example["image"]
        decodable = is_decodable(image)
        turned = tf.logical_and(decodable, exif_orientation(image) > 1)
        return (tf.cast(tf.strings.length(row), tf.int64), tf.cast(turned, tf.int64),
                tf.strings.to_hash_bucket_fast(image, FINGERPRINTS), decodable, example["image_name"])

    def add(state, numbered_row):
        position, (length, turned, fingerprint, decodable, name) = numbered_row
        times = tf.cast(tf.logical_not(decodable), tf.int32)  # append the undecodable once, the others not at all
        return Checked(state.count + 1, state.length + length, state.turned + turned, state.fingerprint + fingerprint,
                       tf.concat([state.positions, tf.repeat(position, times)], 0),
                       tf.concat([state.names, tf.repeat(name, times)], 0))

    checked = list_rows(kind, files).map(check, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    zeros = [tf.constant(0, tf.int64)] * 4
    return checked.enumerate().reduce(Checked(*zeros, tf.zeros([0], tf.int64), tf.zeros([0], tf.string)), add)


def check_files(kind: str, files: list[str]) -> Checked:
    """Reads and decodes all of `files`, one TFRecord file or any number of image files; returns NumPy arrays.

    Raises:
        UserError: if a file is damaged, empty or unreadable, or a record has no image.
    """
    path = os.path.dirname(files[0]) if kind == "images" else files[0]
    with explain_read_errors(path), tf.device("/cpu:0"):
        found = Checked(*(part.numpy() for part in decode_all(kind, tf.constant(raw_paths(files)))))
        # TensorFlow mistakes a cut inside a record's header (8 bytes of length, 4 of checksum) for the end of the file.
        # So compare the file's size with the rows, plus header and 4 more bytes of checksum for each.
        if kind != "images" and found.length + 16 * found.count != file_size(path):
            raise damaged_file_error(path, f"it ends in the middle of record {found.count + 1:,}")
    if not found.count:
        raise UserError(f"{path} contains no records. Copy or download it again, or delete it if it is not needed.")
    return found


def check_image_set(kind: str, files: tuple[str, ...], label: str) -> ImageSet:
    """Decodes every image of `files` once and returns their ImageSet.

    Args:
        kind: key of `FORMATS`.
        files: as in ImageSet.
        label: name of the set in messages.

    Raises:
        UserError: as `check_files`, and if more than `MAX_SKIPPED` of the images cannot be decoded.
    """
    identify = format_of(kind).identify
    if identify:
        with explain_read_errors(files[0]):
            count, fingerprint = identify(files[0])
        return ImageSet(files, kind, count, turned=0, fingerprint=fingerprint)
    # TFRecords one at a time, so that an error can name the file; errors of image files name them.
    size = FILES_AT_ONCE if kind == "images" else 1
    total, turned, fingerprint, skipped, skipped_names = 0, 0, 0, [], []
    with progress_bar(f"Reading {label}", len(files), "file") as show:
        for start in range(0, len(files), size):
            found = check_files(kind, list(files[start:start + size]))
            skipped += [int(total + position) for position in found.positions]
            skipped_names += [name.decode(errors="replace") for name in found.names]
            total, turned = total + int(found.count), turned + int(found.turned)
            fingerprint = (fingerprint + int(found.fingerprint)) % FINGERPRINTS
            show(min(start + size, len(files)))
    if skipped:
        places = [files[position] for position in skipped] if kind == "images" else skipped_names
        refuse_or_warn(places, total, label, "files" if kind == "images" else "records")
    return ImageSet(files, kind, total - len(skipped), tuple(skipped), turned, fingerprint)


def refuse_or_warn(undecodable: list[str], total: int, label: str, what: str) -> None:
    """Logs which images are left out.

    Args:
        undecodable: their paths or names.
        total: number of images in the set.
        label: name of the set in messages.
        what: "files" or "records".

    Raises:
        UserError: if they are more than `MAX_SKIPPED` of the set.
    """
    sentence = f"{len(undecodable):,} of {total:,} {label} cannot be decoded as JPEG or PNG: {list_names(undecodable)}."
    if len(undecodable) <= MAX_SKIPPED * total:
        LOG.warning("%s They are left out.", sentence)
        return
    remedy = "move those files to another folder" if what == "files" else "write the TFRecords without those records"
    raise UserError(f"{sentence} With more than {MAX_SKIPPED:.0%}, the data is probably broken: copy or download it "
                    f"again. To go on without them, {remedy}.")


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
        is_sample = path_exists(os.path.join(folder, "SAMPLE"))
    if swap_sides:
        monet, photo = photo, monet
    data = Data(folder, check_image_set(*monet, "paintings"), check_image_set(*photo, "photos"), is_sample)
    if (data.monet.count, data.monet.fingerprint) == (data.photo.count, data.photo.fingerprint):
        LOG.warning("The paintings and the photos in %s are the same pictures: nothing can be learnt from them", folder)
    return data
