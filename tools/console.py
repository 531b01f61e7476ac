"""What the programs in `tools/` share: the checkout's paths, child processes, and errors without a traceback."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from monet.core.errors import UserError, say

TOOLS = Path(__file__).resolve().parent
ROOT = TOOLS.parent


def run_tool(main: Callable[[], int | None], interrupted: str = "Interrupted.") -> int:
    """Runs a program's `main` and returns its exit status: 2 after a UserError, 130 after Ctrl-C."""
    try:
        return main() or 0
    except UserError as error:
        say(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        say(interrupted)
        return 130


def module_command(module: str, *words, python: str = sys.executable) -> list[str]:
    """Returns the command that runs a module from `tools/` in a child process with `module_environment()`."""
    return [python, "-m", module, *map(str, words)]


def module_environment(**variables: str) -> dict[str, str]:
    """Returns this process's environment plus `variables`, with `tools/` and `src/` on Python's path."""
    path = os.pathsep.join(filter(None, [str(TOOLS), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, **variables}
