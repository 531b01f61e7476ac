"""What tools/mifid.py has computed before, in the user's cache directory: features by the images' bytes and the
weights, verdicts of the submission's check by what was checked."""

import contextlib
import functools
import glob
import hashlib
import json
import os
import uuid
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL
from console import ROOT, TOOLS

from monet.core.errors import UserError, say
from monet.core.files import atomic_write
from monet.scoring.inception_weights import cache_folder

PACKAGE = ROOT / "src" / "monet"
# What features depend on.
FEATURE_CODE = (PACKAGE / "scoring" / "inception.py", PACKAGE / "data" / "torch_file.py",
                TOOLS / "scoring" / "sources.py")
MOST_KEPT = 2 << 30  # bytes of features; the longest unused go first. A submission has 57 MB
DIGEST_BYTES = 32
DAMAGED = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile)


@functools.cache  # once for each place
def warn_of(folder: str, why: str) -> None:
    """Says that what is computed cannot be kept."""
    say(f"warning: nothing can be kept in {folder} ({why}): another run computes it again.")


def keep_file(path: Path, write) -> bool:
    """Writes a file of the cache by `write(binary file)`; returns whether it could, and warns if not."""
    try:
        with atomic_write(str(path)) as temporary, open(temporary, "wb") as file:
            write(file)
    except UserError as error:  # whose advice is not for a cache
        warn_of(cache_folder(), error.__cause__.strerror or str(error.__cause__))
        return False
    return True


def code_digest() -> str:
    """What tells one way of computing features from weights from another, in hexadecimal."""
    return hashlib.sha256(b"".join([path.read_bytes() for path in FEATURE_CODE]) + PIL.__version__.encode()).hexdigest()


class FeatureCache:
    """Features of single images, float32 `[width]`, by SHA-256 of what they were decoded from. They are in files of
    some hundred images, so that an interrupted run keeps what it had, and any set of images finds those it knows."""

    def __init__(self, weights_digest: str):
        """Those that the weights of this SHA-256 gave, by the code as it is now."""
        self.root = Path(cache_folder()) / "features"
        self.folder = self.root / f"{weights_digest[:16]}-{code_digest()[:16]}"

    def find(self, digests: Sequence[bytes]) -> dict[bytes, tuple[np.ndarray, str]]:
        """What is known of the images: features, and what is odd about the image. A damaged file is removed."""
        wanted, found = set(digests), {}
        for path in (self.folder / name for name in sorted(glob.glob("*.npz", root_dir=self.folder))):
            try:
                with np.load(path, allow_pickle=False) as part:
                    keys = [row.tobytes() for row in part["digests"]]
                    rows = [row for row, key in enumerate(keys) if key in wanted]
                    if not rows:
                        continue
                    features, notes = part["features"], part["notes"]
                    if not len(keys) == len(features) == len(notes):
                        raise ValueError("parts of different lengths")
            except DAMAGED:
                with contextlib.suppress(OSError):  # another process did, or it may not be removed
                    path.unlink()
                continue
            with contextlib.suppress(OSError):  # likewise
                os.utime(path)  # used now
            found.update((keys[row], (features[row], str(notes[row]))) for row in rows)
        return found

    def add(self, digests: Sequence[bytes], features: np.ndarray, notes: Sequence[str]) -> bool:
        """Keeps those of the features that are finite, and forgets what was unused for longest, if it is too much by
        now. Returns whether they could be written; a warning says so once, if not."""
        rows = np.flatnonzero(np.isfinite(features).all(axis=1))
        keys = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES)
        arrays = {"digests": keys[rows], "features": features[rows], "notes": np.array(notes, dtype=str)[rows]}
        kept = keep_file(self.folder / f"{uuid.uuid4().hex}.npz", lambda file: np.savez(file, **arrays))
        self.forget()
        return kept

    def forget(self) -> None:
        """Removes the files that were unused for longest, beyond `MOST_KEPT` bytes."""
        parts = []
        for name in glob.glob("*/*.npz", root_dir=self.root):
            with contextlib.suppress(OSError):  # gone by now
                known = os.stat(self.root / name)
                parts.append((known.st_mtime, known.st_size, self.root / name))
        parts.sort(reverse=True)
        for (_, _, path), so_far in zip(parts, np.cumsum([size for _, size, _ in parts]), strict=True):
            if so_far > MOST_KEPT:
                with contextlib.suppress(OSError):
                    path.unlink()


def read_verdict(path: Path) -> list[str] | None:
    """The sentences that are kept in the file; None if it holds anything else, or is not there."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return kept if isinstance(kept, list) and all(isinstance(line, str) for line in kept) else None


def cached_verdict(key: bytes, make) -> list[str]:
    """`make()`, a list of sentences, or what it returned before for the same `key`.

    Raises:
        UserError: as `make`.
    """
    path = Path(cache_folder()) / "checks" / f"{hashlib.sha256(key).hexdigest()}.json"
    verdict = read_verdict(path)
    if verdict is None:
        verdict = make()
        keep_file(path, lambda file: file.write(json.dumps(verdict).encode()))
    return verdict
