"""Only one process at a time writes into a run's folder."""

import contextlib
import datetime
import fcntl
import os
import socket
from collections.abc import Iterator

from monet.core.errors import UserError
from monet.training.run_files import RunFiles


@contextlib.contextmanager
def only_writer(out: str, writes: bool = True) -> Iterator[None]:
    """Holds the folder `out` for the block; no other process can hold it meanwhile. Creates it if it does not exist.

    The lock is the system's, on a file that names the holder. It ends with the process, however that ends: nothing
    stays locked. A program that replaces this one (`exec`) does not inherit it. Where the file system has no locks,
    nothing is held.

    Args:
        out: a run's folder.
        writes: whether this machine writes there. In a cluster only the chief does, and holds the folder for all.

    Raises:
        UserError: if another process holds it, naming machine, process and time; or if it cannot be written.
    """
    if not writes:
        yield
        return
    path = RunFiles(out).lock
    with open_lock(path) as file:
        take_lock(file, out)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # somebody has removed the folder
                os.remove(path)


def open_lock(path: str):
    """Opens the file `path` for reading and writing, and creates its folder.

    Raises:
        UserError: if it cannot be written.
    """
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        return open(path, "a+", encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): give an --out that can.") from None


def take_lock(file, out: str) -> None:
    """Locks the open file, and writes into it who holds it.

    Raises:
        UserError: if another process has locked it.
    """
    advice = "Wait until it ends, or give another --out (OUT=FOLDER with make)."
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "another process"
        raise UserError(f"{out} is in use: {holder} is writing there. {advice}") from None
    except OSError:
        pass  # a file system without locks
    if not has_its_name(file):  # the holder removed it and ended after it was opened here
        raise UserError(f"{out} was in use until now. Start again.")
    file.truncate(0)
    now = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
    file.write(f"process {os.getpid()} on {socket.gethostname()}, since {now},\n")
    file.flush()


def has_its_name(file) -> bool:
    """Whether the open file is still the one of its name: not removed, nor replaced by another."""
    try:
        return os.path.samestat(os.stat(file.name), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
