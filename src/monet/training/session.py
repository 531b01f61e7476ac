"""One start of the program: its clock, signals, log and exit status."""

import contextlib
import dataclasses
import logging
import signal
import time
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf
from tqdm.contrib.logging import logging_redirect_tqdm

from monet.core.config import Config
from monet.core.errors import LOG, UserError, say
from monet.machine.cluster import ONE_MACHINE, OneMachine
from monet.machine.restarts import first_start
from monet.training.deadline import Interrupted, noted_signal
from monet.training.run_files import open_run

TERMINATED = "Told to terminate: finishing and saving; the next signal kills"


@dataclasses.dataclass(frozen=True)
class Session:
    """One start of the program on a run.

    Attributes:
        started: `time.monotonic()` that `max_minutes` counts from; after a hang, that of the first start.
        terminated: not empty once the program was told to terminate.
        cluster: the machines that train together.
    """

    started: float = dataclasses.field(default_factory=time.monotonic)
    terminated: Sequence = ()
    cluster: OneMachine = ONE_MACHINE

    def deadline(self, config: Config) -> float | None:
        """`time.monotonic()` by which everything must be done; None for no limit."""
        return self.started + 60 * config.max_minutes if config.max_minutes else None


def start_logging(out: str = "") -> None:
    """Logs to standard error and, if `out` is given, to its run.log.

    Raises:
        UserError: if that folder cannot be written.
    """
    LOG.setLevel(logging.INFO)
    LOG.handlers.clear()
    logging.raiseExceptions = False  # a full disk ends the run with a message, not with tracebacks from logging
    LOG.addHandler(logging.StreamHandler())
    if out:
        to_file = logging.FileHandler(open_run(out).log, encoding="utf-8", errors="backslashreplace")
        to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        LOG.addHandler(to_file)


@contextlib.contextmanager
def session_of(started: float | None = None, cluster: OneMachine = ONE_MACHINE) -> Iterator[Session]:
    """A session for the block, in which SIGTERM is noted and log lines do not break progress bars."""
    with logging_redirect_tqdm([LOG]), noted_signal(signal.SIGTERM, TERMINATED) as terminated:
        yield Session(first_start(time.monotonic() if started is None else started), terminated, cluster)


def ended(message: str, status: int) -> int:
    """Reports how the program ended, also in the run's log if it has one, and returns the exit status."""
    if LOG.handlers:
        LOG.error("%s", message)
    else:
        say(message)
    return status


def exit_status(action: Callable[[], int]) -> int:
    """Runs `action` and returns the exit status: what it returns, 2 for a mistake that the user can fix, 130 if it was
    interrupted. Errors are reported as a sentence."""
    LOG.handlers.clear()
    try:
        return action()
    except UserError as error:
        return ended(f"error: {error}", 2)
    except tf.errors.ResourceExhaustedError:
        return ended("error: The device's memory is full. Give a smaller --batch-size, --image-pool or --nce-patches, "
                     "or fewer --generator-filters.", 2)
    except OSError as error:
        return ended(f"error: {error.filename or 'The system'}: {error.strerror or error}. Free some space or give a "
                     "folder that can be used, then start again: the run resumes from the newest checkpoint.", 2)
    except Interrupted:
        return ended("Stopped and saved: the same command resumes from there.", 130)
    except KeyboardInterrupt:
        return ended("Interrupted.", 130)
