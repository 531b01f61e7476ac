"""Atomic file writes: a killed run never leaves half a file."""

import contextlib
import dataclasses
import errno
import json
import os
from collections.abc import Iterator

from monet.core.config import Config
from monet.core.errors import UserError


def out_of_space(error: OSError) -> bool:
    """Returns whether the error means that the disk is full or a quota or size limit is reached."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def atomic_write(path: str) -> Iterator[str]:
    """Yields a temporary path to write to, and renames it to `path` when the block ends.

    Creates missing folders. If the block fails, the temporary file is removed and an existing file at `path` is kept.

    Raises:
        UserError: if the disk is full or the file cannot be written.
    """
    temporary = f"{path}.part"
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())  # otherwise a system crash could leave an empty file under the new name
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        if isinstance(error, OSError):
            cause = "The disk is full: " if out_of_space(error) else ""
            raise UserError(f"{cause}{path} cannot be written ({error.strerror or error}). An existing file of that "
                            "name is unchanged. Free some space or give another --out, then start again.") from error
        raise


def write_config(config: Config, path: str) -> None:
    """Writes the config to `path` as JSON.

    Raises:
        UserError: if the file cannot be written.
    """
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(config), file, indent=2)
        file.write("\n")
