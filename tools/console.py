"""What the programs in `tools/` share: the checkout's paths, child processes, and ends without a traceback."""

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from monet.core.endings import quiet_interrupt, run_quietly
from monet.core.errors import UserError, say

TOOLS = Path(__file__).resolve().parent
ROOT = TOOLS.parent
LOADING = contextlib.ExitStack()  # open while a program of this folder imports what it needs
if Path(getattr(sys.modules["__main__"], "__file__", None) or "").resolve().is_relative_to(TOOLS):
    LOADING.enter_context(quiet_interrupt())


def run_tool(main: Callable[[], int | None], interrupted: str = "Interrupted.") -> int:
    """Runs a program's `main` and returns its exit status: 2 after a UserError, 130 after Ctrl-C.

    `main` reads the command line, so that `--help | head` ends as quietly as the work itself.
    """
    LOADING.close()
    try:
        return run_quietly(main)
    except UserError as error:
        say(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        say(interrupted)
        return 130


def home_path(text: str) -> Path:
    """Returns a path from the command line, with ~ for the user's home folder: a shell leaves a quoted one alone."""
    return Path(os.path.expanduser(text))


def module_command(module: str, *words, python: str = sys.executable) -> list[str]:
    """Returns the command that runs a module from `tools/` in a child process with `module_environment()`."""
    return [python, "-m", module, *map(str, words)]


def module_environment(**variables: str) -> dict[str, str]:
    """Returns this process's environment plus `variables`, with `tools/` and `src/` on Python's path."""
    path = os.pathsep.join(filter(None, [str(TOOLS), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, **variables}
