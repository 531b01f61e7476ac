"""Errors and messages for the user, usable before TensorFlow is imported. Standard library only."""

import contextlib
import difflib
import logging
import sys
from collections.abc import Iterable

LOG = logging.getLogger("monet")


class UserError(Exception):
    """An error that the user can fix. The message says what is wrong and what to do.

    The command line prints the message without a traceback and exits with status 2.
    """


def suggest_names(name: str, names: Iterable[str]) -> str:
    """Returns a sentence that suggests the `names` closest to an unknown `name`, or lists all of them."""
    names = sorted(names)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(close)}?" if close else f"Choose one of: {', '.join(names)}."


def say(line: str) -> None:
    """Prints a line on standard error and flushes it; standard output is reserved for results.

    Work goes on if the line cannot be printed: the terminal or its reader is gone, or the disk is full.
    """
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)
