"""Find, check, count, read and write the images of both sides: TFRecords or image files, local or on gs://."""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import tensorflow as tf

from monet.config import LOG, UserError
from monet.files import whole_file

# What reading needs; the competition's records also hold a `target`, the same word in every record.
IMAGE_FEATURES = {
    "image_name": tf.io.FixedLenFeature([], tf.string),
    "image": tf.io.FixedLenFeature([], tf.string),
}

# Kind of files, folder of the paintings, folder of the photos; the first complete one is taken.
# The CycleGAN data sets (monet2photo, vangogh2photo) have the paintings in trainA.
LAYOUTS = (
    ("tfrec", "monet_tfrec", "photo_tfrec"),
    ("images", "monet_jpg", "photo_jpg"),
    ("images", "trainA", "trainB"),
)
SUFFIXES = {"tfrec": (".tfrec",), "images": (".jpg", ".jpeg", ".png")}  # compared in lower case
MOST_SKIPPED = 0.01  # share of a set that may be undecodable: beyond it, the data is broken and not just blemished


@dataclass(frozen=True)
class ImageSet:
    """One side of the data: where its images lie and which of them can be used."""

    files: tuple[str, ...]  # TFRecord files or image files, sorted
    kind: str  # "tfrec" or "images"
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
        form = {"tfrec": "TFRecords", "images": "image files"}[self.monet.kind]
        line = f"{self.monet.count:,} paintings and {self.photo.count:,} photos in {form} below {self.root}"
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


def parse_example(record: tf.Tensor) -> dict[str, tf.Tensor]:
    """The features {"image_name", "image"} of one serialized tf.train.Example, scalar strings."""
    return tf.io.parse_single_example(record, IMAGE_FEATURES)


def load_image_file(path: tf.Tensor) -> dict[str, tf.Tensor]:
    """The same features from an image file; the name is the file's, without folder and suffix."""
    name = tf.strings.regex_replace(path, r"^.*/|\.[^./]*$", "")
    return {"image_name": name, "image": tf.io.read_file(path)}


LOADERS = {"tfrec": parse_example, "images": load_image_file}


def list_rows(kind: str, files) -> tf.data.Dataset:
    """What the `LOADERS` take, in order: the records in TFRecord `files`, or the paths of image `files`."""
    if kind == "images":
        return tf.data.Dataset.from_tensor_slices(files)
    return tf.data.TFRecordDataset(files)


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
    def check(row):
        example = LOADERS[kind](row)
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


def list_files(kind: str, folder: str) -> tuple[str, ...]:
    """The files of `kind` in `folder`, sorted; hidden ones, and a folder that is not there, give none."""
    pattern = tf.io.gfile.join(re.sub(r"([*?\[\\])", r"\\\1", folder), "*")
    paths = sorted(tf.io.gfile.glob(pattern))
    return tuple(path for path in paths
                 if path.lower().endswith(SUFFIXES[kind]) and not os.path.basename(path).startswith("."))


def layout_names() -> str:
    """The known layouts in words, for messages."""
    return " or ".join(f"{first}/ and {second}/" for _, first, second in LAYOUTS)


def nothing_found(root: str) -> UserError:
    """The reason why no layout was found below `root`, and what may have been meant."""
    if not tf.io.gfile.exists(root):
        return UserError(f"There is no folder {root}. Check the spelling of --data.")
    if not tf.io.gfile.isdir(root):
        return UserError(f"{root} is a file. Give --data the folder that holds {layout_names()}.")
    folders = {folder for _, *pair in LAYOUTS for folder in pair}
    if os.path.basename(root) in folders:
        return UserError(f"{root} is one side of the data only. Give --data the folder above it.")
    children = (tf.io.gfile.join(root, child.rstrip("/")) for child in sorted(tf.io.gfile.listdir(root)))
    for child in children:
        if any(tf.io.gfile.isdir(tf.io.gfile.join(child, folder)) for folder in folders):
            return UserError(f"{root} holds no images itself, but {child} seems to. Give --data {child}.")
    return UserError(f"{root} holds no images in a known layout. It must hold {layout_names()}, the first with "
                     f"paintings, the second with photos, as .tfrec files or as .jpg, .jpeg or .png pictures.")


def find_layout(root: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The kind and both lists of files of the first complete layout in `root`.

    Raises:
        UserError: if there is none.
    """
    half = None
    for kind, *folders in LAYOUTS:
        sides = [list_files(kind, tf.io.gfile.join(root, folder)) for folder in folders]
        if all(sides):
            return kind, sides[0], sides[1]
        if any(sides) and half is None:
            there, missing = folders if sides[0] else reversed(folders)
            half = UserError(f"{root} holds {there}/, but {missing}/ is missing or holds no "
                             f"{' or '.join(SUFFIXES[kind])} file. Training needs both sides: add it.")
    raise half or nothing_found(root)


def check_group(kind: str, files: list[str]) -> tuple[int, list[int], list[str]]:
    """Reads and decodes all of `files` (one TFRecord, or image files).

    Returns:
        The number of images, and the positions and the names of those that cannot be decoded.

    Raises:
        UserError: for a file that is damaged, empty, unreadable, or holds a record without an image.
    """
    path = files[0] if kind == "tfrec" else os.path.dirname(files[0])
    with explained(path), tf.device("/cpu:0"):
        count, length, positions, names = (part.numpy() for part in check_rows(kind, tf.constant(files)))
        # TensorFlow takes a file that breaks off inside a record's header (8 bytes of length, 4 of checksum) for one
        # that ends before it; what was read, with 4 more bytes of checksum a record, must be the whole file.
        if kind == "tfrec" and length + 16 * count != tf.io.gfile.stat(path).length:
            raise damaged(path, f"it breaks off after {count:,} records")
    if not count:
        raise UserError(f"{path} holds no records. Copy or download it again, or delete it if others hold them.")
    return int(count), positions.tolist(), [name.decode(errors="replace") for name in names]


def check_set(kind: str, files: tuple[str, ...], what: str) -> ImageSet:
    """The ImageSet of `files`, every image decoded once; `what` names the set in messages.

    Raises:
        UserError: as `check_group`, and if more than `MOST_SKIPPED` of the images cannot be decoded.
    """
    # One TFRecord at a time, so that an error can name its file; image files at once, as their errors name them.
    groups = [[file] for file in files] if kind == "tfrec" else [list(files)]
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
    """The images below `root`, a local folder or a gs:// address, every one of them decoded once as a check.

    Args:
        root: Folder that holds one of `LAYOUTS`; it is not searched any deeper.
        swap_sides: Take the second side (photo_tfrec, photo_jpg, trainB) as the paintings.

    Raises:
        UserError: if there is nothing to train on, or if it cannot be read; says which file and what to do.
    """
    root = os.path.expanduser(root)
    root = root.rstrip("/") or root
    if root.startswith("gs://"):
        LOG.info("Reading every image of %s once. TensorFlow retries a broken connection for some minutes.", root)
    with explained(root):
        kind, monet, photo = find_layout(root)
        is_sample = tf.io.gfile.exists(tf.io.gfile.join(root, "SAMPLE"))
    if swap_sides:
        monet, photo = photo, monet
    return Data(root, check_set(kind, monet, "paintings"), check_set(kind, photo, "photos"), is_sample)


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
