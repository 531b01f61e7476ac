"""Checks a submission for what Kaggle would reject."""

import collections
import hashlib
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from monet.core.config import MAX_IMAGES, MIN_IMAGES, SUBMISSION_SIZE
from monet.core.errors import UserError
from monet.core.file_names import list_names

CPU_THREADS = min(8, os.cpu_count() or 1)  # for encoding and decoding; Pillow releases the interpreter's lock
ZIP_NAME = "images.zip"
MAX_ENTRY_BYTES = 20 << 20  # of a file that is read: a 256x256 image never needs more
JPEG_START, JPEG_SCAN, JPEG_END = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"
ENTRY_ERRORS = (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Entry:
    """A file of a submission, in a zip or a folder."""

    name: str  # with folders, if any
    size: int  # bytes, according to the zip's directory or the file system
    encrypted: bool
    read: Callable[[], bytes]


def zip_entries(archive: zipfile.ZipFile) -> Iterator[Entry]:
    """The entries of an open zip; reading one verifies its checksum."""
    for info in archive.infolist():
        yield Entry(info.filename, info.file_size, bool(info.flag_bits & 1), lambda info=info: archive.read(info))


def folder_entries(folder: str) -> Iterator[Entry]:
    """The contents of `folder`, sorted by name; subfolders end with a slash, as in a zip."""
    for item in sorted(os.scandir(folder), key=lambda item: item.name):
        def read(path=item.path) -> bytes:
            with open(path, "rb") as file:
                return file.read(MAX_ENTRY_BYTES)

        is_file = item.is_file()
        yield Entry(item.name if is_file else f"{item.name}/", item.stat().st_size if is_file else 0, False, read)


def is_jpg_name(name: str) -> bool:
    """Whether the name is that of an image at the top level of the zip."""
    return name.endswith(".jpg") and not name.startswith(".") and not set(name) & set("/\\")


def find_jpeg_fault(data: bytes) -> str:
    """Says what is wrong with an image file; empty if nothing is."""
    if not data.startswith(JPEG_START):
        return "Not a JPEG, despite its name"
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            if image.mode != "RGB":
                return "Not RGB"
            if image.size != (SUBMISSION_SIZE, SUBMISSION_SIZE):
                return f"Not {SUBMISSION_SIZE}x{SUBMISSION_SIZE} pixels"
            image.load()
    except (*ENTRY_ERRORS, SyntaxError, ArithmeticError, LookupError, TypeError, MemoryError, struct.error,
            Image.DecompressionBombError):  # as Pillow's plugins raise for damaged files
        return "Truncated or damaged JPEG"
    # Decoders accept zeros as image data, which a crash may leave in place of a file's tail. The end marker cannot
    # occur inside a scan's data.
    return "" if data.rfind(JPEG_END) > data.rfind(JPEG_SCAN) else "Truncated or damaged JPEG"


def examine_entry(entry: Entry) -> tuple[str, bytes]:
    """Returns a file's fault, empty if it has none, and the digest of its bytes, empty if they were not read."""
    if not is_jpg_name(entry.name):
        return "Not allowed in a submission, which holds only NAME.jpg without folders", b""
    if entry.encrypted:
        return "Encrypted", b""
    if entry.size > MAX_ENTRY_BYTES:
        return f"Larger than {MAX_ENTRY_BYTES >> 20} MB", b""
    try:
        data = entry.read()
    except ENTRY_ERRORS:
        return "Unreadable, or failing the zip's checksum", b""
    return find_jpeg_fault(data), hashlib.sha1(data, usedforsecurity=False).digest()


def find_problems(entries: list[Entry], fewest: int) -> list[str]:
    """The sentences of `check` about a submission's files."""
    with ThreadPoolExecutor(CPU_THREADS) as pool:
        results = list(pool.map(examine_entry, entries))
    names_by_fault, first_of = collections.defaultdict(list), {}
    uses = collections.Counter(entry.name for entry in entries)
    names_by_fault["Name used more than once"] = [name for name, count in uses.items() if count > 1]
    for entry, (fault, digest) in zip(entries, results, strict=True):
        if fault:
            names_by_fault[fault].append(entry.name)
        if digest in first_of:
            names_by_fault["Duplicate image"].append(f"{entry.name} (= {first_of[digest]})")
        elif digest:
            first_of[digest] = entry.name
    count = sum(is_jpg_name(entry.name) for entry in entries)
    problems = [f"{fault}: {list_names(names)} ({len(names):,} in all)." for fault, names in names_by_fault.items()
                if names]
    if not fewest <= count <= MAX_IMAGES:
        problems.insert(0, f"The number of images is {count:,}: Kaggle takes {MIN_IMAGES:,} to {MAX_IMAGES:,}.")
    return problems


def unreadable_error(path: str, error: OSError) -> UserError:
    """The error for a submission that the system cannot read."""
    return UserError(f"{path} cannot be read ({error.strerror or error}). Give an images.zip, or a folder that "
                     "holds one or the images.")


def check_zip(path: str, fewest: int = MIN_IMAGES) -> list[str]:
    """Finds what Kaggle would reject about a zip, as far as is known, without unpacking it.

    Args:
        path: the zip.
        fewest: smallest number of images to accept.

    Returns:
        The problems, sentences that name the first few offending files; empty if there are none.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return find_problems(list(zip_entries(archive)), fewest)
    except OSError as error:
        raise unreadable_error(path, error) from None
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        return [f"{path} is not a readable zip: {error}."]


def check(path: str, fewest: int = MIN_IMAGES) -> list[str]:
    """As `check_zip`, of a zip, a folder with an images.zip, or a folder of images.

    Raises:
        UserError: if there is nothing at `path`, or it cannot be read.
    """
    inner = os.path.join(path, ZIP_NAME)
    path = inner if os.path.isfile(inner) else path
    if not os.path.isdir(path):
        return check_zip(path, fewest)
    try:
        entries = list(folder_entries(path))
        if any(is_jpg_name(entry.name) for entry in entries):
            return find_problems(entries, fewest)
    except OSError as error:
        raise unreadable_error(path, error) from None
    raise UserError(f"{path} holds neither {ZIP_NAME} nor images. Run `make local-train`, which writes one, or name "
                    "the zip or folder to check.")
