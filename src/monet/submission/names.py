"""File names for painted images."""

import os
import re

LONGEST_NAME = 100  # characters, without the suffix
LONGEST_STEM = 240  # bytes: file systems take 255, of which a number, a suffix and that of an unfinished file need some


def short_stem(stem: str) -> str:
    """Returns a file's name without its suffix, cut to a length that leaves room for another suffix."""
    name = os.fsencode(stem)
    return stem if len(name) <= LONGEST_STEM else name[:LONGEST_STEM].decode("utf-8", "ignore")


def safe_name(name: str) -> str:
    """Returns `name` without .jpg, as a file name without folders or characters that a shell or file system minds."""
    kept = re.sub(r"[^A-Za-z0-9_.-]+", "_", re.sub(r"\.jpe?g$", "", name, flags=re.IGNORECASE))
    return kept[:LONGEST_NAME].strip(".-") or "image"


def unique_name(base: str, taken: dict[str, int]) -> str:
    """Returns `base`, or if that is taken `base-2`, `base-3`…; names that differ only in case count as equal.

    Args:
        base: the preferred name.
        taken: the names used so far, to which the result is added; start with an empty dict.
    """
    name, number = base, taken.get(base.lower(), 1)
    while name.lower() in taken:
        number += 1
        name = f"{base}-{number}"
    taken[base.lower()] = number  # the next search starts here, so that thousands of equal names stay fast
    taken.setdefault(name.lower(), 1)
    return name
