"""Find, check, count, read and write the images of both sides, in any of four forms, local or on gs://."""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import tensorflow as tf

from monet.arrays import array_pictures, read_header
from monet.config import LOG, UserError
from monet.files import whole_file
from monet.layouts import find_layout

# What reading needs; the competition's records also hold a `target`, the same word in every record.
IMAGE_FEATURES = {
    "image_name": tf.io.FixedLenFeature([], tf.string),
    "image": tf.io.FixedLenFeature([], tf.string),
}

# What files of each kind are called in messages.
FORMS = {"tfrec": "TFRecords", "images": "image files", "tfds": "a TensorFlow dataset", "npy": ".npy arrays"}
MOST_SKIPPED = 0.01  # share of a set that may be undecodable: beyond it, the data is broken and not just blemished


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


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """The picture in a scalar string of JPEG or PNG bytes: uint8 [height, width, 3], RGB, 0..255.

    Grayscale is repeated to three channels, transparency dropped, 16-bit cut to 8, CMYK converted.

    Raises:
        tf.errors.InvalidArgumentError: when run, if the bytes are no complete picture.
    """
    # TensorFlow's default is the fast inverse DCT, up to 19 grey levels off on the competition's paintings; this one
    # gives what PIL gives. The operation takes PNG as well, in spite of its name.
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


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


def write_records(path: str, rows: Iterable[tuple[str, bytes]], target: str) -> None:
    """Writes a TFRecord file in the competition's layout to `path`, a local file, whole or not at all.

    Args:
        rows: Pairs of image_name and encoded picture.
        target: What every record's `target` says ("monet" or "photo" in the competition).
    """
    with whole_file(path) as temporary, tf.io.TFRecordWriter(temporary) as writer:
        for name, image in rows:
            texts = {"image_name": name.encode(), "image": image, "target": target.encode()}
            features = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[text]))
                        for key, text in texts.items()}
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
