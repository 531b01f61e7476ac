"""Files that are whole or not there at all."""

import contextlib
import dataclasses
import errno
import json
import os
from collections.abc import Iterator

from monet.core.config import Config
from monet.core.errors import UserError


def out_of_space(error: OSError) -> bool:
    """Whether the error says that the disk, or the user's share of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def whole_file(path: str) -> Iterator[str]:
    """A temporary path beside `path` to write to, in a folder that is made if need be; it takes the name `path` when
    the block ends.

    Raises:
        UserError: if the disk is full, or the file cannot be written. However the block fails, the temporary file is
            removed, and an earlier file at `path` stays as it was.
    """
    temporary = f"{path}.part"
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())  # or a crash of the machine could leave the new name on an empty file
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        if isinstance(error, OSError):
            what = "The disk is full: " if out_of_space(error) else ""
            raise UserError(f"{what}{path} cannot be written ({error.strerror or error}). An earlier file of that name "
                            "is untouched: free some space or give another --out, and start again.") from error
        raise


def write_config(config: Config, path: str) -> None:
    """Writes the config as JSON to `path`.

    Raises:
        UserError: if it cannot be written.
    """
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(config), file, indent=2)
        file.write("\n")
