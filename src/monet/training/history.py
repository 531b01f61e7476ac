"""A run's records for people to look at: history.csv, TensorBoard, previews."""

import csv
import os
import re

import numpy as np
import tensorflow as tf
from PIL import Image

from monet.core.errors import LOG
from monet.core.files import atomic_write
from monet.core.pixels import float_to_pixels
from monet.training.overfitting import OVERFITTING
from monet.training.run_files import RunFiles

WORDS = ("weights", "why")  # columns of scores.csv that hold text


def write_preview(photos, painted, path: str) -> np.ndarray:
    """Writes a JPEG with two columns of pairs, photo | painted; returns it as uint8 `[h, w, 3]`."""
    pairs = np.concatenate([float_to_pixels(photos), float_to_pixels(painted)], axis=2)
    half = (len(pairs) + 1) // 2
    columns = [np.concatenate(list(column), axis=0) for column in (pairs[:half], pairs[half:]) if len(column)]
    tallest = max(len(column) for column in columns)
    columns = [np.pad(column, ((0, tallest - len(column)), (0, 0), (0, 0))) for column in columns]
    sheet = np.concatenate(columns, axis=1)
    with atomic_write(path) as temporary:
        Image.fromarray(sheet).save(temporary, "JPEG", quality=92)
    return sheet


def is_record(row: dict) -> bool:
    """Whether a row is as the kit writes it: a step, and numbers or nothing under the other names of the header but
    `WORDS`."""
    try:
        numbers = [float(value) for name, value in row.items() if value and name not in WORDS]
    except (TypeError, ValueError):  # TypeError: more fields than names
        return False
    return None not in row.values() and bool(numbers and re.fullmatch(r"[0-9]{1,15}", row.get("step", "")))


def read_rows(path: str) -> tuple[list[dict], bool]:
    """The rows of a history.csv or scores.csv that can be read, and whether these are all; a missing file has none."""
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return [], True
    except (OSError, csv.Error):
        return [], False
    records = [row for row in rows if is_record(row)]
    return records, len(records) == len(rows)


def kept_rows(path: str, last_step: int) -> list[dict]:
    """The rows of a history.csv or scores.csv up to `last_step` that can be read."""
    return rows_until(last_step, read_rows(path)[0])


def rows_until(last_step: int, rows: list[dict]) -> list[dict]:
    """Those of the rows that are of steps up to `last_step`."""
    return [row for row in rows if int(row["step"]) <= last_step]


def resumed_rows(path: str, last_step: int) -> list[dict]:
    """As `kept_rows`, for a run that will write the file anew: if some rows cannot be read, it is first renamed to
    history-damaged-1.csv, -2, …, which the log says."""
    readable, whole = read_rows(path)
    rows = rows_until(last_step, readable)
    if not whole:
        number, (stem, suffix) = 1, os.path.splitext(path)
        while os.path.exists(aside := f"{stem}-damaged-{number}{suffix}"):
            number += 1
        os.replace(path, aside)
        LOG.warning("%s is damaged, or another program wrote it. It is now %s; %d of its rows can be read and are kept",
                    path, aside, len(rows))
    return rows


class History:
    """The losses of a run, in history.csv and for TensorBoard: one row per reading."""

    def __init__(self, files: RunFiles, first_step: int, tensorboard: bool):
        """Opens the history, and drops rows past `first_step`, which a resumed run repeats."""
        self.path = files.history
        rows = resumed_rows(self.path, first_step)
        self.columns = list(rows[0]) if rows else []
        self.write_all(rows)
        self.board = (tf.summary.create_file_writer(files.tensorboard) if tensorboard
                      else tf.summary.create_noop_writer())

    def write_all(self, rows: list[dict]) -> None:
        """Writes the file anew with these rows, below a header if there are columns."""
        with atomic_write(self.path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            if self.columns:
                writer = csv.DictWriter(file, fieldnames=self.columns, extrasaction="ignore")
                writer.writeheader()
                writer.writerows(rows)

    def write_row(self, row: dict) -> None:
        """Appends a row. Columns that the file does not have yet are added to it, empty above."""
        if new := [name for name in row if name not in self.columns]:
            rows, self.columns = read_rows(self.path)[0], self.columns + new
            self.write_all(rows)
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, fieldnames=self.columns).writerow(row)

    def add(self, step: int, epoch: int, seconds: float, values: dict) -> None:
        """Records what was read since the last row.

        Args:
            step: steps done.
            epoch: that of the last of them.
            seconds: per step.
            values: mean losses and signals of overfitting, by name; None: no value.
        """
        self.write_row({"step": step, "epoch": epoch, "seconds_per_step": f"{seconds:.4f}",
                        **{name: "" if value is None else f"{value:.5f}" for name, value in values.items()}})
        with self.board.as_default(step=step):
            for name, value in values.items():
                if value is not None:
                    tf.summary.scalar(f"{'overfitting' if name in OVERFITTING else 'loss'}/{name}", value)
            tf.summary.scalar("seconds_per_step", seconds)

    def add_scores(self, step: int, scores: dict) -> None:
        """Records a checkpoint's scores for TensorBoard; they also have their own file."""
        with self.board.as_default(step=step):
            for name, value in scores.items():
                tf.summary.scalar(f"score/{name}", value)

    def add_picture(self, step: int, picture: np.ndarray) -> None:
        """Records a preview, uint8 `[height, width, 3]`."""
        with self.board.as_default(step=step):
            tf.summary.image("photo | painted", picture[None])
        self.board.flush()
