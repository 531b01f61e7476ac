"""What tools/mifid.py has computed before, in the user's cache directory: features by the images' bytes and the
weights, verdicts of the submission's check by what was checked."""

import hashlib
import json
import os
import uuid
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from monet.files import whole_file
from monet.inception_weights import cache_folder

MOST_KEPT = 2 << 30  # bytes of features; the longest unused go first. A submission has 57 MB
DIGEST_BYTES = 32
DAMAGED = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile)


class FeatureCache:
    """Features of single images, float32 `[width]`, by SHA-256 of what they were decoded from. They are in files of
    some hundred images, so that an interrupted run keeps what it had, and any set of images finds those it knows."""

    def __init__(self, weights_digest: str):
        """Those that the weights of this SHA-256 gave."""
        self.root = Path(cache_folder()) / "features"
        self.folder = self.root / weights_digest[:16]

    def find(self, digests: Sequence[bytes]) -> dict[bytes, tuple[np.ndarray, str]]:
        """What is known of the images: features, and what is odd about the image. A damaged file is removed."""
        wanted, found = set(digests), {}
        for path in sorted(self.folder.glob("*.npz")):
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
                path.unlink(missing_ok=True)
                continue
            os.utime(path)  # used now
            found.update((keys[row], (features[row], str(notes[row]))) for row in rows)
        return found

    def add(self, digests: Sequence[bytes], features: np.ndarray, notes: Sequence[str]) -> None:
        """Keeps the features of some images, and forgets what was unused for longest, if it is too much by now.

        Raises:
            UserError: if they cannot be written.
        """
        keys = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES)
        with whole_file(str(self.folder / f"{uuid.uuid4().hex}.npz")) as temporary, open(temporary, "wb") as file:
            np.savez(file, digests=keys, features=features, notes=np.array(notes, dtype=str))
        parts = sorted(((path.stat().st_mtime, path.stat().st_size, path) for path in self.root.glob("*/*.npz")),
                       reverse=True)
        total = np.cumsum([size for _, size, _ in parts])
        for _, _, path in (part for part, so_far in zip(parts, total, strict=True) if so_far > MOST_KEPT):
            path.unlink(missing_ok=True)


def cached_verdict(key: bytes, make) -> list[str]:
    """`make()`, a list of sentences, or what it returned before for the same `key`.

    Raises:
        UserError: as `make`, or if it cannot be kept.
    """
    path = Path(cache_folder()) / "checks" / f"{hashlib.sha256(key).hexdigest()}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        verdict = make()
    with whole_file(str(path)) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(verdict, file)
    return verdict
