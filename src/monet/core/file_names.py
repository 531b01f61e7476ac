"""What names of files say: which are pictures, which of those are not read; and names in messages."""

from collections import Counter
from collections.abc import Iterable

JPEG_AND_PNG = (".jpg", ".jpeg", ".jpe", ".jfif", ".png")  # what training and scoring read; lower case
PAINTED_FORMATS = (*JPEG_AND_PNG, ".webp", ".bmp", ".gif", ".tif", ".tiff")  # what `generate --images` reads
OTHER_FORMATS = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".psd", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".svg")
NAMES_SHOWN = 5


def printable(name: str) -> str:
    """`name` with ? for line ends, invalid UTF-8, and the like."""
    return name if name.isprintable() else "".join(c if c.isprintable() else "?" for c in name)


def list_names(names: list[str]) -> str:
    """The first few names, printable, and the number of the others."""
    shown = ", ".join(map(printable, names[:NAMES_SHOWN]))
    return shown + (f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else "")


def has_suffix(name: str, suffixes: tuple[str, ...]) -> bool:
    """Whether `name` ends in one of the lower-case `suffixes`, in any case, and is not hidden."""
    return name.lower().endswith(suffixes) and not name.rsplit("/", 1)[-1].startswith(".")


def unread_pictures(names: Iterable[str], read: tuple[str, ...]) -> str:
    """Says how many of the files `names` are pictures without a suffix in `read`, and which; "" if none are."""
    suffixes = tuple(suffix for suffix in (*PAINTED_FORMATS, *OTHER_FORMATS) if suffix not in read)
    unread = sorted(name for name in names if has_suffix(name, suffixes))
    if not unread:
        return ""
    kinds = Counter(f".{name.rsplit('.', 1)[1].lower()}" for name in unread)
    numbers = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
    return f"{numbers} ({list_names(unread)})"
