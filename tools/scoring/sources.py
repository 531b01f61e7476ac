"""The images that tools/mifid.py scores: in a folder, a zip, TFRecords or an array, each read only when needed.

Nothing here imports TensorFlow, except to decode a TFRecord. Zips are read in place: no name in one is used as a path.
"""

import hashlib
import io
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from monet.core.config import SUBMISSION_SIZE
from monet.core.errors import UserError, say
from monet.core.file_names import JPEG_AND_PNG, has_suffix, printable, unread_pictures

NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
FEATURE_MEMBERS = ("features.npy", "arr_0.npy")  # of an .npz; np.savez calls an array without a name arr_0
PAINTINGS = ("monet.npy", "monet_tfrec", "monet_jpg", "trainA")  # in training data, in the order of monet.data.layouts
RECORD_SUFFIXES = (".tfrec", ".tfrecord", ".tfrecords")
MAX_IMAGES = 100_000
MAX_BYTES = 64 << 20  # of one encoded image
MAX_TOTAL = 8 << 30  # bytes of all images in a zip, unpacked; images of arrays are read one by one
MAX_FEATURES = 2 << 30  # bytes of given features, in float64
MAX_PIXELS = 32_000_000  # of one image, decoded: 96 MB
READ_ERRORS = (OSError, EOFError, ValueError, SyntaxError, struct.error, zlib.error, zipfile.BadZipFile,
               NotImplementedError, RuntimeError, Image.DecompressionBombError)
ACCEPTED = "Give a folder or zip of JPGs or PNGs, TFRecords, or an .npz with `features`."
MODE_NOTES = {"L": "grayscale", "LA": "grayscale", "1": "black and white", "CMYK": "CMYK", "YCCK": "CMYK",
              "RGBA": "with transparency, which is dropped", "P": "with a palette"}
CLIPPED = "16-bit, with all above 255 clipped to white"  # by Pillow, for one channel
TRUNCATED = "16-bit, of which the upper 8 bits are used"  # by Pillow, for several channels
PNG_DEPTH = 24  # offset of the byte in a PNG that gives its bits per channel


@dataclass(frozen=True)
class Source:
    """One side's images or features."""

    path: str  # the file or folder that holds them
    form: str  # "zip", "pictures", "TFRecords", "array" or "features"
    names: list[str]  # for display; unprintable characters are replaced
    reads: list[Callable[[], bytes]] = field(default_factory=list)  # return the bytes of each image
    decode: Callable[[bytes], tuple[np.ndarray, str]] | None = None  # from bytes to the image and what is unusual in it
    features: np.ndarray | None = None  # [images, width]; only if the form is "features"
    listing: bytes = b""  # identifies the contents of the zip or folder, with files that are not images
    is_sample: bool = False  # whether these are the built-in sample's paintings
    digests: dict[int, bytes] = field(default_factory=dict)  # by position, as far as computed

    def __post_init__(self):
        """Makes the names printable."""
        object.__setattr__(self, "names", [printable(name) for name in self.names])

    def digest(self, position: int) -> bytes:
        """SHA-256 of an image's bytes, computed once; b"" if it cannot be read."""
        if position not in self.digests:
            try:
                self.digests[position] = hashlib.sha256(self.reads[position]()).digest()
            except READ_ERRORS:
                self.digests[position] = b""
        return self.digests[position]

    def describe(self) -> str:
        """Number of images, their form and place, in words."""
        what = {"features": "images' features", "array": "images"}.get(self.form, f"images ({self.form})")
        return f"{len(self.names):,} {what} in {printable(self.path)}"


def decode_picture(data: bytes) -> tuple[np.ndarray, str]:
    """Decodes a JPEG or PNG as the metric does: as Pillow converts it to RGB.

    Returns:
        uint8 `[height, width, 3]`, and what is unusual about the image; empty for RGB of the competition's size.

    Raises:
        READ_ERRORS: any of these.
    """
    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width}x{image.height} pixels are too many")
        notes = []
        if image.mode != "RGB":
            notes.append(CLIPPED if image.mode.startswith("I") else MODE_NOTES.get(image.mode, image.mode))
        if image.format == "PNG" and data[PNG_DEPTH] == 16 and CLIPPED not in notes:
            notes.append(TRUNCATED)
        if "exif" in image.info and image.getexif().get(0x0112, 1) != 1:
            notes.append("rotated by EXIF, which is ignored")
        if image.size != (SUBMISSION_SIZE, SUBMISSION_SIZE):
            notes.append(f"not {SUBMISSION_SIZE}x{SUBMISSION_SIZE}, but resized to 299x299 like all")
        return np.asarray(image.convert("RGB")), "; ".join(notes)


def decode_record(data: bytes) -> tuple[np.ndarray, str]:
    """`decode_picture` for a serialized tf.train.Example with an `image`."""
    import tensorflow as tf  # here, because it takes seconds to load

    try:
        images = tf.train.Example.FromString(data).features.feature["image"].bytes_list.value
    except Exception as error:  # protobuf's own class, which is a ValueError only in some versions
        raise ValueError(f"not a tf.train.Example: {error}") from None
    if not images:
        raise ValueError("a record without `image`")
    return decode_picture(images[0])


def is_picture(name: str) -> bool:
    """Whether a file of this name, with or without folders, is to be scored."""
    return has_suffix(name, JPEG_AND_PNG) and not name.startswith("__MACOSX/")


def read_bytes(path: str, start: int = 0, length: int = MAX_BYTES) -> bytes:
    """Reads part of a file, by default all of it."""
    with open(path, "rb") as file:
        file.seek(start)
        return file.read(length)


def zip_source(path: str) -> Source:
    """The images in the zip `path`, in its order.

    Raises:
        UserError: if it is not a complete zip, or would unpack to too much.
    """
    try:
        archive = zipfile.ZipFile(path)
    except READ_ERRORS as error:
        raise UserError(f"{path} is not a readable zip ({error}). Copy or write it again.") from None
    infos = [info for info in archive.infolist() if is_picture(info.filename)]
    sizes = [info.file_size for info in infos]
    largest, total = max(sizes, default=0), sum(sizes)
    if largest > MAX_BYTES or total > MAX_TOTAL or len(infos) > MAX_IMAGES:
        raise UserError(f"{path} would unpack to {len(infos):,} images of {total / 1e9:,.1f} GB, the largest of "
                        f"{largest / 1e6:,.0f} MB, more than any submission has. Give another.")
    # ZipFile reads no more of a member than the directory promises, and verifies its checksum.
    reads = [lambda info=info: archive.read(info) for info in infos]
    directory = read_bytes(path, archive.start_dir)
    return Source(path, "zip", [info.filename for info in infos], reads, decode_picture, listing=directory)


def folder_images(folder: str) -> Source:
    """The images in `folder`, sorted by name; may be none."""
    items = sorted(os.scandir(folder), key=lambda item: item.name)
    names = [item.name for item in items if is_picture(item.name) and item.is_file()]
    unread = unread_pictures([item.name for item in items if item.is_file()], JPEG_AND_PNG)
    if unread:
        say(f"{printable(folder)} holds pictures that are not scored: {unread}.")
    reads = [lambda name=name: read_bytes(os.path.join(folder, name)) for name in names]
    listing = "\n".join(item.name + "/" * item.is_dir() for item in items).encode("utf-8", "replace")
    return Source(folder, "pictures", names, reads, decode_picture, listing=listing)


def record_spans(path: str) -> list[tuple[int, int]]:
    """Start and length of each record in a TFRecord file; checksums are not verified.

    Raises:
        UserError: if the file is truncated or not a TFRecord file.
    """
    spans, offset, size = [], 0, os.path.getsize(path)
    with open(path, "rb") as file:
        while offset < size:
            file.seek(offset)
            header = file.read(12)  # 8 bytes of length, 4 of checksum; 4 more follow the record
            length = struct.unpack("<Q", header[:8])[0] if len(header) == 12 else size
            if offset + 16 + length > size or length > MAX_BYTES:
                raise UserError(f"{path} is truncated after {len(spans):,} records, or not a TFRecord file. Copy or "
                                "download it again.")
            spans.append((offset + 12, length))
            offset += 16 + length
    return spans


def record_source(path: str, files: list[str]) -> Source:
    """The records of TFRecord `files`, which `path` holds.

    Raises:
        UserError: as `record_spans`.
    """
    names, reads = [], []
    for file in files:
        for number, (start, length) in enumerate(record_spans(file)):
            names.append(f"{os.path.basename(file)}-{number}")
            reads.append(lambda file=file, start=start, length=length: read_bytes(file, start, length))
    return Source(path, "TFRecords", names, reads, decode_record)


def array_source(path: str) -> Source:
    """The images in an .npy file, uint8 `[n, height, width, 3]`.

    Raises:
        UserError: if it holds anything else.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except READ_ERRORS as error:
        raise UserError(f"{path} is not a readable .npy file ({error}). Write it with np.save.") from None
    fits = array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] == 3 and array.size
    if not fits or array[0].size > MAX_PIXELS * 3:
        raise UserError(f"{path} holds {array.dtype} {list(array.shape)}. Give RGB images: uint8 [n, height, width, "
                        "3].")
    shape = array.shape[1:]
    return Source(path, "array", [str(number) for number in range(len(array))],
                  [lambda row=row: shape[0].to_bytes(4, "little") + array[row].tobytes() for row in range(len(array))],
                  lambda data: (np.frombuffer(data, np.uint8, offset=4).reshape(shape), ""))


def read_features(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Reads the array in the member `name` of an .npz, unless its header announces more than `MAX_FEATURES`.

    Returns:
        The array, without the sides of 1 that a network's last pooling leaves: `[n, width]` of `[n, width, 1, 1]`.

    Raises:
        READ_ERRORS: any of these.
    """
    with archive.open(name) as file:
        read_header = NPY_HEADERS.get(np.lib.format.read_magic(file))
        if not read_header:
            raise ValueError("an unexpected version of .npy")
        shape, _, dtype = read_header(file)
    if max(8, dtype.itemsize) * math.prod(shape) > MAX_FEATURES:
        raise ValueError(f"{dtype} {list(shape)} is over {MAX_FEATURES >> 30} GB")
    with archive.open(name) as file:
        features = np.lib.format.read_array(file, allow_pickle=False)
    wide = [side for side in shape[1:] if side != 1]
    return features.reshape(-1, *wide) if len(wide) == 1 else features


def feature_source(path: str) -> Source:
    """The features in an .npz file.

    Raises:
        UserError: if it holds none.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            name = next((name for name in FEATURE_MEMBERS if name in archive.namelist()), None)
            features = read_features(archive, name) if name else None
    except READ_ERRORS as error:
        raise UserError(f"{path} is not a readable .npz file ({error}). Write it with --save-features.") from None
    if features is None or features.ndim != 2:
        raise UserError(f"{path} holds no `features` [images, width]: mean and covariance alone do not give the "
                        "memorization distance. Write it with --save-features.")
    return Source(path, "features", [str(number) for number in range(len(features))], features=features)


def folder_source(path: str) -> Source:
    """The contents of a folder: images.zip, the paintings of training data, images, or TFRecords.

    Raises:
        UserError: if none of these.
    """
    if os.path.isfile(os.path.join(path, "images.zip")):
        return zip_source(os.path.join(path, "images.zip"))
    for name in PAINTINGS:
        inner = os.path.join(path, name)
        if os.path.exists(inner):
            return open_source(inner)
    images = folder_images(path)
    if len(images.names) < 2:
        records = sorted(os.path.join(path, name) for name in os.listdir(path)
                         if name.lower().endswith(RECORD_SUFFIXES))
        if records:
            return record_source(path, records)
        only = f"only {images.names[0]}" if images.names else "no images"
        raise UserError(f"{path} holds {only}, and neither images.zip nor TFRecords. `make local-train` writes "
                        f"submission/images.zip. {ACCEPTED}")
    return images


BY_SUFFIX = {".npz": feature_source, ".npy": array_source} | {
    suffix: lambda path: record_source(path, [path]) for suffix in RECORD_SUFFIXES}


def open_source(path: str) -> Source:
    """Opens the images or features at `path`.

    Raises:
        UserError: if there are none, fewer than two, or they cannot be read.
    """
    path = os.path.expanduser(path)
    try:
        if os.path.isdir(path):
            return folder_source(path)
        if not os.path.exists(path):
            raise UserError(f"{path} does not exist. `make local-train` writes submission/images.zip. {ACCEPTED}")
        if is_picture(path):
            raise UserError(f"{path} is one image, and a covariance takes at least 2. {ACCEPTED}")
        source = BY_SUFFIX.get(os.path.splitext(path)[1].lower(), zip_source)(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}). {ACCEPTED}") from None
    if len(source.names) < 2:
        raise UserError(f"{path} holds {len(source.names) or 'no'} image{'s' * (not source.names)}, and a covariance "
                        f"takes at least 2. {ACCEPTED}")
    return source
