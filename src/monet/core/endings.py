"""How a command ends early: Ctrl-C, a closed terminal, or nobody who reads its output. Standard library only."""

import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator

from monet.core.errors import say


def exit_interrupted(*_) -> None:
    """A signal handler: ends the process at once, with the status of a program that Ctrl-C ended."""
    say("Interrupted.")
    os._exit(130)


@contextlib.contextmanager
def default_replaced(number: int, handler: Callable) -> Iterator[None]:
    """Handles the signal `number` by `handler` during the block, if it has Python's default handler until then: where
    it is ignored, it stays so."""
    before = signal.getsignal(number)
    if before is (signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL):
        signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def quiet_interrupt() -> contextlib.AbstractContextManager:
    """Makes Ctrl-C end the process without a traceback during the block, in which there is nothing to save: imports.

    An exception would not do: libraries turn it into errors of their own.
    """
    return default_replaced(signal.SIGINT, exit_interrupted)


def hangup_terminates() -> contextlib.AbstractContextManager:
    """Makes SIGHUP, which a process gets when its terminal is closed, act as SIGTERM; under nohup it stays ignored."""
    def terminate(*_) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the shell and the system both send it
        signal.raise_signal(signal.SIGTERM)

    return default_replaced(signal.SIGHUP, terminate)


@contextlib.contextmanager
def kept_interrupt() -> Iterator[None]:
    """Raises KeyboardInterrupt if Ctrl-C was pressed in the block, although a library made another error of it."""
    pressed = []

    def note(number: int, frame) -> None:
        pressed.append(number)
        signal.default_int_handler(number, frame)

    with default_replaced(signal.SIGINT, note):
        try:
            yield
        except Exception as error:
            if pressed:
                raise KeyboardInterrupt from error
            raise


def reader_has_left() -> bool:
    """Returns whether standard output is a pipe that nobody reads any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def drop_unread() -> None:
    """Prints what is still buffered; drops it if nobody reads it, so that Python does not complain when it exits."""
    for stream, loss in ((sys.stdout, BrokenPipeError), (sys.stderr, OSError)):
        try:
            stream.flush()
        except loss:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def run_quietly(action: Callable[[], int | None]) -> int:
    """Runs `action` and returns the exit status that it returns; None is 0.

    If nobody reads standard output any more, as behind `| head`, the action ends at its next output, with status 0 and
    without a word.

    Raises:
        KeyboardInterrupt: after Ctrl-C.
    """
    try:
        with kept_interrupt():
            return action() or 0
    except BrokenPipeError:
        if not reader_has_left():
            raise  # another pipe, or a connection
        return 0
    finally:
        drop_unread()
