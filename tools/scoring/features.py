"""Features of a source's images: from the cache, or else computed by the FID Inception and cached as they come."""

import collections
import contextlib
import hashlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from scoring.cache import FeatureCache
from scoring.sources import Source
from tqdm import tqdm

from monet.core.errors import LOG, UserError, say
from monet.core.file_names import list_names
from monet.core.progress import progress_bar
from monet.data.torch_file import read_state_dict
from monet.scoring.inception_weights import WeightsFile

SAVE_EVERY = 256  # images: an interruption loses the work on at most this many
THREADS = min(8, os.cpu_count() or 1)


class ImageFeatures(NamedTuple):
    """The features of some of a source's images."""

    features: np.ndarray  # [images, width]
    positions: list[int]  # of these images in the source
    notes: list[str]  # what is unusual about each
    skipped: list[str]  # names of unreadable images


def load_extractor(weights: WeightsFile) -> Callable:
    """Builds the Inception and returns its function from `monet.scoring.inception.make_extractor`.

    Raises:
        UserError: if the weights are another network's.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from monet.scoring.inception import build_inception, make_extractor  # here: TensorFlow takes seconds to load

    return make_extractor(build_inception(read_state_dict(weights.path)))


class SayHandler(logging.Handler):
    """A log handler that writes to the current stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the message alone."""
        say(record.getMessage())


def log_to_terminal() -> None:
    """Shows the log's lines, which replace progress bars where there is no terminal."""
    if not LOG.handlers:
        LOG.addHandler(SayHandler())
        LOG.setLevel(logging.INFO)


def examine_image(source: Source, position: int) -> tuple[str, str]:
    """Returns what is unusual about an image, and why it cannot be read; both are empty for most."""
    try:
        return source.decode(source.reads[position]())[1], ""
    except Exception as error:  # whatever Pillow raises: it is this image's fault
        return "", str(error) or type(error).__name__


def refuse_unreadable(source: Source, faults: dict[int, str], skip: bool) -> list[str]:
    """Returns the names of the unreadable images, whose faults are given by position.

    Raises:
        UserError: if there are any and they are not to be skipped.
    """
    names = [source.names[position] for position in sorted(faults)]
    if names and not skip:
        raise UserError(f"{len(names):,} of {len(source.names):,} images in {source.path} cannot be read: "
                        f"{list_names(names)} ({faults[min(faults)]}). Make them again, or give --skip-unreadable to "
                        "leave them out.")
    return names


def read_image(source: Source, position: int, digest: bytes) -> np.ndarray:
    """Decodes an image whose bytes must have this SHA-256.

    Raises:
        UserError: if they have changed or are gone.
    """
    with contextlib.suppress(Exception):  # as in `examine_image`
        data = source.reads[position]()
        if hashlib.sha256(data).digest() == digest:
            return source.decode(data)[0]
    raise UserError(f"{source.names[position]} in {source.path} changed while it was read. Run this again once all "
                    "images are written.")


def decoded_images(source: Source, positions: dict[bytes, int]) -> Iterator[np.ndarray]:
    """Decodes the images at these positions, by digest, in several threads, a few images ahead.

    Raises:
        UserError: as `read_image`.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        pending = collections.deque()
        for digest, position in positions.items():
            pending.append(pool.submit(read_image, source, position, digest))
            if len(pending) > 2 * THREADS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def compute_features(source: Source, positions: dict[bytes, int], notes: dict[bytes, str], extract: Callable,
                     cache: FeatureCache, label: str) -> dict[bytes, tuple[np.ndarray, str]]:
    """Computes features and caches them from time to time, and also if it is interrupted.

    Args:
        source: of the images.
        positions: of the images in the source, by digest.
        notes: what is unusual about each, by digest.
        extract: from `load_extractor`.
        cache: where to save the features.
        label: the progress bar's title.

    Returns:
        Each image's features and note by its digest, as `FeatureCache.find` does.

    Raises:
        UserError: as `read_image`.
    """
    from monet.scoring.inception import feature_batches  # here, because TensorFlow takes seconds to load

    digests, unsaved, computed, saved = list(positions), [], {}, 0

    def save() -> None:
        nonlocal unsaved, saved
        if unsaved:
            batch = np.concatenate(unsaved)
            part = digests[len(computed):len(computed) + len(batch)]
            saved += len(batch) * cache.add(part, batch, [notes[digest] for digest in part])
            computed.update((digest, (row, notes[digest])) for digest, row in zip(part, batch, strict=True))
            unsaved = []

    try:
        with progress_bar(label, len(digests)) as show:
            for features in feature_batches(extract, decoded_images(source, positions)):
                unsaved.append(features)
                unsaved_count = sum(map(len, unsaved))
                show(len(computed) + unsaved_count)
                if unsaved_count >= SAVE_EVERY:
                    save()
        save()
    except BaseException as error:
        save()
        if saved and isinstance(error, KeyboardInterrupt):
            say(f"The features of {saved:,} more images were saved: the same command continues from there.")
        raise
    return computed


def find_features(source: Source, positions: list[int], weights: WeightsFile | None, extractor: Callable[[], Callable],
                  skip: bool = False, label: str = "Features") -> ImageFeatures:
    """Finds or computes the features of a source's images.

    Args:
        source: images, or features, which are returned as they are.
        positions: of the images in the source.
        weights: what to compute with; None for a source of features.
        extractor: returns what `load_extractor` does; only called if an image is not in the cache.
        skip: leave out unreadable images instead of raising an error.
        label: the progress bar's title.

    Raises:
        UserError: if images are unreadable, or change meanwhile.
    """
    if source.features is not None:
        return ImageFeatures(source.features[positions], positions, [""] * len(positions), [])
    cache = FeatureCache(weights.digest)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(source.digest, [position for position in positions if position not in source.digests]))
        digests = {position: source.digest(position) for position in positions}
        known = cache.find(digests.values())
        new = [position for position in positions if digests[position] not in known]
        results = tqdm(pool.map(lambda position: examine_image(source, position), new), f"{label}: decoding", len(new),
                       unit="image", disable=not new or not sys.stderr.isatty())
        examined = dict(zip(new, results, strict=True))
    faults = {position: fault for position, (_, fault) in examined.items() if fault}
    skipped = refuse_unreadable(source, faults, skip)
    new_positions = {digests[position]: position for position in new if position not in faults}
    if new_positions:
        log_to_terminal()
        if len(new) < len(positions):
            say(f"{len(positions) - len(new):,} of {len(positions):,} images are known from an earlier run.")
        if copies := len(new) - len(faults) - len(new_positions):
            say(f"{copies:,} of {len(positions):,} images are copies of others, whose features they share.")
        notes = {digest: examined[position][0] for digest, position in new_positions.items()}
        known.update(compute_features(source, new_positions, notes, extractor(), cache, label))
    readable = [position for position in positions if position not in faults]
    if len(readable) < 2:
        raise UserError(f"{source.path} holds {len(readable)} readable images, and a covariance takes at least 2. Give "
                        "another.")
    features = np.stack([known[digests[position]][0] for position in readable])
    return ImageFeatures(features, readable, [known[digests[position]][1] for position in readable], skipped)
