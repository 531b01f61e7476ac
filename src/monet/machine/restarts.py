"""How the program starts itself anew after a device hung, and what it then remembers. Standard library only."""

import contextlib
import os

# Environment variables that survive a restart.
HUNG_VARIABLE = "MONET_HUNG"  # what hung so far, as in `past_hangs`, separated by commas
FIRST_START_VARIABLE = "MONET_FIRST_START"  # time.monotonic() of the first start


def past_hangs() -> list[str]:
    """Returns what hung in earlier starts of this run, the latest last: kind of device and engine, 'GPU:tensorflow'."""
    return list(filter(None, os.environ.get(HUNG_VARIABLE, "").split(",")))


def first_start(started: float) -> float:
    """Returns `time.monotonic()` of the run's first start; `started` if this is the first."""
    return float(os.environ.get(FIRST_START_VARIABLE) or started)


def restart_after_hang(hang: str, started: float, command: list[str]) -> None:
    """Replaces this process with a new start, whatever its threads wait for.

    Args:
        hang: what hung, as in `past_hangs`.
        started: `time.monotonic()` of the first start.
        command: from `monet.machine.tpu_environment.command_outside`.

    Raises:
        OSError: if the command cannot be executed.
    """
    os.environ.update({HUNG_VARIABLE: ",".join([*past_hangs(), hang]), FIRST_START_VARIABLE: repr(started)})
    if len(past_hangs()) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # the CPU paints; a hung GPU must not be asked for anything
    for number in map(int, os.listdir("/proc/self/fd")):
        if number > 2:  # no file but the standard streams stays open, neither a TPU's device file nor a lock
            with contextlib.suppress(OSError):
                os.set_inheritable(number, False)
    os.execv(command[0], command)
