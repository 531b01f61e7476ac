"""Runs commands that may hang. Standard library only."""

import os
import signal
import subprocess
import tempfile


def run_with_timeout(command: list[str], seconds: float, **variables: str) -> tuple[int | None, list[str]]:
    """Runs a command and kills it, with all its children, after `seconds`.

    Args:
        command: the command.
        seconds: its time limit.
        variables: environment variables to set for it.

    Returns:
        The exit status, or None after a timeout, and the lines of its output that are not empty.
    """
    # pip would take packages on these paths for installed ones, but the environment is run without them.
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(command, env={**inherited, **variables}, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status = None
        output.seek(0)
        return status, [line.rstrip() for line in output if line.strip()]
