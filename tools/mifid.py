"""Estimates the competition's score: `make mifid`, or python tools/mifid.py [SUBMISSION] [--reference …].

    python tools/mifid.py submission/
    python tools/mifid.py images.zip --reference data/gan-getting-started --json
    python tools/mifid.py submission/ --sample 1000 --report mifid.html

Submission and reference are folders, zips, TFRecords, or .npz files with `features`. The features of each image are
kept in the user's cache directory: nothing is computed twice, and an interrupted run continues where it stopped.

The 95% intervals come from a bootstrap of the submission's images, corrected for its bias. With --sample they are for
all images; the sample's own FID is too high and may lie above them.
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
from typing import NamedTuple

from console import ROOT, run_tool

import numpy as np
from find_data import default_data
from scoring.cache import cached_problems
from scoring.features import THREADS, ImageFeatures, find_features, load_extractor, log_to_terminal
from scoring.interval import LARGE_RANK, find_intervals
from scoring.sources import Source, open_source, record_source
from scoring.text import score_text

from monet.core.errors import UserError, say
from monet.core.file_names import list_names, printable
from monet.core.files import atomic_write
from monet.scoring.inception_weights import WeightsFile, find_weights
from monet.scoring.mifid import (
    MIFID_EPSILON,
    Nearest,
    apply_penalty,
    find_nearest,
    float64_features,
    frechet_distance,
    kernel_distance,
)
from monet.submission.check import check

CHECK_CODE = ROOT / "src" / "monet" / "submission" / "check.py"
COPY_DISTANCE = 1e-6  # a generated image closer than this to a real one is a copy of it
GIVEN_FEATURES = "features as given: they may not be the FID Inception's"


def check_submission(source: Source) -> list[str]:
    """Lists what Kaggle would reject about a zip or folder, in sentences; results for the same files are cached.

    Raises:
        UserError: if it cannot be read.
    """
    if source.form not in ("zip", "pictures"):
        say(f"{source.path} is not checked for what Kaggle would reject: it is neither a zip nor a folder of JPGs.")
        return []
    with ThreadPoolExecutor(THREADS) as pool:
        digests = list(pool.map(source.digest, range(len(source.names))))
    if b"" in digests:  # an unreadable file may become readable
        return check(source.path)
    key = b"".join([CHECK_CODE.read_bytes(), source.listing, *digests])
    return cached_problems(key, lambda: check(source.path))


def choose_positions(source: Source, options: argparse.Namespace) -> list[int]:
    """The positions of the images to score: all, or a random --sample of them."""
    count = len(source.names)
    if not options.sample or options.sample >= count:
        return list(range(count))
    return sorted(np.random.default_rng(options.seed).choice(count, options.sample, replace=False).tolist())


def say_what_is_unusual(images: ImageFeatures, source: Source) -> None:
    """Says which images differ from the competition's, and how they were read."""
    place = printable(source.path)
    for note, count in collections.Counter(note for note in images.notes if note).items():
        example = source.names[images.positions[images.notes.index(note)]]
        say(f"{count:,} of {len(images.positions):,} images in {place} are {note} (for example {example}).")
    if images.skipped:
        say(f"{len(images.skipped):,} images in {place} cannot be read and were skipped: {list_names(images.skipped)}.")


def result_note(sides: list[Source], weights: WeightsFile | None, distances: np.ndarray) -> str:
    """Why the score is not comparable with Kaggle's; empty if it is."""
    notes = [weights.note] if weights and weights.note else []
    if any(side.form == "features" for side in sides):
        notes.append(GIVEN_FEATURES)
    if sides[1].is_sample:
        notes.append("the reference is the built-in sample, drawn by a program: not comparable with Kaggle")
    copies = int((distances < COPY_DISTANCE).sum())
    if copies >= len(distances) / 2:
        notes.append(f"the submission is the reference: {copies:,} of {len(distances):,} images are also in it")
    return "; ".join(notes)


def measure(generated: np.ndarray, real: np.ndarray, total: int, epsilon: float, nearest: Nearest) -> dict:
    """Computes the figures of the JSON object from both sides' features; `total` images were handed in.

    Raises:
        UserError: if the features cannot be scored.
    """
    fid = frechet_distance(generated, real)
    distance = float(np.nanmean(nearest.distances))
    kid, kid_std = kernel_distance(generated, real)
    if min(len(generated), *real.shape) > LARGE_RANK:
        say(f"Computing the intervals, which takes longest with {len(real):,} images in the reference…")
    intervals = find_intervals(generated, real, fid, nearest.distances, epsilon, total)
    fid_low, fid_high = intervals.fid if intervals else (None, None)
    mifid_low, mifid_high = intervals.mifid if intervals else (None, None)
    return {"fid": fid, "mifid": float(apply_penalty(fid, distance, epsilon)), "memorization_distance": distance,
            "kid": kid, "kid_std": kid_std, "fid_low": fid_low, "fid_high": fid_high, "mifid_low": mifid_low,
            "mifid_high": mifid_high, "num_images": len(generated), "num_reference": len(real), "epsilon": epsilon}


def save_features(path: str, features: np.ndarray) -> None:
    """Writes an .npz with `features`, `mu` and `sigma`, which other tools read.

    Raises:
        UserError: if it cannot be written.
    """
    exact = features.astype(np.float64)
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, features=features, mu=exact.mean(axis=0), sigma=np.cov(exact, rowvar=False))


def open_reference(options: argparse.Namespace) -> Source:
    """Opens --reference, or by default the paintings of the data that `make local-train` uses.

    Raises:
        UserError: if it cannot be read.
    """
    root = options.reference or default_data()
    if root.startswith("gs://"):
        raise UserError(f"--reference {root}: only files on this machine can be read. Copy them and give the folder.")
    if root.startswith("tfds:"):
        from monet.data.layouts import find_layout  # here, because TensorFlow takes seconds to load

        _, (_, files), _ = find_layout(root)
        return record_source(root, list(files))
    path = os.path.abspath(os.path.expanduser(root))
    markers = [os.path.join(folder, "SAMPLE") for folder in (path, os.path.dirname(path))]
    return dataclasses.replace(open_source(root), is_sample=any(map(os.path.exists, markers)))


class Score(NamedTuple):
    """A score and what it was computed from."""

    result: dict  # the JSON object
    submission: tuple[Source, ImageFeatures]
    reference: tuple[Source, ImageFeatures]
    nearest: Nearest


def open_weights(options: argparse.Namespace) -> WeightsFile:
    """Finds or downloads the Inception's weights.

    Raises:
        UserError: if there are none that can be used.
    """
    log_to_terminal()  # for the line that announces a download
    weights = find_weights(options.weights)
    if weights.note:
        say(f"warning: {weights.path}: {weights.note}.")
    return weights


def compute_score(options: argparse.Namespace) -> Score:
    """Computes what the command line asks for.

    Raises:
        UserError: if the submission, the reference or the weights cannot be used.
    """
    started = time.monotonic()
    submission = open_source(options.submission)
    reference = open_reference(options)
    sides = [submission, reference]
    say(f"Submission: {submission.describe()}. Reference: {reference.describe()}.")
    problems = [] if options.no_check else check_submission(submission)
    for problem in problems:
        say(f"Kaggle would reject this: {problem}")
    weights = open_weights(options) if any(side.features is None for side in sides) else None
    extractor = functools.cache(lambda: load_extractor(weights))
    positions = choose_positions(submission, options)
    real = find_features(reference, list(range(len(reference.names))), weights, extractor, options.skip_unreadable,
                         "Reference")
    generated = find_features(submission, positions, weights, extractor, options.skip_unreadable, "Submission")
    for images, source in zip((generated, real), sides, strict=True):
        say_what_is_unusual(images, source)
    features = float64_features(generated.features, "generated"), float64_features(real.features, "real")
    nearest = find_nearest(*features)
    result = measure(*features, len(submission.names), options.epsilon, nearest)
    result |= {"weights": weights.digest if weights else None, "seconds": round(time.monotonic() - started, 2)}
    optional = {"note": result_note(sides, weights, nearest.distances), "problems": problems,
                "skipped": len(generated.skipped) + len(real.skipped),
                "sampled_from": len(submission.names) if len(positions) < len(submission.names) else 0}
    result |= {name: value for name, value in optional.items() if value}
    return Score(result, (submission, generated), (reference, real), nearest)


def write_files(options: argparse.Namespace, score: Score) -> None:
    """Writes the files that the command line asks for.

    Raises:
        UserError: if one cannot be written.
    """
    if options.save_features:
        save_features(options.save_features, score.submission[1].features)
    if options.report:
        from scoring.report import write_report  # here, because few runs ask for one

        write_report(options.report, *score)
        say(f"Report: {options.report}")


def keep_score(source: Source, result: dict) -> None:
    """Leaves the score of a run's images.zip beside it, for the run's page; warns if that is not possible."""
    folder = os.path.dirname(source.path)
    if source.form != "zip" or not os.path.exists(os.path.join(folder, "config.json")):
        return
    try:
        with atomic_write(os.path.join(folder, "mifid.json")) as temporary, open(temporary, "w") as file:
            json.dump(result, file, indent=2)
    except UserError as error:
        say(f"warning: {error}")


def print_result(result: dict, as_json: bool) -> None:
    """Prints the score on stdout."""
    print(json.dumps(result, indent=2, allow_nan=False) if as_json else score_text(result), flush=True)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("submission", type=os.path.expanduser, nargs="?", default="submission",
                        help="what to score (default: submission)")
    parser.add_argument("--reference", type=os.path.expanduser, default="", metavar="PATH", help="real images, or "
                        "training data, whose paintings are used (default: the data of make local-train)")
    parser.add_argument("--weights", type=os.path.expanduser, default="", metavar="FILE", help="weights of the FID "
                        "Inception (default: $MONET_INCEPTION_WEIGHTS, the cache, or a download)")
    parser.add_argument("--epsilon", type=float, default=MIFID_EPSILON, help="memorization distance below which FID is "
                        "penalized (default: %(default)g)")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="score only N images, drawn at random; the "
                        "intervals are still for all of them (reliable from about 1,000 on)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample (default: 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--report", type=os.path.expanduser, default="", metavar="FILE.html", help="write a page that "
                        "explains the score")
    parser.add_argument("--save-features", type=os.path.expanduser, default="", metavar="FILE.npz", help="write the "
                        "submission's features")
    parser.add_argument("--no-check", action="store_true", help="do not check for what Kaggle would reject")
    parser.add_argument("--skip-unreadable", action="store_true", help="leave out images that cannot be read")
    return parser


def check_target(option: str, path: str) -> None:
    """Raises UserError if no file can be written at `path`; creates its folder."""
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        with open(f"{path}.part", "wb"):
            pass
        os.remove(f"{path}.part")
    except OSError as error:
        raise UserError(f"{option} {path} cannot be written ({error.strerror or error}). Give another path.") from None


def check_options(options: argparse.Namespace) -> None:
    """Raises UserError for numbers out of range and files that cannot be written."""
    if options.sample < 0 or options.sample == 1:
        raise UserError(f"--sample {options.sample}: a covariance takes at least 2 images. Give more.")
    if not 0 <= options.epsilon < math.inf:
        raise UserError(f"--epsilon {options.epsilon} is not a distance. Give a number of at least 0.")
    if options.seed < 0:
        raise UserError(f"--seed {options.seed} is negative. Give a number of at least 0.")
    for option, path in (("--report", options.report), ("--save-features", options.save_features)):
        if path:
            check_target(option, path)


def run(options: argparse.Namespace) -> None:
    """Scores, prints the score, and writes the files.

    Raises:
        UserError: for a mistake that the user can mend.
    """
    check_options(options)
    score = compute_score(options)
    try:
        print_result(score.result, options.json)  # before files are written: their failure must not lose it
    finally:  # although nobody may read the score
        keep_score(score.submission[0], score.result)
        write_files(options, score)


def main(argv: list[str] | None = None) -> int:
    """Runs the command line `argv` (default: the process's); returns the exit status."""
    return run_tool(lambda: run(make_parser().parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
