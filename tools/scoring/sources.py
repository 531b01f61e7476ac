"""The images that tools/mifid.py scores: in a folder, a zip, TFRecords or an array, each read only when it is needed.

Nothing here imports TensorFlow, unless a TFRecord is decoded. Zips are read in place: no name in one is used as a path.
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
from monet.core.errors import UserError

NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
PAINTINGS = ("monet.npy", "monet_tfrec", "monet_jpg", "trainA")  # of training data, in the order of monet.layouts
SUFFIXES = (".jpg", ".jpeg", ".png")  # in lower case
RECORDS = (".tfrec", ".tfrecord", ".tfrecords")
MAX_IMAGES = 100_000
MOST_BYTES = 64 << 20  # of one encoded image
MOST_TOTAL = 8 << 30  # of all images in a zip, unpacked; arrays of images are read one by one
MOST_FEATURES = 2 << 30  # of given features, in float64
MOST_PIXELS = 32_000_000  # of one image, decoded: 96 MB
UNREADABLE = (OSError, EOFError, ValueError, SyntaxError, struct.error, zlib.error, zipfile.BadZipFile,
              NotImplementedError, RuntimeError, Image.DecompressionBombError)
GIVE = "Give a folder or zip of JPGs or PNGs, TFRecords, or an .npz with `features`."
MODES = {"L": "grayscale", "LA": "grayscale", "1": "black and white", "CMYK": "CMYK", "YCCK": "CMYK",
         "RGBA": "with transparency, which is dropped", "P": "with a palette"}
CLIPPED = "of 16 bits, of which all above 255 becomes white"  # what Pillow makes of one channel of 16 bits
SHORTENED = "of 16 bits a channel, of which the upper 8 are taken"  # and of several
PNG_DEPTH = 24  # the byte of a PNG that holds its bits a channel


def printable(name: str) -> str:
    """The name with ? for line ends, bytes that are no UTF-8, and the like."""
    return name if name.isprintable() else "".join(c if c.isprintable() else "?" for c in name)


@dataclass(frozen=True)
class Source:
    """One side's images, or its features."""

    path: str  # the file or folder that they are in
    form: str  # "zip", "pictures", "TFRecords", "array" or "features"
    names: list[str]  # to be shown; what a terminal or a page could mind is replaced
    reads: list[Callable[[], bytes]] = field(default_factory=list)  # what each image is made from
    decode: Callable[[bytes], tuple[np.ndarray, str]] | None = None  # the image and what is odd about it
    features: np.ndarray | None = None  # [images, width], of "features" only
    extent: bytes = b""  # what else there is in the zip or folder, for telling whether it is the same
    is_sample: bool = False  # the built-in sample's
    digests: dict[int, bytes] = field(default_factory=dict)  # by position, as far as they were asked for

    def __post_init__(self):
        """Makes the names printable."""
        object.__setattr__(self, "names", [printable(name) for name in self.names])

    def digest(self, position: int) -> bytes:
        """SHA-256 of what an image is made from, read once; b"" if it cannot be read."""
        if position not in self.digests:
            try:
                self.digests[position] = hashlib.sha256(self.reads[position]()).digest()
            except UNREADABLE:
                self.digests[position] = b""
        return self.digests[position]

    def describe(self) -> str:
        """How many there are, of what, where."""
        what = {"features": "images' features", "array": "images"}.get(self.form, f"images ({self.form})")
        return f"{len(self.names):,} {what} in {printable(self.path)}"


def decode_picture(data: bytes) -> tuple[np.ndarray, str]:
    """A JPEG's or PNG's pixels as the metric sees them, which takes what Pillow converts to RGB.

    Returns:
        uint8 `[height, width, 3]`, and what is odd about the picture, empty for RGB of the competition's size.

    Raises:
        UNREADABLE: any of these.
    """
    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{image.width}x{image.height} pixels are too many")
        notes = []
        if image.mode != "RGB":
            notes.append(CLIPPED if image.mode.startswith("I") else MODES.get(image.mode, image.mode))
        if image.format == "PNG" and data[PNG_DEPTH] == 16 and CLIPPED not in notes:
            notes.append(SHORTENED)
        if "exif" in image.info and image.getexif().get(0x0112, 1) != 1:
            notes.append("to be turned by EXIF, which is ignored")
        if image.size != (SUBMISSION_SIZE, SUBMISSION_SIZE):
            notes.append(f"not {SUBMISSION_SIZE}x{SUBMISSION_SIZE}, but resized to 299x299 like all")
        return np.asarray(image.convert("RGB")), "; ".join(notes)


def decode_record(data: bytes) -> tuple[np.ndarray, str]:
    """The same for a serialized tf.train.Example with an `image`."""
    import tensorflow as tf  # here, because it takes seconds to load

    try:
        images = tf.train.Example.FromString(data).features.feature["image"].bytes_list.value
    except Exception as error:  # protobuf's own, which is no ValueError in all of its versions
        raise ValueError(f"no tf.train.Example: {error}") from None
    if not images:
        raise ValueError("a record without `image`")
    return decode_picture(images[0])


def is_picture(name: str) -> bool:
    """Whether a file of this name, with or without folders, is to be scored."""
    base = name.rsplit("/", 1)[-1]
    return base.lower().endswith(SUFFIXES) and not base.startswith(".") and not name.startswith("__MACOSX/")


def read_whole(path: str, start: int = 0, length: int = MOST_BYTES) -> bytes:
    """Part of a file, by default all of it."""
    with open(path, "rb") as file:
        file.seek(start)
        return file.read(length)


def zip_source(path: str) -> Source:
    """The pictures in the zip `path`, in its order.

    Raises:
        UserError: if it is no whole zip, or its pictures are too large, unpacked.
    """
    try:
        archive = zipfile.ZipFile(path)
    except UNREADABLE as error:
        raise UserError(f"{path} is no readable zip ({error}): cut short, or something else. Copy or write it "
                        "again.") from None
    infos = [info for info in archive.infolist() if is_picture(info.filename)]
    sizes = [info.file_size for info in infos]
    largest, total = max(sizes, default=0), sum(sizes)
    if largest > MOST_BYTES or total > MOST_TOTAL or len(infos) > MAX_IMAGES:
        raise UserError(f"{path} would unpack to {len(infos):,} pictures of {total / 1e9:,.1f} GB, the largest of "
                        f"{largest / 1e6:,.0f} MB: no submission is so large, and it was not read. Give another.")
    # Member by member, ZipFile reads no more than the directory promises, and compares the checksum.
    reads = [lambda info=info: archive.read(info) for info in infos]
    directory = read_whole(path, archive.start_dir)
    return Source(path, "zip", [info.filename for info in infos], reads, decode_picture, extent=directory)


def picture_files(folder: str) -> Source:
    """The pictures in `folder`, sorted by name; perhaps none."""
    items = sorted(os.scandir(folder), key=lambda item: item.name)
    names = [item.name for item in items if is_picture(item.name) and item.is_file()]
    reads = [lambda name=name: read_whole(os.path.join(folder, name)) for name in names]
    extent = "\n".join(item.name + "/" * item.is_dir() for item in items).encode("utf-8", "replace")
    return Source(folder, "pictures", names, reads, decode_picture, extent=extent)


def record_spans(path: str) -> list[tuple[int, int]]:
    """Start and length of each record in a TFRecord file; checksums are not compared.

    Raises:
        UserError: if it breaks off, or is no such file.
    """
    spans, at, size = [], 0, os.path.getsize(path)
    with open(path, "rb") as file:
        while at < size:
            file.seek(at)
            header = file.read(12)  # 8 bytes of length, 4 of checksum; 4 more follow the record
            length = struct.unpack("<Q", header[:8])[0] if len(header) == 12 else size
            if at + 16 + length > size or length > MOST_BYTES:
                raise UserError(f"{path} breaks off after {len(spans):,} records, or is no TFRecord file. Copy or "
                                "download it again.")
            spans.append((at + 12, length))
            at += 16 + length
    return spans


def record_source(path: str, files: list[str]) -> Source:
    """The records of TFRecord `files`, below `path`.

    Raises:
        UserError: as `record_spans`.
    """
    names, reads = [], []
    for file in files:
        for number, (start, length) in enumerate(record_spans(file)):
            names.append(f"{os.path.basename(file)}-{number}")
            reads.append(lambda file=file, start=start, length=length: read_whole(file, start, length))
    return Source(path, "TFRecords", names, reads, decode_record)


def array_source(path: str) -> Source:
    """The images of an .npy file, uint8 `[n, height, width, 3]`.

    Raises:
        UserError: if it holds anything else.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except UNREADABLE as error:
        raise UserError(f"{path} is no readable .npy file ({error}). Write it with np.save.") from None
    fits = array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] == 3 and array.size
    if not fits or array[0].size > MOST_PIXELS * 3:
        raise UserError(f"{path} holds {array.dtype} {list(array.shape)}. It must hold RGB pictures, uint8 [n, height, "
                        "width, 3].")
    shape = array.shape[1:]
    return Source(path, "array", [str(number) for number in range(len(array))],
                  [lambda row=row: shape[0].to_bytes(4, "little") + array[row].tobytes() for row in range(len(array))],
                  lambda data: (np.frombuffer(data, np.uint8, offset=4).reshape(shape), ""))


def read_features(archive: zipfile.ZipFile) -> np.ndarray:
    """The array `features` of an .npz, if its header says that it is not too large.

    Raises:
        UNREADABLE: any of these.
    """
    with archive.open("features.npy") as file:
        read_header = NPY_HEADERS.get(np.lib.format.read_magic(file))
        if not read_header:
            raise ValueError("a version of .npy that numbers do not need")
        shape, _, dtype = read_header(file)
    if max(8, dtype.itemsize) * math.prod(shape) > MOST_FEATURES:
        raise ValueError(f"{dtype} {list(shape)} is over {MOST_FEATURES >> 30} GB")
    with archive.open("features.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def feature_source(path: str) -> Source:
    """The features in an .npz file.

    Raises:
        UserError: if it holds none.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            features = read_features(archive) if "features.npy" in archive.namelist() else None
    except UNREADABLE as error:
        raise UserError(f"{path} is no readable .npz file ({error}). Write it with --save-features.") from None
    if features is None or features.ndim != 2:
        raise UserError(f"{path} holds no `features` [images, width]: mean and covariance alone do not give the "
                        "memorization distance. Write it with --save-features.")
    return Source(path, "features", [str(number) for number in range(len(features))], features=features)


def folder_source(path: str) -> Source:
    """What a folder holds: images.zip, a training set's paintings, pictures, or TFRecords.

    Raises:
        UserError: if none of these.
    """
    if os.path.isfile(os.path.join(path, "images.zip")):
        return zip_source(os.path.join(path, "images.zip"))
    for name in PAINTINGS:
        inner = os.path.join(path, name)
        if os.path.exists(inner):
            return open_source(inner)
    found = picture_files(path)
    if len(found.names) < 2:
        records = sorted(os.path.join(path, name) for name in os.listdir(path) if name.lower().endswith(RECORDS))
        if records:
            return record_source(path, records)
        only = f"only {found.names[0]}" if found.names else "no images"
        raise UserError(f"{path} holds {only}: no images.zip, no pictures, no TFRecords. `make local-train` writes "
                        f"submission/images.zip. {GIVE}")
    return found


BY_SUFFIX = {".npz": feature_source, ".npy": array_source} | {
    suffix: lambda path: record_source(path, [path]) for suffix in RECORDS}


def open_source(path: str) -> Source:
    """The images, or features, that `path` names.

    Raises:
        UserError: if there are none, fewer than two, or they cannot be read.
    """
    path = os.path.expanduser(path)
    try:
        if os.path.isdir(path):
            return folder_source(path)
        if not os.path.exists(path):
            raise UserError(f"There is no {path}. `make local-train` writes submission/images.zip. {GIVE}")
        if is_picture(path):
            raise UserError(f"{path} is one picture, and a covariance takes at least 2. {GIVE}")
        found = BY_SUFFIX.get(os.path.splitext(path)[1].lower(), zip_source)(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}). {GIVE}") from None
    if len(found.names) < 2:
        raise UserError(f"{path} holds {len(found.names) or 'no'} image{'s' * (not found.names)}, and a covariance "
                        f"takes at least 2. {GIVE}")
    return found
