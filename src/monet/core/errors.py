"""What goes wrong, told to people: the error that they can mend, the log, and what a mistyped name may have meant."""

import difflib
import logging
import sys
from collections.abc import Iterable

LOG = logging.getLogger("monet")


class UserError(Exception):
    """A mistake that the user can mend: the message says what is wrong and what to do.

    The command line prints it without a traceback and exits with status 2.
    """


def near_names(name: str, names: Iterable[str]) -> str:
    """What to offer for an unknown `name`: the nearest of `names`, or all of them."""
    names = sorted(names)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(near)}?" if near else f"Choose one of: {', '.join(names)}."


def say(line: str) -> None:
    """Prints a line for a person on standard error, at once; standard output is kept for results."""
    print(line, file=sys.stderr, flush=True)
