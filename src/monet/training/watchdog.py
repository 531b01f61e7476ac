"""Notices a device that hangs, and starts the program anew from the newest checkpoint."""

import contextlib
import dataclasses
import faulthandler
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from monet.core.errors import LOG
from monet.machine.restarts import past_hangs, restart_after_hang
from monet.machine.tpu_environment import command_outside

LEAST_SECONDS = 300.0  # no call is hung before
TIMES_LONGEST = 10  # nor before it takes this many times as long as the longest before
COMPILING_SECONDS = 1200.0  # limit of a call that may compile
CHECK_SECONDS = 5.0  # between two looks at the call


@dataclasses.dataclass
class Call:
    """A call of the device that is not over; `seconds` is how long it has been watched."""

    name: str
    seconds: float = 0.0


class Watchdog:
    """Watches the main thread's calls of the device, from another thread.

    A dispatched call returns before the device is done. The next call that needs its results then waits, so these are
    watched, too.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic):
        """Nothing is watched before `start`; `now` returns the time in seconds."""
        self.now, self.checked = now, now()
        self.current, self.counts, self.longest = None, Counter(), Counter()

    @contextlib.contextmanager
    def call(self, name: str) -> Iterator[None]:
        """Watches the block, which waits for the device. A call within a call interrupts the outer one.

        Args:
            name: for calls that do the same. The first compiles; its time does not count for the others' limit.
        """
        outer, self.current = self.current, Call(name)
        try:
            yield
            if self.counts[name]:
                self.longest[name] = max(self.longest[name], self.current.seconds)
            self.counts[name] += 1
        finally:
            self.current = Call(outer.name) if outer else None

    def watched(self, paint: Callable) -> Callable:
        """`paint` as a call, which waits for the painted images and returns them as an array."""
        def paint_and_wait(images) -> np.ndarray:
            with self.call(f"painting {len(images)} images"):  # each number is compiled by itself
                return np.asarray(paint(images))

        return paint_and_wait

    def limit(self, name: str) -> float:
        """Seconds after which a call `name` is hung. It takes two calls to know how long one takes."""
        if self.counts[name] < 2:
            return COMPILING_SECONDS
        return max(LEAST_SECONDS, TIMES_LONGEST * self.longest[name])

    def hung(self) -> Call | None:
        """The current call if it is hung; to be asked every `CHECK_SECONDS`.

        If nobody asked for longer, the process stood still (Ctrl-Z, a suspended machine), and that time does not count.
        """
        now, call = self.now(), self.current
        awake, self.checked = min(now - self.checked, 2 * CHECK_SECONDS), now
        if call is None:
            return None
        call.seconds += awake
        return call if call.seconds > self.limit(call.name) else None

    def start(self, hang: str, is_single: bool, started: float) -> None:
        """Starts watching, until the program ends.

        Args:
            hang: what a hang would be recorded as: see `monet.machine.restarts.past_hangs`.
            is_single: whether the run has only this machine.
            started: `time.monotonic()` of the first start.
        """
        def watch() -> None:
            while (call := self.hung()) is None:
                time.sleep(CHECK_SECONDS)
            LOG.error("The %s hangs: it has not answered for %.0f s (%s). The stacks of all threads:\n%s",
                      hang.split(":")[0], call.seconds, call.name, thread_stacks())
            end_or_restart(hang, is_single, started)

        threading.Thread(target=watch, name="watchdog", daemon=True).start()


def thread_stacks() -> str:
    """The stacks of all threads, as text."""
    with tempfile.TemporaryFile("w+", errors="replace") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return file.read()


def end_or_restart(hang: str, is_single: bool, started: float) -> None:
    """Ends this process after a hang: by a restart, or, where that cannot be, with what to do. See `Watchdog.start`."""
    if not is_single:
        end_process("A run on several machines does not restart by itself. Start the same command on each of them "
                    "again: it resumes from the newest checkpoint.")
    if "ipykernel" in sys.modules:
        choose = {"GPU:tensorflow": "xla to off", "TPU:tensorflow": "engine to jax",
                  "TPU:jax": "engine to tensorflow"}.get(hang, "accelerator to cpu")
        end_process("A notebook cannot restart by itself. Restart its session and run all cells: the run resumes from "
                    f"its newest checkpoint. If it hangs again, set {choose}.")
    LOG.warning("Restarting %s", "to paint with the newest checkpoint on the CPU" if past_hangs()
                else "from the newest checkpoint" + {"GPU:tensorflow": ", without XLA", "TPU:tensorflow": ", with JAX"}
                .get(hang, ""))
    try:
        restart_after_hang(hang, started, command_outside())
    except OSError as error:
        end_process(f"That failed ({error}). Start the same command again: it resumes from the newest checkpoint.")


def end_process(message: str) -> None:
    """Logs the message and ends the process, whatever its threads wait for."""
    LOG.error("%s", message)
    sys.stderr.flush()  # a notebook's output is sent by another thread
    os._exit(2)
