"""Keeps the best generator of a run by the score Kaggle would give it: `--select-by mifid`, at checkpoints."""

import csv
import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow import keras

from monet.core.array_files import UNREADABLE, read_arrays, write_arrays
from monet.core.config import SUBMISSION_SIZE, Config
from monet.core.errors import LOG, UserError
from monet.core.files import atomic_write
from monet.core.keras_compat import weight_names
from monet.core.pixels import decode_image, encode_jpeg, pad_batch
from monet.data.pipeline import decode_example
from monet.data.records import Data, ImageSet, read_examples
from monet.data.torch_file import read_state_dict
from monet.machine.cluster import spans_machines
from monet.machine.kaggle_machine import has_internet, kaggle_working
from monet.scoring.inception import build_inception, extract_features, make_extractor
from monet.scoring.inception_weights import WeightsFile, find_weights
from monet.scoring.mifid import apply_penalty, frechet_distance, memorization_distance
from monet.submission.images_zip import PAINT_BATCH
from monet.training.arrays import assign_arrays, value_of
from monet.training.history import resumed_rows
from monet.training.run_files import RunFiles

BEST_META = "best"  # the array that holds a `BestGenerator` as JSON


@dataclasses.dataclass(frozen=True)
class BestGenerator:
    """Describes the generator that is kept.

    Attributes:
        step: steps trained.
        mifid: its score; lower is better.
        photos: number of photos painted for the score.
        weights: SHA-256 of the Inception's weights; scores by other weights are not comparable.
    """

    step: int
    mifid: float
    photos: int
    weights: str


def sample_photos(photos: ImageSet, count: int, seed: int) -> tf.data.Dataset:
    """`count` of the photos, determined by the seed, in batches: float32 `[n, 256, 256, 3]` in [-1, 1]."""
    mask = np.zeros(photos.count, bool)
    mask[np.random.default_rng(seed).choice(photos.count, count, replace=False)] = True
    examples = read_examples(photos).enumerate().filter(lambda index, _: tf.gather(tf.constant(mask), index))
    images = examples.map(lambda _, example: decode_example(example, SUBMISSION_SIZE),
                          num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return images.batch(PAINT_BATCH).prefetch(2)


def painted_jpegs(paint: Callable, photos: tf.data.Dataset, config: Config) -> Iterator[bytes]:
    """Paints and encodes the photos as a submission would."""
    for batch in photos:
        for image in np.asarray(paint(pad_batch(batch, PAINT_BATCH)))[:len(batch)]:
            yield encode_jpeg(image, config)


class Selection:
    """Scores a run's generators and keeps the best on disk.

    Attributes:
        best: what is kept; None: nothing yet.
        count: number of photos painted for a score.
    """

    def __init__(self, config: Config, data: Data, files: RunFiles, strategy: tf.distribute.Strategy,
                 weights: WeightsFile, step: int):
        """Builds the Inception on the strategy's devices and reads what an earlier session kept.

        Args:
            config: the run's.
            data: the run's paintings and photos.
            files: where the run writes.
            strategy: the run's; if it spans a cluster, only the chief's first device is used.
            weights: the Inception's.
            step: steps trained; scores of later steps are dropped, as these will be trained again.

        Raises:
            UserError: if the weights are not the Inception's.
        """
        own = tf.distribute.get_strategy() if spans_machines(strategy) else strategy
        with own.scope():
            self.extract = make_extractor(build_inception(read_state_dict(weights.path)), own)
        self.config, self.files, self.weights, self.monet = config, files, weights, data.monet
        self.count = min(data.photo.count, config.select_photos)
        self.photos = sample_photos(data.photo, self.count, config.seed)
        self.real_features = None
        self.rows = resumed_rows(files.scores, step)
        self.best = read_best(files.best) if os.path.exists(files.best) else None
        if self.best and (self.best.photos, self.best.weights) != (self.count, weights.digest):
            set_best_aside(files, "its score is by other weights or another number of photos")
            self.best = None

    def has_score(self, step: int) -> bool:
        """Whether the generator of that step was scored."""
        return any(int(row["step"]) == step for row in self.rows)

    def prepare(self) -> None:
        """Computes the features of the run's paintings, once; this also traces the network."""
        if self.real_features is None:
            images = (decode_image(example["image"]).numpy() for example in read_examples(self.monet))
            self.real_features = extract_features(self.extract, images, self.monet.count, "Features of the paintings")

    def score(self, paint: Callable) -> dict[str, float]:
        """FID, memorization distance and MiFID of the chosen photos as `paint` paints them."""
        jpegs = list(painted_jpegs(paint, self.photos, self.config))  # all first: scoring uses the same device
        images = (decode_image(jpeg).numpy() for jpeg in jpegs)
        features = extract_features(self.extract, images, len(jpegs), "Features of painted photos")
        fid = frechet_distance(features, self.real_features)
        distance = memorization_distance(features, self.real_features)
        return {"fid": fid, "memorization_distance": distance, "mifid": float(apply_penalty(fid, distance))}

    def consider(self, step: int, paint: Callable, painter: keras.Model) -> dict[str, float]:
        """Scores a generator, records the score in scores.csv, and keeps the generator if it is the best so far.

        Args:
            step: steps trained.
            paint: paints with the generator.
            painter: the generator itself.

        Returns:
            The scores by name; empty if the paintings cannot be scored.

        Raises:
            UserError: if a file cannot be written.
        """
        started = time.monotonic()
        self.prepare()
        try:
            scores = self.score(paint)
        except UserError as error:  # the paintings are not finite; later ones may be
            LOG.warning("Step %d has no score. %s", step, error)
            return {}
        if self.best is None or scores["mifid"] < self.best.mifid:
            self.best = BestGenerator(step, scores["mifid"], self.count, self.weights.digest)
            meta = np.frombuffer(json.dumps(dataclasses.asdict(self.best)).encode(), np.uint8)
            arrays = ((name, value_of(variable)) for name, variable in weight_names(painter).items())
            write_arrays(self.files.best, [(BEST_META, meta), *arrays])
        self.record(step, time.monotonic() - started, scores)
        LOG.info("Step %d scores MiFID %.2f (FID %.2f, memorization distance %.3f) on %d photos against %d paintings; "
                 "the best is step %d's %.2f", step, scores["mifid"], scores["fid"], scores["memorization_distance"],
                 self.count, len(self.real_features), self.best.step, self.best.mifid)
        return scores

    def record(self, step: int, seconds: float, scores: dict[str, float]) -> None:
        """Writes a step's scores to scores.csv, replacing those of that step and later ones."""
        row = {"step": str(step), "seconds": f"{seconds:.1f}", "photos": str(self.count),
               **{name: f"{value:.5f}" for name, value in scores.items()}}
        self.rows = [*(row for row in self.rows if int(row["step"]) < step), row]
        with atomic_write(self.files.scores) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(row), extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.rows)


def parse_best(meta: np.ndarray) -> BestGenerator:
    """Parses the array `BEST_META`."""
    return BestGenerator(**json.loads(meta.tobytes()))


def read_best(path: str) -> BestGenerator:
    """Reads the description of the generator kept at `path`.

    Raises:
        One of `UNREADABLE`: if the file is damaged.
    """
    return parse_best(read_arrays(path, BEST_META)[""])


def set_best_aside(files: RunFiles, why: str) -> None:
    """Renames the kept generator, so that it is not handed in, and logs it."""
    aside = files.best.replace(".npz", "-aside.npz")
    os.replace(files.best, aside)
    LOG.warning("%s is now %s (%s): the search for the best generator starts anew", files.best, aside, why)


def set_foreign_best_aside(files: RunFiles, step: int) -> None:
    """Sets the kept generator aside if it is damaged or of another run; this run has trained `step` steps."""
    if not os.path.exists(files.best):
        return
    try:
        if read_best(files.best).step > step or not step:
            set_best_aside(files, "it is of another run")
    except UNREADABLE as error:
        set_best_aside(files, f"it cannot be read: {error}")


def restore_best(network: keras.Model, path: str) -> int:
    """Loads the generator that a `Selection` kept at `path` into `network`; returns its step.

    Raises:
        UserError: if it cannot be read or does not match the network.
    """
    try:
        arrays = read_arrays(path)
        best = parse_best(arrays.pop(BEST_META))
    except UNREADABLE as error:
        raise UserError(f"{path} holds no generator kept by --select-by ({error}). Give --select-by last to hand in "
                        "the last one, or remove that file.") from None
    assign_arrays(weight_names(network), arrays, path)
    LOG.info("Painting with step %d, whose MiFID was the best: %.2f", best.step, best.mifid)
    return best.step


def choose_best(painter: keras.Model, files: RunFiles) -> None:
    """Loads the best generator into the network that paints, if the run kept one and it can be read."""
    if not os.path.exists(files.best):
        return
    try:
        restore_best(painter, files.best)
    except UserError as error:
        LOG.warning("The last generator is handed in. %s", error)


def open_selection(config: Config, data: Data, files: RunFiles, strategy: tf.distribute.Strategy,
                   step: int) -> Selection | None:
    """The run's selection; None, with a warning, if there are no weights to score with.

    What an earlier session of the run kept stays, with or without weights; anything else is set aside.

    Raises:
        UserError: if the weights are not the Inception's.
    """
    set_foreign_best_aside(files, step)
    try:
        weights = find_weights(download=kaggle_working() is not None and has_internet())
    except UserError as error:
        LOG.warning("--select-by %s: nothing is scored. %s On Kaggle, attach the dataset of make fid-weights, or turn "
                    "the kernel's internet on.", config.select_by, error)
        return None
    if weights.note:
        LOG.warning("%s holds %s", weights.path, weights.note)
    return Selection(config, data, files, strategy, weights, step)


class SelectionMethod(NamedTuple):
    """What a value of --select-by does: `open` starts a run's selection, `choose` loads the chosen weights."""

    open: Callable
    choose: Callable


BY_MIFID = SelectionMethod(open_selection, choose_best)
