"""Features of a source's images: from the cache where they are known, else by the FID Inception, kept as they come."""

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
from scoring.sources import UNREADABLE, Source
from tqdm import tqdm

from monet.core.errors import LOG, UserError, say
from monet.scoring.inception_weights import Weights

KEPT_EVERY = 256  # images: what an interruption may cost is the time of as many
NAMES_SHOWN = 5
THREADS = min(8, os.cpu_count() or 1)


class Found(NamedTuple):
    """The features of some of a source's images."""

    features: np.ndarray  # [images, width]
    positions: list[int]  # of these images in the source
    notes: list[str]  # what is odd about each
    skipped: list[str]  # names of those that cannot be read


def make_network(weights: Weights) -> Callable:
    """The function of `monet.inception.make_extractor` for the weights.

    Raises:
        UserError: if they are not the network's.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from monet.data.torch_file import read_state_dict
    from monet.scoring.inception import (  # here, because TensorFlow takes seconds to load
        build_inception,
        make_extractor,
    )

    return make_extractor(build_inception(read_state_dict(weights.path)))


class SayIt(logging.Handler):
    """Says what is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        """To what is stderr by now."""
        say(record.getMessage())


def log_to_terminal() -> None:
    """Lets the log's lines, which take the place of progress bars where there is no terminal, be seen."""
    if not LOG.handlers:
        LOG.addHandler(SayIt())
        LOG.setLevel(logging.INFO)


def listed(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    shown = names[:NAMES_SHOWN]
    return ", ".join(shown) + (f" and {len(names) - len(shown):,} more" if len(names) > len(shown) else "")


def note_of_image(source: Source, position: int) -> tuple[str, str]:
    """What is odd about an image, and why it cannot be read; both are empty for most."""
    try:
        return source.decode(source.reads[position]())[1], ""
    except UNREADABLE as error:
        return "", str(error) or type(error).__name__


def refuse_unreadable(source: Source, faults: dict[int, str], skip: bool) -> list[str]:
    """The names of the images that cannot be read, by their positions.

    Raises:
        UserError: if there are any that shall not be skipped.
    """
    names = [source.names[position] for position in sorted(faults)]
    if names and not skip:
        raise UserError(f"{len(names):,} of {len(source.names):,} images in {source.path} cannot be read: "
                        f"{listed(names)} ({faults[min(faults)]}). Make them again, or go on without them: "
                        "--skip-unreadable.")
    return names


def read_image(source: Source, position: int, digest: bytes) -> np.ndarray:
    """An image's pixels, from the bytes of this SHA-256.

    Raises:
        UserError: if it has other bytes by now, or none.
    """
    with contextlib.suppress(*UNREADABLE):
        data = source.reads[position]()
        if hashlib.sha256(data).digest() == digest:
            return source.decode(data)[0]
    raise UserError(f"{source.names[position]} in {source.path} was changed while it was read. Run this again when all "
                    "is written.")


def compute(source: Source, wanted: dict[bytes, int], notes: dict[bytes, str], network: Callable, cache: FeatureCache,
            label: str) -> dict[bytes, tuple[np.ndarray, str]]:
    """Computes features, and keeps them in the cache now and then and however it ends.

    Args:
        source: of the images.
        wanted: a position in it by the image's digest.
        notes: what is odd about each.
        network: of `make_network`.
        cache: where they go.
        label: what the progress bar says.

    Returns:
        What `FeatureCache.find` would: each image's features and note by its digest.

    Raises:
        UserError: as `read_image`.
    """
    from monet.core.progress import progress_bar
    from monet.scoring.inception import feature_batches  # here, because TensorFlow takes seconds to load

    digests, waiting, found, kept = list(wanted), [], {}, 0

    def keep() -> None:
        nonlocal waiting, kept
        if waiting:
            batch = np.concatenate(waiting)
            part = digests[len(found):len(found) + len(batch)]
            kept += len(batch) * cache.add(part, batch, [notes[digest] for digest in part])
            found.update((digest, (row, notes[digest])) for digest, row in zip(part, batch, strict=True))
            waiting = []

    def images() -> Iterator[np.ndarray]:
        """Decoded by several threads, some images ahead."""
        with ThreadPoolExecutor(THREADS) as pool:
            pending = collections.deque()
            for digest in digests:
                pending.append(pool.submit(read_image, source, wanted[digest], digest))
                if len(pending) > 2 * THREADS:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    try:
        with progress_bar(label, len(digests)) as show:
            for features in feature_batches(network, images()):
                waiting.append(features)
                so_far = sum(map(len, waiting))
                show(len(found) + so_far)
                if so_far >= KEPT_EVERY:
                    keep()
        keep()
    except BaseException as error:
        keep()
        if kept and isinstance(error, KeyboardInterrupt):
            say(f"The features of {kept:,} more images are kept: the same command goes on from there.")
        raise
    return found


def find_features(source: Source, positions: list[int], weights: Weights | None, network: Callable[[], Callable],
                  skip: bool = False, label: str = "Features") -> Found:
    """The features of a source's images.

    Args:
        source: the images, or features, which are taken as they are.
        positions: which of them.
        weights: what the features are computed with; None for a source of features.
        network: gives the function of `make_network`; only called if something is not in the cache.
        skip: leave out what cannot be read, instead of an error.
        label: what the progress bar says.

    Raises:
        UserError: for unreadable images, or some that change meanwhile.
    """
    if source.features is not None:
        return Found(source.features[positions], positions, [""] * len(positions), [])
    cache = FeatureCache(weights.digest)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(source.digest, [position for position in positions if position not in source.digests]))
        digests = {position: source.digest(position) for position in positions}
        known = cache.find(digests.values())
        new = [position for position in positions if digests[position] not in known]
        looks = tqdm(pool.map(lambda at: note_of_image(source, at), new), f"{label}: decoding", len(new), unit="image",
                     disable=not new or not sys.stderr.isatty())
        looked = dict(zip(new, looks, strict=True))
    faults = {position: fault for position, (_, fault) in looked.items() if fault}
    skipped = refuse_unreadable(source, faults, skip)
    wanted = {digests[position]: position for position in new if position not in faults}
    if wanted:
        log_to_terminal()
        if len(wanted) < len(positions) - len(faults):
            say(f"{len(positions) - len(new):,} of {len(positions):,} images are known from an earlier run.")
        notes = {digest: looked[position][0] for digest, position in wanted.items()}
        known.update(compute(source, wanted, notes, network(), cache, label))
    kept = [position for position in positions if position not in faults]
    if len(kept) < 2:
        raise UserError(f"{source.path} holds {len(kept)} readable images, and a covariance takes at least 2. Give "
                        "another.")
    features = np.stack([known[digests[position]][0] for position in kept])
    return Found(features, kept, [known[digests[position]][1] for position in kept], skipped)
