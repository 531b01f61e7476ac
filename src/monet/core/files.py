"""Atomic file writes: a killed run never leaves half a file."""

import contextlib
import dataclasses
import errno
import json
import os
from collections.abc import Iterator, Sequence

from monet.core.config import CHANGES, Config
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
            full = out_of_space(error)
            raise UserError(f"{'The disk is full: ' * full}{path} cannot be written ({error.strerror or error}). An "
                            f"existing file of that name is unchanged. {'Free some space or give' if full else 'Give'} "
                            "another --out, then start again.") from error
        raise


def write_config(config: Config, path: str, changes: Sequence[dict] = ()) -> None:
    """Writes the config to `path` as JSON, with the settings that changed on the way, if any, as `changes`.

    Raises:
        UserError: if the file cannot be written.
    """
    record = {CHANGES: list(changes)} if changes else {}
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(config) | record, file, indent=2)
        file.write("\n")
