"""What Kaggle would refuse about a submission."""

import collections
import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from monet.core.config import MAX_IMAGES, MIN_IMAGES, SUBMISSION_SIZE
from monet.core.errors import UserError

CPU_THREADS = min(8, os.cpu_count() or 1)  # that encode and decode; Pillow releases the interpreter's lock
ZIP_NAME = "images.zip"
MOST_BYTES = 20 << 20  # of a file that `check` reads: a 256x256 picture has no use for more
JPEG_START, JPEG_SCAN, JPEG_END = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"
UNREADABLE_ENTRY = (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError)
NAMES_SHOWN = 5


@dataclass(frozen=True)
class Entry:
    """A file of a submission, in the zip or in the folder."""

    name: str  # with folders, if any
    size: int  # bytes, as the zip's directory or the file system says
    encrypted: bool
    read: Callable[[], bytes]


def zip_entries(archive: zipfile.ZipFile) -> Iterator[Entry]:
    """The entries of an open zip; reading one compares its checksum."""
    for info in archive.infolist():
        yield Entry(info.filename, info.file_size, bool(info.flag_bits & 1), lambda info=info: archive.read(info))


def folder_entries(folder: str) -> Iterator[Entry]:
    """What lies in `folder`, sorted by name; folders in it end with a slash, as in a zip."""
    for item in sorted(os.scandir(folder), key=lambda item: item.name):
        def read(path=item.path) -> bytes:
            with open(path, "rb") as file:
                return file.read(MOST_BYTES)

        is_file = item.is_file()
        yield Entry(item.name if is_file else f"{item.name}/", item.stat().st_size if is_file else 0, False, read)


def is_jpg_name(name: str) -> bool:
    """Whether the name is one of a picture at the top of the zip."""
    return name.endswith(".jpg") and not name.startswith(".") and not set(name) & set("/\\")


def fault_of_jpeg(data: bytes) -> str:
    """What is wrong with the bytes of a picture; empty if nothing is."""
    if not data.startswith(JPEG_START):
        return "Not a JPEG, whatever the name says"
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            if image.mode != "RGB":
                return "Not RGB"
            if image.size != (SUBMISSION_SIZE, SUBMISSION_SIZE):
                return f"Not {SUBMISSION_SIZE}x{SUBMISSION_SIZE} pixels"
            image.load()
    except (*UNREADABLE_ENTRY, SyntaxError, Image.DecompressionBombError):
        return "Cut off or damaged JPEG"
    # Decoders take zeros for image data: a file that a crash left without its tail. Within a scan's data the marker
    # for the end cannot occur.
    return "" if data.rfind(JPEG_END) > data.rfind(JPEG_SCAN) else "Cut off or damaged JPEG"


def examine(entry: Entry) -> tuple[str, bytes]:
    """What is wrong with one file, empty if nothing is, and a digest of its bytes, empty if they were not read."""
    if not is_jpg_name(entry.name):
        return "No place in a submission, which holds only NAME.jpg without folders", b""
    if entry.encrypted:
        return "Encrypted", b""
    if entry.size > MOST_BYTES:
        return f"Larger than {MOST_BYTES >> 20} MB", b""
    try:
        data = entry.read()
    except UNREADABLE_ENTRY:
        return "Unreadable, or not passing the zip's checksum", b""
    return fault_of_jpeg(data), hashlib.sha1(data, usedforsecurity=False).digest()


def list_names(names: list[str]) -> str:
    """The first few names, and how many more there are; what a terminal could mind is replaced."""
    shown = ["".join(c if c.isprintable() else "?" for c in name) for name in names[:NAMES_SHOWN]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def problems_of(entries: list[Entry], fewest: int) -> list[str]:
    """The sentences of `check` about a submission's files."""
    with ThreadPoolExecutor(CPU_THREADS) as pool:
        results = list(pool.map(examine, entries))
    faults, first_of = collections.defaultdict(list), {}
    names = collections.Counter(entry.name for entry in entries)
    faults["Name used more than once"] = [name for name, times in names.items() if times > 1]
    for entry, (fault, digest) in zip(entries, results, strict=True):
        if fault:
            faults[fault].append(entry.name)
        if digest in first_of:
            faults["The same picture again"].append(f"{entry.name} (= {first_of[digest]})")
        elif digest:
            first_of[digest] = entry.name
    count = sum(is_jpg_name(entry.name) for entry in entries)
    problems = [f"{fault}: {list_names(found)} ({len(found):,} in all)." for fault, found in faults.items() if found]
    if not fewest <= count <= MAX_IMAGES:
        problems.insert(0, f"The number of pictures is {count:,}: Kaggle takes {MIN_IMAGES:,} to {MAX_IMAGES:,}.")
    return problems


def check(path: str, fewest: int = MIN_IMAGES) -> list[str]:
    """What Kaggle would refuse, as far as known, about a submission; nothing is unpacked.

    Args:
        path: a zip, a folder with an images.zip, or a folder of pictures.
        fewest: the least number of pictures to accept.

    Returns:
        The problems, sentences that name the first few offending files; empty if there are none.

    Raises:
        UserError: if there is nothing at `path`, or it may not be read.
    """
    inner = os.path.join(path, ZIP_NAME)
    path = inner if os.path.isfile(inner) else path
    try:
        if os.path.isdir(path):
            entries = list(folder_entries(path))
            if not any(is_jpg_name(entry.name) for entry in entries):
                raise UserError(f"{path} holds no {ZIP_NAME} and no pictures. `make local-train` writes one; or name "
                                "the zip or folder to check.")
            return problems_of(entries, fewest)
        with zipfile.ZipFile(path) as archive:
            return problems_of(list(zip_entries(archive)), fewest)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}). Give an images.zip, or a folder with "
                        "it or with the pictures.") from None
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        return [f"{path} is no readable zip: {error}."]
