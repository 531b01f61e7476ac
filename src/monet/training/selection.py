"""The best generator of a run, by the score that Kaggle would give it: what `--select-by mifid` does at checkpoints."""

import csv
import dataclasses
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow import keras

from monet.core.config import SUBMISSION_SIZE, Config
from monet.core.errors import LOG, UserError
from monet.core.files import atomic_write
from monet.core.keras_compat import weight_names
from monet.core.pixels import decode_image, encode_jpeg, pixels_to_float, resize
from monet.data.records import Data, ImageSet, read_examples
from monet.data.torch_file import read_state_dict
from monet.machine.cluster import spans_machines
from monet.scoring.inception import build_inception, extract_features, make_extractor
from monet.scoring.inception_weights import Weights, find_weights
from monet.scoring.mifid import frechet_distance, memorization_distance, with_penalty
from monet.training.arrays import UNREADABLE, assign_arrays, read_arrays, value_of, write_arrays
from monet.training.history import kept_rows
from monet.training.run_files import RunFiles

SCORED_AT_ONCE = 16  # photos a call of the painter: the same in every call, so that it is traced once
BEST_META = "best"  # the array that holds, as JSON, what a kept generator's score is


@dataclasses.dataclass(frozen=True)
class Best:
    """The generator that is kept: of which step, its MiFID, and what it was measured with.

    Attributes:
        step: steps done.
        mifid: lower is better.
        photos: that were painted for it.
        weights: SHA-256 of the Inception's; scores by others do not compare.
    """

    step: int
    mifid: float
    photos: int
    weights: str


def chosen_photos(photos: ImageSet, count: int, seed: int) -> tf.data.Dataset:
    """The same `count` of the set's photos for the same seed, float32 batches `[n, 256, 256, 3]` in [-1, 1]."""
    mask = np.zeros(photos.count, bool)
    mask[np.random.default_rng(seed).choice(photos.count, count, replace=False)] = True
    examples = read_examples(photos).enumerate().filter(lambda index, _: tf.gather(tf.constant(mask), index))
    images = examples.map(lambda _, example: pixels_to_float(resize(decode_image(example["image"]), SUBMISSION_SIZE)),
                          num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return images.batch(SCORED_AT_ONCE).prefetch(2)


def painted_jpegs(paint: Callable, photos: tf.data.Dataset, config: Config) -> Iterator[bytes]:
    """The photos painted and encoded, as they would be handed in."""
    for batch in photos:
        missing = SCORED_AT_ONCE - len(batch)
        filled = tf.concat([batch, tf.repeat(batch[-1:], missing, axis=0)], 0)  # one graph for all
        for image in np.asarray(paint(filled))[:len(batch)]:
            yield encode_jpeg(image, config)


class Selection:
    """Scores what a run would hand in, and keeps the best of it on disk.

    Attributes:
        best: what is kept; None: nothing yet.
        count: photos that are painted for a score.
    """

    def __init__(self, config: Config, data: Data, files: RunFiles, strategy: tf.distribute.Strategy, weights: Weights,
                 step: int):
        """Builds the Inception on the strategy's devices, and reads what an earlier session kept.

        Args:
            config: the run.
            data: its two sets.
            files: where it writes.
            strategy: of the run; of a cluster's, only the chief's own first device is used.
            weights: the Inception's.
            step: steps done; later scores are of steps that will be made again.

        Raises:
            UserError: for weights that are not the Inception's.
        """
        own = tf.distribute.get_strategy() if spans_machines(strategy) else strategy
        with own.scope():
            self.extract = make_extractor(build_inception(read_state_dict(weights.path)), own)
        self.config, self.files, self.weights, self.monet = config, files, weights, data.monet
        self.count = min(data.photo.count, config.select_photos)
        self.photos = chosen_photos(data.photo, self.count, config.seed)
        self.real = None
        self.rows = kept_rows(files.scores, step)
        self.best = read_best(files.best) if os.path.exists(files.best) else None
        if self.best and (self.best.photos, self.best.weights) != (self.count, weights.digest):
            set_best_aside(files, "its score is by other weights or another number of photos")
            self.best = None

    def knows(self, step: int) -> bool:
        """Whether the generator of that step has a score."""
        return any(int(row["step"]) == step for row in self.rows)

    def prepare(self) -> None:
        """Computes, once, the features of the run's paintings, which also traces the network."""
        if self.real is None:
            images = (decode_image(example["image"]).numpy() for example in read_examples(self.monet))
            self.real = extract_features(self.extract, images, self.monet.count, "Features of the paintings")

    def score(self, paint: Callable) -> dict[str, float]:
        """FID, memorization distance and MiFID of what `paint` makes of the chosen photos."""
        encoded = list(painted_jpegs(paint, self.photos, self.config))
        images = (np.asarray(Image.open(io.BytesIO(jpeg))) for jpeg in encoded)
        features = extract_features(self.extract, images, len(encoded), "Features of painted photos")
        fid, distance = frechet_distance(features, self.real), memorization_distance(features, self.real)
        return {"fid": fid, "memorization_distance": distance, "mifid": float(with_penalty(fid, distance))}

    def consider(self, step: int, paint: Callable, painter: keras.Model) -> dict[str, float]:
        """Scores the generator of a step, notes the score in scores.csv, and keeps the generator if it is the best.

        Args:
            step: steps done.
            paint: paints with the generator.
            painter: the generator itself.

        Returns:
            The scores by name; none if what is painted has no score.

        Raises:
            UserError: if a file cannot be written.
        """
        started = time.monotonic()
        self.prepare()
        try:
            scores = self.score(paint)
        except UserError as error:  # colours that are not finite: later ones may be
            LOG.warning("Step %d has no score. %s", step, error)
            return {}
        if self.best is None or scores["mifid"] < self.best.mifid:
            self.best = Best(step, scores["mifid"], self.count, self.weights.digest)
            meta = np.frombuffer(json.dumps(dataclasses.asdict(self.best)).encode(), np.uint8)
            weights = ((name, value_of(variable)) for name, variable in weight_names(painter).items())
            write_arrays(self.files.best, [(BEST_META, meta), *weights])
        self.note(step, time.monotonic() - started, scores)
        LOG.info("Step %d scores MiFID %.2f (FID %.2f, memorization distance %.3f) on %d photos against %d paintings; "
                 "the best is step %d's %.2f", step, scores["mifid"], scores["fid"], scores["memorization_distance"],
                 self.count, len(self.real), self.best.step, self.best.mifid)
        return scores

    def note(self, step: int, seconds: float, scores: dict[str, float]) -> None:
        """Writes scores.csv with the score of a step in the place of what it said of that step before."""
        row = {"step": str(step), "seconds": f"{seconds:.1f}", "photos": str(self.count),
               **{name: f"{value:.5f}" for name, value in scores.items()}}
        self.rows = [*(row for row in self.rows if int(row["step"]) < step), row]
        with atomic_write(self.files.scores) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(row), extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.rows)


def best_of(meta: np.ndarray) -> Best:
    """What the array `BEST_META` says."""
    return Best(**json.loads(meta.tobytes()))


def read_best(path: str) -> Best:
    """What is kept at `path`.

    Raises:
        One of `UNREADABLE`: if it is damaged.
    """
    return best_of(read_arrays(path, BEST_META)[""])


def set_best_aside(files: RunFiles, why: str) -> None:
    """Renames the generator that is kept, so that it is not handed in, and says so."""
    aside = files.best.replace(".npz", "-aside.npz")
    os.replace(files.best, aside)
    LOG.warning("%s is now %s (%s): the best generator is looked for anew", files.best, aside, why)


def set_foreign_best_aside(files: RunFiles, step: int) -> None:
    """Does so with one that is damaged, or not of this run, which has made `step` steps."""
    if not os.path.exists(files.best):
        return
    try:
        if read_best(files.best).step > step or not step:
            set_best_aside(files, "it is of another run")
    except UNREADABLE as error:
        set_best_aside(files, f"it cannot be read: {error}")


def restore_best(network: keras.Model, path: str) -> int:
    """Loads into `network` the generator that a `Selection` kept at `path`; returns the step that it is of.

    Raises:
        UserError: if it cannot be read, or does not fit.
    """
    try:
        arrays = read_arrays(path)
        best = best_of(arrays.pop(BEST_META))
    except UNREADABLE as error:
        raise UserError(f"{path} holds no generator that --select-by kept ({error}). Give --select-by last to hand in "
                        "the last one, or remove that file.") from None
    assign_arrays(weight_names(network), arrays, path)
    LOG.info("Painting with step %d, whose MiFID was the best with %.2f", best.step, best.mifid)
    return best.step


def choose_best(painter: keras.Model, files: RunFiles, config: Config) -> None:
    """Gives the network that paints the weights of the best generator, if one was to be kept, and can be read."""
    if config.select_by == "last" or not os.path.exists(files.best):
        return
    try:
        restore_best(painter, files.best)
    except UserError as error:
        LOG.warning("The last generator is handed in. %s", error)


def open_selection(config: Config, data: Data, files: RunFiles, strategy: tf.distribute.Strategy,
                   step: int) -> Selection | None:
    """The run's selection; None if none is asked for, or there are no weights to score with, which is said.

    What an earlier session of the run kept stays, with weights or without; anything else is set aside.

    Raises:
        UserError: for weights that are not the Inception's.
    """
    if config.select_by == "last":
        return None
    set_foreign_best_aside(files, step)
    try:
        weights = find_weights(download=False)
    except UserError as error:
        LOG.warning("--select-by %s: nothing is scored. %s On Kaggle, attach a dataset that holds the file.",
                    config.select_by, error)
        return None
    if weights.note:
        LOG.warning("%s holds %s", weights.path, weights.note)
    return Selection(config, data, files, strategy, weights, step)


class SelectionMethod(NamedTuple):
    """What a value of --select-by does: `open` starts a run's selection, `choose` loads the chosen weights."""

    open: Callable
    choose: Callable


BY_MIFID = SelectionMethod(open_selection, choose_best)
