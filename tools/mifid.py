"""The competition's score before Kaggle gives it: `make mifid`, or python tools/mifid.py [SUBMISSION] [--reference …].

    python tools/mifid.py submission/
    python tools/mifid.py images.zip --reference data/gan-getting-started --json
    python tools/mifid.py submission/ --sample 1000 --report mifid.html

Submission and reference are folders, zips, TFRecords, or .npz files with `features`. The features of each image are
kept in the user's cache directory: nothing is computed twice, and an interrupted run goes on where it was.

The 95% intervals come from a bootstrap of the submission's images; it overstates FID, which is corrected for. Of a
--sample they are for all images, and its own FID, too high, can lie above them.
"""

import argparse
import collections
import dataclasses
import errno
import functools
import json
import math
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from console import ROOT
from find_data import default_data
from scoring.cache import cached_verdict
from scoring.features import THREADS, Found, find_features, listed, log_to_terminal, make_network
from scoring.interval import LARGE_RANK, find_intervals
from scoring.sources import Source, open_source, printable, record_source
from scoring.text import score_text

from monet.core.errors import UserError, say
from monet.core.files import atomic_write
from monet.scoring.inception_weights import Weights, find_weights
from monet.scoring.mifid import (
    EPSILON,
    Nearest,
    as_features,
    find_nearest,
    frechet_distance,
    kernel_distance,
    with_penalty,
)

CHECK_CODE = ROOT / "src" / "monet" / "submission" / "check.py"
COPY = 1e-6  # distance below which an image is one of the reference
FEATURES_ONLY = "features as given: whether they are the FID Inception's is not known"


def check_submission(source: Source) -> list[str]:
    """What Kaggle would reject of a zip or folder, in sentences; the verdict on the same files is remembered.

    Raises:
        UserError: if it cannot be read.
    """
    if source.form not in ("zip", "pictures"):
        say(f"Not checked for what Kaggle would reject: {source.path} is no zip or folder of JPGs.")
        return []

    def verdict() -> list[str]:
        from monet.submission.check import check  # here, because TensorFlow takes seconds to load

        return check(source.path)

    with ThreadPoolExecutor(THREADS) as pool:
        digests = list(pool.map(source.digest, range(len(source.names))))
    if b"" in digests:  # what cannot be read now may be readable later
        return verdict()
    key = b"".join([Path(CHECK_CODE).read_bytes(), source.extent, *digests])
    return cached_verdict(key, verdict)


def choose(source: Source, options: argparse.Namespace) -> list[int]:
    """The positions of the images to score: all of them, or --sample of them by --seed.

    Raises:
        UserError: for a sample that is too small.
    """
    count = len(source.names)
    if not options.sample or options.sample >= count:
        return list(range(count))
    return sorted(np.random.default_rng(options.seed).choice(count, options.sample, replace=False).tolist())


def say_what_is_odd(found: Found, source: Source) -> None:
    """Says which images are not as the competition's are, and how they were taken."""
    place = printable(source.path)
    for note, count in collections.Counter(note for note in found.notes if note).items():
        example = source.names[found.positions[found.notes.index(note)]]
        say(f"{count:,} of {len(found.positions):,} images in {place} are {note} (as {example}).")
    if found.skipped:
        say(f"{len(found.skipped):,} images in {place} cannot be read and were skipped: {listed(found.skipped)}.")


def notes_of(sides: list[Source], weights: Weights | None, distances: np.ndarray) -> str:
    """What belongs into every output: why the score is not comparable, if it is not."""
    notes = [weights.note] if weights and weights.note else []
    if any(side.form == "features" for side in sides):
        notes.append(FEATURES_ONLY)
    if sides[1].is_sample:
        notes.append("the reference is the built-in sample, drawn by a program: not comparable with Kaggle")
    copies = int((distances < COPY).sum())
    if copies >= len(distances) / 2:
        notes.append(f"the submission is the reference: {copies:,} of {len(distances):,} images are also in it")
    return "; ".join(notes)


def measure(generated: np.ndarray, real: np.ndarray, total: int, epsilon: float, nearest: Nearest) -> dict:
    """The figures of the JSON object, from both sides' features.

    Raises:
        UserError: for features that cannot be scored.
    """
    fid = frechet_distance(generated, real)
    distance = float(np.nanmean(nearest.distances))
    kid, kid_std = kernel_distance(generated, real)
    if min(len(generated), *real.shape) > LARGE_RANK:
        say(f"The intervals, which take longest with {len(real):,} images in the reference…")
    found = find_intervals(generated, real, fid, nearest.distances, epsilon, total)
    low, high = found.fid if found else (None, None)
    mifid_low, mifid_high = found.mifid if found else (None, None)
    return {"fid": fid, "mifid": float(with_penalty(fid, distance, epsilon)), "memorization_distance": distance,
            "kid": kid, "kid_std": kid_std, "fid_low": low, "fid_high": high, "mifid_low": mifid_low,
            "mifid_high": mifid_high, "num_images": len(generated), "num_reference": len(real),
            "epsilon": epsilon}


def save_features(path: str, features: np.ndarray) -> None:
    """Writes an .npz with `features`, `mu` and `sigma`, as other tools read it.

    Raises:
        UserError: if it cannot be written.
    """
    exact = features.astype(np.float64)
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, features=features, mu=exact.mean(axis=0), sigma=np.cov(exact, rowvar=False))


def open_reference(options: argparse.Namespace) -> Source:
    """The reference that was asked for, or the paintings of the data that `make local-train` takes.

    Raises:
        UserError: if it cannot be read.
    """
    root = options.reference or default_data()
    if root.startswith("gs://"):
        raise UserError(f"--reference {root}: only files of this machine are read. Copy them and give the folder.")
    if root.startswith("tfds:"):
        from monet.data.layouts import find_layout  # here, because TensorFlow takes seconds to load

        _, (_, files), _ = find_layout(root)
        return record_source(root, list(files))
    path = os.path.abspath(os.path.expanduser(root))
    marks = [os.path.join(folder, "SAMPLE") for folder in (path, os.path.dirname(path))]
    return dataclasses.replace(open_source(root), is_sample=any(map(os.path.exists, marks)))


class Scored(NamedTuple):
    """A score and what it was made of."""

    result: dict  # the JSON object
    submission: tuple[Source, Found]
    reference: tuple[Source, Found]
    nearest: Nearest


def score(options: argparse.Namespace) -> Scored:
    """Computes what the command line asks for.

    Raises:
        UserError: for a submission, a reference or weights that cannot be used.
    """
    started = time.monotonic()
    submission = open_source(options.submission)
    reference = open_reference(options)
    sides = [submission, reference]
    say(f"Submission: {submission.describe()}. Reference: {reference.describe()}.")
    problems = [] if options.no_check else check_submission(submission)
    for problem in problems:
        say(f"Kaggle would reject this: {problem}")
    weights = None
    if any(side.features is None for side in sides):
        log_to_terminal()  # a download says that it is one
        weights = find_weights(options.weights)
        if weights.note:
            say(f"warning: {weights.path}: {weights.note}.")
    network = functools.cache(lambda: make_network(weights))
    positions = choose(submission, options)
    real = find_features(reference, list(range(len(reference.names))), weights, network, options.skip_unreadable,
                         "Reference")
    generated = find_features(submission, positions, weights, network, options.skip_unreadable, "Submission")
    for found, side in zip((generated, real), sides, strict=True):
        say_what_is_odd(found, side)
    features = [as_features(found.features, side) for found, side in ((generated, "generated"), (real, "real"))]
    nearest = find_nearest(*features)
    sampled = len(positions) < len(submission.names)
    result = measure(*features, len(submission.names), options.epsilon, nearest)
    result |= {"weights": weights.digest if weights else None, "seconds": round(time.monotonic() - started, 2)}
    extra = {"note": notes_of(sides, weights, nearest.distances), "problems": problems,
             "skipped": len(generated.skipped) + len(real.skipped),
             "sampled_from": len(submission.names) if sampled else 0}
    result |= {name: value for name, value in extra.items() if value}
    return Scored(result, (submission, generated), (reference, real), nearest)


def write_files(options: argparse.Namespace, scored: Scored) -> None:
    """Writes the files that the command line asks for.

    Raises:
        UserError: if one cannot be written.
    """
    if options.save_features:
        save_features(options.save_features, scored.submission[1].features)
    if options.report:
        from scoring.report import write_report  # here, because few runs ask for one

        write_report(options.report, *scored)
        say(f"Report: {options.report}")


def print_result(result: dict, as_json: bool) -> None:
    """Prints the score to stdout, as far as anyone reads it."""
    try:
        print(json.dumps(result, indent=2, allow_nan=False) if as_json else score_text(result), flush=True)
    except BrokenPipeError:  # as of `| head`; Python would try again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("submission", nargs="?", default="submission", help="what to score (default: submission)")
    parser.add_argument("--reference", default="", metavar="PATH", help="real images, or training data, of which the "
                        "paintings are taken (default: that of make local-train)")
    parser.add_argument("--weights", default="", metavar="FILE", help="of the FID Inception (default: "
                        "$MONET_INCEPTION_WEIGHTS, the cache, or a download)")
    parser.add_argument("--epsilon", type=float, default=EPSILON, help="memorization distance below which is punished "
                        "(default: %(default)g)")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="score N images only, drawn by --seed; the "
                        "intervals are for all of them nevertheless (sound from about 1,000 on)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--report", default="", metavar="FILE.html", help="write a page that shows why it scores so")
    parser.add_argument("--save-features", default="", metavar="FILE.npz", help="write the submission's features")
    parser.add_argument("--no-check", action="store_true", help="do not check what Kaggle would reject")
    parser.add_argument("--skip-unreadable", action="store_true", help="leave out images that cannot be read")
    return parser


def check_target(option: str, path: str) -> None:
    """Raises UserError if there can be no file at `path`, whose folder is made."""
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        with open(f"{path}.part", "wb"):
            pass
        os.remove(f"{path}.part")
    except OSError as error:
        raise UserError(f"{option} {path} cannot be written ({error.strerror or error}). Give another place.") from None


def check_options(options: argparse.Namespace) -> None:
    """Raises UserError for numbers that cannot be, and files that cannot be written."""
    if options.sample < 0 or options.sample == 1:
        raise UserError(f"--sample {options.sample}: a covariance takes at least 2 images.")
    if not 0 <= options.epsilon < math.inf:
        raise UserError(f"--epsilon {options.epsilon}: a distance is a number, at least 0.")
    if options.seed < 0:
        raise UserError(f"--seed {options.seed}: must be at least 0.")
    for option, path in (("--report", options.report), ("--save-features", options.save_features)):
        if path:
            check_target(option, path)


def main(argv: list[str] | None = None) -> int:
    """Runs the command line `argv` (default: the process's); returns the exit status."""
    options = make_parser().parse_args(argv)
    try:
        check_options(options)
        scored = score(options)
        print_result(scored.result, options.json)  # first, so that no file's failure loses it
        write_files(options, scored)
    except UserError as error:
        say(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        say("Interrupted.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
