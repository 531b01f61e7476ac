"""Every image read once before a run, and errors of storage in words."""

import contextlib
import os
import re
from collections.abc import Iterator

import tensorflow as tf

from monet.core.errors import LOG, UserError
from monet.core.pixels import decode_image
from monet.data.layouts import find_layout
from monet.data.npy import read_header
from monet.data.records import IMAGE_FEATURES, LOADERS, Data, ImageSet, list_rows

MOST_SKIPPED = 0.01  # share of a set that may be undecodable: beyond it, the data is broken and not just blemished


def is_decodable(encoded: tf.Tensor) -> tf.Tensor:
    """Whether `decode_image` takes the bytes, as a scalar bool; for use inside a graph."""
    # A dataset of this one image, so that nothing but the error of decoding it is ignored: put on the whole dataset,
    # ignore_errors would also swallow a truncated file.
    decoded = tf.data.Dataset.from_tensors(encoded).map(lambda image: tf.size(decode_image(image)) > 0)
    return decoded.ignore_errors().concatenate(tf.data.Dataset.from_tensors(False)).take(1).get_single_element()


@tf.function(reduce_retracing=True, autograph=False)  # traced once for each kind, not once a file
def check_rows(kind: str, files: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Reads every image of `files`, a string tensor [n], and tries to decode it.

    Returns:
        How many there are, the total length of the rows, and the positions and names of those not decodable.
    """
    def check(name, row):
        example = LOADERS[kind](name, row)
        return tf.strings.length(row), example["image_name"], is_decodable(example["image"])

    def add(state, numbered):
        position, (length, name, good) = numbered
        count, total_length, positions, names = state
        times = tf.cast(tf.logical_not(good), tf.int32)  # appended once if undecodable, else not at all
        return (count + 1, total_length + tf.cast(length, tf.int64),
                tf.concat([positions, tf.repeat(position, times)], 0), tf.concat([names, tf.repeat(name, times)], 0))

    checked = list_rows(kind, files).map(check, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    zero = tf.constant(0, tf.int64)
    return checked.enumerate().reduce((zero, zero, tf.zeros([0], tf.int64), tf.zeros([0], tf.string)), add)


TRY_AGAIN = "Check the network and try again, or copy the data to a local folder and give that."
STORAGE_ERRORS = (  # first match wins
    (tf.errors.NotFoundError, "there is no such bucket or file",
     "Check the spelling; a bucket must exist and be visible to you."),
    ((tf.errors.PermissionDeniedError, tf.errors.UnauthenticatedError), "access is denied",
     "For gs://, log in with `gcloud auth application-default login`, or ask the bucket's owner for the role "
     "Storage Object Viewer; for a local file, make it readable."),
    (tf.errors.UnimplementedError, "this TensorFlow cannot read such addresses",
     "For gs://, `pip install tensorflow-io-gcs-filesystem`; else copy the data to a local folder and give that."),
    ((tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError),
     "the connection to the storage failed", TRY_AGAIN),
    (tf.errors.OpError, "it cannot be read", TRY_AGAIN),
)


def reason(error: tf.errors.OpError) -> str:
    """The sentence in TensorFlow's message that says what went wrong, without its account of graph and stack."""
    noise = ("Graph execution error", "Detected at node", "<stack traces", " ", "\t")
    lines = [line for line in error.message.splitlines() if line and not line.startswith(noise)]
    line = re.sub(r"^Error in user-defined function .* iterator: \S+: ", "", lines[0] if lines else "")
    return re.sub(r" with body .*", "", line)[:300] or type(error).__name__


@contextlib.contextmanager
def explained(path: str) -> Iterator[None]:
    """Turns TensorFlow's errors of reading `path`, raised inside the block, into a UserError."""
    try:
        yield
    except tf.errors.DataLossError as error:
        raise damaged(path, reason(error)) from None
    except tf.errors.OpError as error:
        why = reason(error)
        feature = re.search(r"(?:Feature|Key): (\w+)", why)
        if feature or "parse example" in why:
            lacks = f"without a proper {feature[1]!r}" if feature else "that is no tf.train.Example"
            raise UserError(f"{path} holds a record {lacks} ({why}). Every record needs "
                            f"{' and '.join(IMAGE_FEATURES)}, one string each, as in the competition's files: "
                            "write the file again.") from None
        what, remedy = next(rest for kinds, *rest in STORAGE_ERRORS if isinstance(error, kinds))
        raise UserError(f"{path}: {what} ({why}). {remedy}") from None


def damaged(path: str, why: str) -> UserError:
    """The error for a TFRecord file that breaks off or does not pass its own checksums."""
    return UserError(f"{path} is truncated or damaged ({why}). Copy or download it again.")


def check_group(kind: str, files: list[str]) -> tuple[int, list[int], list[str]]:
    """Reads and decodes all of `files` (one TFRecord, or image files).

    Returns:
        The number of images, and the positions and the names of those that cannot be decoded.

    Raises:
        UserError: for a file that is damaged, empty, unreadable, or holds a record without an image.
    """
    path = os.path.dirname(files[0]) if kind == "images" else files[0]
    with explained(path), tf.device("/cpu:0"):
        count, length, positions, names = (part.numpy() for part in check_rows(kind, tf.constant(files)))
        # TensorFlow takes a file that breaks off inside a record's header (8 bytes of length, 4 of checksum) for one
        # that ends before it; what was read, with 4 more bytes of checksum a record, must be the whole file.
        if kind != "images" and length + 16 * count != tf.io.gfile.stat(path).length:
            raise damaged(path, f"it breaks off after {count:,} records")
    if not count:
        raise UserError(f"{path} holds no records. Copy or download it again, or delete it if others hold them.")
    return int(count), positions.tolist(), [name.decode(errors="replace") for name in names]


def check_set(kind: str, files: tuple[str, ...], what: str) -> ImageSet:
    """The ImageSet of `files`, every image decoded once; `what` names the set in messages.

    Raises:
        UserError: as `check_group`, and if more than `MOST_SKIPPED` of the images cannot be decoded.
    """
    if kind == "npy":  # any bytes are pixels: the header says all that there is to check
        with explained(files[0]):
            return ImageSet(files, kind, read_header(files[0]).shape[0])
    # One TFRecord at a time, so that an error can name its file; image files at once, as their errors name them.
    groups = [list(files)] if kind == "images" else [[file] for file in files]
    total, skipped, bad_names = 0, [], []
    for group in groups:
        count, positions, names = check_group(kind, group)
        skipped += [total + position for position in positions]
        bad_names += names
        total += count
    if skipped:
        shown = ", ".join(bad_names[:5]) + ", …" * (len(bad_names) > 5)
        sentence = f"{len(skipped):,} of {total:,} {what} cannot be decoded as JPEG or PNG: {shown}."
        if len(skipped) > MOST_SKIPPED * total:
            raise UserError(f"{sentence} More than {MOST_SKIPPED:.0%} means broken data: copy or download it again.")
        LOG.warning("%s They are left out.", sentence)
    return ImageSet(files, kind, total - len(skipped), tuple(skipped))


def find_data(root: str, swap_sides: bool = False) -> Data:
    """The images that `root` names, every one of them decoded once as a check, but for the bare pixels of .npy files.

    Args:
        root: Local folder or gs:// address that holds one of the known layouts, and is not searched any deeper; or the
            address of a TensorFlow dataset (tfds:NAME), which is downloaded if need be.
        swap_sides: Take the second side (photo_tfrec, photo_jpg, trainB) as the paintings.

    Raises:
        UserError: if there is nothing to train on, or if it cannot be read; says which file and what to do.
    """
    root = os.path.expanduser(root)
    root = root.rstrip("/") or root
    if root.startswith("gs://"):
        LOG.info("Reading every image of %s once. TensorFlow retries a broken connection for some minutes.", root)
    with explained(root):
        folder, monet, photo = find_layout(root)
        is_sample = tf.io.gfile.exists(tf.io.gfile.join(folder, "SAMPLE"))
    if swap_sides:
        monet, photo = photo, monet
    return Data(folder, check_set(*monet, "paintings"), check_set(*photo, "photos"), is_sample)


@contextlib.contextmanager
def step_explained(root: str) -> Iterator[None]:
    """Turns errors of reading the data at `root`, raised inside the block as a part of steps, into a UserError."""
    try:
        yield
    except tf.errors.OpError as error:
        if "IteratorGetNext" in str(error):  # the operation's name
            with explained(root):
                raise
        raise
