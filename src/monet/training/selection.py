"""Keeps the best generator of a run, at checkpoints: what every value of `--select-by` but `last` shares, and `mifid`.

A judge scores a generator by what it paints and says whether it is the best so far. `MifidJudge` is here; `BestJudge`
is in `monet.training.best_judge`.
"""

import csv
import os
import time
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
from tensorflow import keras

from monet.core.config import Config
from monet.core.errors import LOG, UserError
from monet.core.files import atomic_write
from monet.data.records import Data
from monet.machine.kaggle_machine import has_internet, kaggle_working
from monet.scoring.inception_weights import WeightsFile, find_weights
from monet.training.best_generator import (
    BestGenerator,
    choose_best,
    read_best,
    set_best_aside,
    set_foreign_best_aside,
    write_best,
)
from monet.training.history import resumed_rows
from monet.training.inception_scores import InceptionScores
from monet.training.run_files import RunFiles


class Decision(NamedTuple):
    """What a judge says about a generator that it scored.

    Attributes:
        best: describes it, if it is the best so far; else None.
        sentence: says so, for the log.
        columns: more columns for its row in scores.csv, as text.
    """

    best: BestGenerator | None
    sentence: str
    columns: dict[str, str]


class MifidJudge:
    """Compares generators by the score Kaggle would give them; it needs the Inception's weights."""

    def __init__(self, config: Config, data: Data, strategy: tf.distribute.Strategy, weights: WeightsFile):
        """Builds the Inception: see `InceptionScores`."""
        self.inception = InceptionScores(config, data, strategy, weights)
        self.count, self.prepare = self.inception.count, self.inception.prepare

    def score(self, paint: Callable, painter: keras.Model | None = None) -> dict[str, float]:
        """The scores of `InceptionScores.mifid`."""
        return self.inception.mifid(paint)

    def refuses(self, best: BestGenerator) -> str:
        """Why this judge cannot compare anything with what an earlier session kept; empty: it can."""
        if best.mifid is None or (best.photos, best.weights) != (self.count, self.inception.weights.digest):
            return "its score is by other weights or another number of photos"
        return ""

    def decide(self, row: dict[str, str], rows: list[dict], best: BestGenerator | None) -> Decision:
        """Whether the generator of that row of scores.csv is better than `best`; `rows` are those before it."""
        mifid, fid, distance = (float(row[name]) for name in ("mifid", "fid", "memorization_distance"))
        found = None
        if best is None or mifid < best.mifid:
            best = found = BestGenerator(int(row["step"]), self.count, self.inception.weights.digest, mifid)
        return Decision(found, f"Step {row['step']} scores MiFID {mifid:.2f} (FID {fid:.2f}, memorization distance "
                        f"{distance:.3f}) on {self.count} photos against {self.inception.describe()}; the best is step "
                        f"{best.step}'s {best.mifid:.2f}", {})


class Selection:
    """Scores a run's generators and keeps the best on disk.

    Attributes:
        best: what is kept; None: nothing yet.
        judge: scores and compares.
        rows: of scores.csv.
    """

    def __init__(self, judge, files: RunFiles, step: int):
        """Reads what an earlier session kept.

        Args:
            judge: a `MifidJudge`, or another of its interface.
            files: where the run writes.
            step: steps trained; scores of later steps are dropped, as these will be trained again.
        """
        self.judge, self.files = judge, files
        self.rows = resumed_rows(files.scores, step)
        self.best = read_best(files.best) if os.path.exists(files.best) else None
        if self.best and (why := judge.refuses(self.best)):
            set_best_aside(files, why)
            self.best = None

    def has_score(self, step: int) -> bool:
        """Whether the generator of that step was scored."""
        return any(int(row["step"]) == step for row in self.rows)

    def prepare(self) -> None:
        """Measures the run's paintings, once."""
        self.judge.prepare()

    def score(self, paint: Callable, painter: keras.Model | None = None) -> dict[str, float]:
        """The judge's scores, by name, of what `paint` paints with the network `painter`.

        Raises:
            UserError: if that is not finite.
        """
        return self.judge.score(paint, painter)

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
            scores = self.score(paint, painter)
        except UserError as error:  # the paintings are not finite; later ones may be
            LOG.warning("Step %d has no score. %s", step, error)
            return {}
        before = [row for row in self.rows if int(row["step"]) < step]
        row = {"step": str(step), "seconds": f"{time.monotonic() - started:.1f}", "photos": str(self.judge.count),
               **{name: f"{value:.5f}" for name, value in scores.items()}}
        decision = self.judge.decide(row, before, self.best)
        if decision.best:
            self.best = decision.best
            write_best(self.files.best, self.best, painter)
        self.record([*before, row | decision.columns])
        LOG.info("%s", decision.sentence)
        return scores

    def record(self, rows: list[dict]) -> None:
        """Writes scores.csv anew; earlier rows keep their columns."""
        self.rows, columns = rows, list(dict.fromkeys(name for row in reversed(rows) for name in row))
        with atomic_write(self.files.scores) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)


def weights_if_any(lacking: str) -> WeightsFile | None:
    """The Inception's weights on this machine, or downloaded in a kernel with internet; None, with the warning
    `lacking`, if there are none."""
    try:
        weights = find_weights(download=kaggle_working() is not None and has_internet())
    except UserError as error:
        LOG.warning("%s %s On Kaggle, attach the dataset of make fid-weights, or turn the kernel's internet on.",
                    lacking, error)
        return None
    if weights.note:
        LOG.warning("%s holds %s", weights.path, weights.note)
    return weights


def open_selection(config: Config, data: Data, files: RunFiles, strategy: tf.distribute.Strategy,
                   step: int) -> Selection | None:
    """The run's selection by MiFID; None, with a warning, if there are no weights to score with.

    What an earlier session of the run kept stays, with or without weights; anything else is set aside.

    Raises:
        UserError: if the weights are not the Inception's.
    """
    set_foreign_best_aside(files, step)
    weights = weights_if_any(f"--select-by {config.select_by}: nothing is scored.")
    return Selection(MifidJudge(config, data, strategy, weights), files, step) if weights else None


class SelectionMethod(NamedTuple):
    """What a value of --select-by does: `open` starts a run's selection, `choose` loads the chosen weights."""

    open: Callable
    choose: Callable


BY_MIFID = SelectionMethod(open_selection, choose_best)
