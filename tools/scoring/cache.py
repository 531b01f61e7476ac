"""The cache of tools/mifid.py, in the user's cache directory.

It holds features by the images' bytes and the weights, and results of the submission check by what was checked.
"""

import contextlib
import functools
import glob
import hashlib
import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

from console import ROOT, TOOLS

import numpy as np
import PIL

from monet.core.array_files import UNREADABLE, read_arrays
from monet.core.errors import UserError, say
from monet.core.files import atomic_write
from monet.core.process import cache_folder

PACKAGE = ROOT / "src" / "monet"
# Features depend on these files.
FEATURE_CODE = (PACKAGE / "scoring" / "inception.py", PACKAGE / "data" / "torch_file.py",
                TOOLS / "scoring" / "sources.py")
MAX_FEATURE_BYTES = 2 << 30  # a submission takes 57 MB
DIGEST_BYTES = 32


@functools.cache  # once per folder
def warn_unwritable(folder: str, why: str) -> None:
    """Warns that results cannot be cached."""
    say(f"warning: {folder} cannot be written ({why}): another run will compute everything again.")


def write_cache_file(path: Path, write) -> bool:
    """Creates a cache file by `write(binary file)`; returns whether that worked, and warns if not."""
    try:
        with atomic_write(str(path)) as temporary, open(temporary, "wb") as file:
            write(file)
    except UserError as error:  # its advice does not suit a cache
        warn_unwritable(cache_folder(), error.__cause__.strerror or str(error.__cause__))
        return False
    return True


def code_digest() -> str:
    """Identifies the code that computes features from weights, in hexadecimal."""
    return hashlib.sha256(b"".join([path.read_bytes() for path in FEATURE_CODE]) + PIL.__version__.encode()).hexdigest()


class FeatureCache:
    """Features of single images, float32 `[width]`, by SHA-256 of the bytes they were decoded from.

    Each file holds a few hundred images, so that an interrupted run keeps what it had, and any set of images finds
    those already known.
    """

    def __init__(self, weights_digest: str):
        """Opens the features computed by the current code with the weights of this SHA-256."""
        self.root = Path(cache_folder()) / "features"
        self.folder = self.root / f"{weights_digest[:16]}-{code_digest()[:16]}"

    def find(self, digests: Sequence[bytes]) -> dict[bytes, tuple[np.ndarray, str]]:
        """Returns the features and the note of each known image. Removes damaged files."""
        wanted, known = set(digests), {}
        for path in (self.folder / name for name in sorted(glob.glob("*.npz", root_dir=self.folder))):
            try:
                keys = [row.tobytes() for row in read_arrays(str(path), "digests")[""]]
                rows = [row for row, key in enumerate(keys) if key in wanted]
                if not rows:
                    continue
                part = read_arrays(str(path))
                features, notes = part["features"], part["notes"]
                if not len(keys) == len(features) == len(notes):
                    raise ValueError("arrays of different lengths")
            except UNREADABLE:
                with contextlib.suppress(OSError):  # another process was faster, or it is not ours to remove
                    path.unlink()
                continue
            with contextlib.suppress(OSError):  # likewise
                os.utime(path)  # marks it as recently used
            known.update((keys[row], (features[row], str(notes[row]))) for row in rows)
        return known

    def add(self, digests: Sequence[bytes], features: np.ndarray, notes: Sequence[str]) -> bool:
        """Stores the finite features and evicts old ones. Returns whether they could be written; warns once if not."""
        rows = np.flatnonzero(np.isfinite(features).all(axis=1))
        keys = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES)
        arrays = {"digests": keys[rows], "features": features[rows], "notes": np.array(notes, dtype=str)[rows]}
        path = self.folder / f"{uuid.uuid4().hex}.npz"
        written = write_cache_file(path, lambda file: np.savez(file, **arrays))
        self.evict()
        return written

    def evict(self) -> None:
        """Removes the least recently used files beyond `MAX_FEATURE_BYTES`."""
        parts = []
        for name in glob.glob("*/*.npz", root_dir=self.root):
            with contextlib.suppress(OSError):  # already removed
                status = os.stat(self.root / name)
                parts.append((status.st_mtime, status.st_size, self.root / name))
        parts.sort(reverse=True)
        for (_, _, path), total in zip(parts, np.cumsum([size for _, size, _ in parts]), strict=True):
            if total > MAX_FEATURE_BYTES:
                with contextlib.suppress(OSError):
                    path.unlink()


def read_problems(path: Path) -> list[str] | None:
    """The sentences in a cache file; None if it is missing or holds anything else."""
    try:
        problems = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return problems if isinstance(problems, list) and all(isinstance(line, str) for line in problems) else None


def cached_problems(key: bytes, find) -> list[str]:
    """Returns `find()`, a list of sentences, or what it returned earlier for the same `key`.

    Raises:
        UserError: as `find`.
    """
    path = Path(cache_folder()) / "checks" / f"{hashlib.sha256(key).hexdigest()}.json"
    problems = read_problems(path)
    if problems is None:
        problems = find()
        write_cache_file(path, lambda file: file.write(json.dumps(problems).encode()))
    return problems
