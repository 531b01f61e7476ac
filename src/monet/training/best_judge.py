"""`--select-by best`: measures checkpoints on held-out paintings, and lets `monet.training.choice` compare them."""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow import keras

from monet.core.config import SUBMISSION_SIZE, Config
from monet.core.errors import LOG
from monet.core.line_plot import SIGNALS
from monet.data.pipeline import decode_example
from monet.data.records import Data, ImageSet, read_examples
from monet.machine.devices import device_of
from monet.networks.color_curves import distance_moved, quantile_curves
from monet.scoring.colour import colour_left, colour_profile
from monet.scoring.mifid import apply_penalty
from monet.submission.check import CPU_THREADS
from monet.submission.images_zip import painted_batches
from monet.training.best_generator import BestGenerator, choose_best, set_foreign_best_aside
from monet.training.choice import Measurement, judge
from monet.training.history import kept_rows
from monet.training.inception_scores import InceptionScores, sample_photos
from monet.training.matching import pixels_of
from monet.training.run_files import RunFiles
from monet.training.selection import Decision, Selection, SelectionMethod, weights_if_any

COLOUR_PHOTOS = 64  # painted to compare colours: 1.4 s of CPU time with the preset cpu
MOST_PAINTINGS = 300  # whose colours are compared
FEWEST_HELD_OUT = 10  # paintings that stand for the others; if there are fewer, those trained on do
FEWEST_THREADS = 8  # with fewer, a CPU would spend more time on the Inception than on training
SMALLEST_MOVE = 1e-3  # of colours in [-1, 1]: photos nearer to the paintings than this have the same colours
FEWEST_READINGS = 8  # of which a median is taken
FROM_HISTORY = (*SIGNALS, "monet_discriminator")  # columns of history.csv, also of scores.csv


def number(row: dict, name: str) -> float:
    """The number in a row's column; NaN if it is empty or missing."""
    return float(row.get(name) or "nan")


def first_images_of(images: ImageSet) -> list[np.ndarray]:
    """The first images of a set, at most `MOST_PAINTINGS`: float32 `[256, 256, 3]` in [-1, 1]."""
    return [decode_example(example, SUBMISSION_SIZE).numpy() for example in read_examples(images).take(MOST_PAINTINGS)]


class BestJudge:
    """Compares generators by their colours and, with the Inception's weights, by KID or MiFID."""

    def __init__(self, config: Config, data: Data, files: RunFiles, inception: InceptionScores | None):
        """Nothing is measured yet.

        Args:
            config: the run's.
            data: the run's paintings and photos.
            files: give the overfitting signals, in history.csv.
            inception: None: only colours are compared.
        """
        self.files, self.inception, self.matched = files, inception, config.match_colors
        has_held_out = bool(data.held_out and data.held_out.count >= FEWEST_HELD_OUT)
        self.paintings = data.held_out if has_held_out else data.monet
        self.compared = f"{self.paintings.count} paintings " + ("held out" if has_held_out else "trained on")
        self.measure, self.name, self.weights = None, "", ""
        self.count = min(data.photo.count, config.select_photos, COLOUR_PHOTOS)
        self.photos = sample_photos(data.photo, self.count, config.seed)
        if inception:
            self.measure, self.name = (inception.kid, "kid") if has_held_out else (inception.mifid, "mifid")
            self.count, self.weights = inception.count, inception.weights.digest

    def prepare(self) -> None:
        """Computes what the Inception says about the paintings, once."""
        if self.inception:
            self.inception.prepare()

    def photo_images(self) -> list[np.ndarray]:
        """The unpainted photos: float32 `[256, 256, 3]` in [-1, 1]."""
        return [image for batch in self.photos for image in batch.numpy()]

    @functools.cached_property
    def profiles(self) -> tuple:
        """The colours of the unpainted photos, and of the paintings."""
        return colour_profile(self.photo_images()), colour_profile(first_images_of(self.paintings))

    def score(self, paint: Callable, painter: keras.Model | None = None) -> dict[str, float]:
        """`colour_left` and, with the Inception, the scores of `InceptionScores.kid` or `.mifid`.

        With `match_colors`, all paintings have the right colours, also those of a generator that went astray. So what
        counts then is how far `painter`'s curves had to move them, again as a share of what the photos would need.
        """
        moved = distance_moved(painter) if painter else None
        if moved is None:
            painted = (image for batch in painted_batches(paint, self.photos) for image in batch)
            left = colour_left(colour_profile(painted), *self.profiles)
        else:
            left = moved / self.photos_moved
        return {"colour_left": left, **(self.measure(paint) if self.measure else {})}

    @functools.cached_property
    def photos_moved(self) -> float:
        """How far curves would have to move the colours of unpainted photos."""
        positions, values = quantile_curves(pixels_of(self.photo_images()), pixels_of(first_images_of(self.paintings)))
        return max(float(np.abs(values - positions).mean()), SMALLEST_MOVE)

    def refuses(self, best: BestGenerator) -> str:
        """Why nothing can be compared with what an earlier session kept; empty: it can."""
        return "" if best.why else "it was chosen by --select-by mifid"

    def signals(self, after: int, step: int) -> dict[str, float]:
        """`FROM_HISTORY` between two steps, by name: the medians of the readings; NaN without any.

        At least the last `FEWEST_READINGS` count: a single one says little.
        """
        rows = kept_rows(self.files.history, step)
        count = sum(int(row["step"]) > after for row in rows)
        rows = rows[-max(count, FEWEST_READINGS):]
        values = {name: [value for row in rows if np.isfinite(value := number(row, name))] for name in FROM_HISTORY}
        return {name: float(np.median(found)) if found else float("nan") for name, found in values.items()}

    def measurement(self, row: dict) -> Measurement:
        """A row of scores.csv as a measurement, without a distance by other weights or of another number of photos."""
        is_comparable = self.name and (row.get("photos"), row.get("weights")) == (str(self.count), self.weights[:8])
        distance = number(row, self.name) if is_comparable else float("nan")
        if self.name == "kid":  # which is unbiased, so that it can be negative
            distance = float(apply_penalty(max(distance, 0.0), number(row, "memorization_distance")))
        return Measurement(int(row["step"]), number(row, "colour_left"), distance,
                           number(row, "r_v"), number(row, "monet_discriminator"))

    def decide(self, row: dict[str, str], rows: list[dict], best: BestGenerator | None) -> Decision:
        """Whether the generator of that row is the best: see `MifidJudge.decide`.

        Checkpoints before the search began are no part of it, nor is step 0, which is only scored to learn how long
        that takes.
        """
        step, since = int(row["step"]), best.since if best else int(row["step"])
        signals = self.signals(int(rows[-1]["step"]) if rows else 0, step)
        columns = {**{name: f"{value:.5f}" if np.isfinite(value) else "" for name, value in signals.items()},
                   "weights": self.weights[:8]}
        series = [self.measurement(other) for other in (*rows, row | columns) if int(other["step"]) >= max(since, 1)]
        chosen, why = judge(series, self.matched)[-1] if step else (False, "it is untrained")
        found = BestGenerator(step, self.count, self.weights, why=why, since=since) if chosen else None
        measured = f"colours {number(row, 'colour_left'):.2f} of the photos' distance from {self.compared}"
        if self.name:
            measured += f", {self.name.upper()} {number(row, self.name):.4g}"
        kept = f"kept, because {why}" if chosen else f"not kept, because {why}"
        stays = f". Step {best.step} stays the best" if best and not chosen else ""
        return Decision(found, f"Step {step}: {measured}; {kept}{stays}",
                        columns | {"chosen": str(int(chosen)), "why": why})


def open_best(config: Config, data: Data, files: RunFiles, strategy: tf.distribute.Strategy, step: int) -> Selection:
    """The run's selection by `BestJudge`.

    Raises:
        UserError: if there are weights and they are not the Inception's.
    """
    set_foreign_best_aside(files, step)
    weights = None
    if device_of(strategy).kind == "CPU" and CPU_THREADS < FEWEST_THREADS:
        LOG.info("--select-by best compares colours: the Inception would take too long here")
    else:
        weights = weights_if_any(f"--select-by {config.select_by} compares colours only.")
    inception = InceptionScores(config, data, strategy, weights) if weights else None
    return Selection(BestJudge(config, data, files, inception), files, step)


BY_BEST = SelectionMethod(open_best, choose_best)
