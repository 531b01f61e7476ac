"""What a run leaves for people to look at: where its files are, history.csv, TensorBoard, previews."""

import csv
import os

import numpy as np
import tensorflow as tf
from PIL import Image

from monet.core.files import atomic_write
from monet.core.pixels import float_to_pixels
from monet.training.run_files import RunFiles


def write_preview(photos, painted, path: str) -> np.ndarray:
    """Writes a JPEG of two columns of pairs, photo | painted, whole or not at all; returns it as uint8 `[h, w, 3]`."""
    pairs = np.concatenate([float_to_pixels(photos), float_to_pixels(painted)], axis=2)
    half = (len(pairs) + 1) // 2
    columns = [np.concatenate(list(column), axis=0) for column in (pairs[:half], pairs[half:]) if len(column)]
    tallest = max(len(column) for column in columns)
    columns = [np.pad(column, ((0, tallest - len(column)), (0, 0), (0, 0))) for column in columns]
    sheet = np.concatenate(columns, axis=1)
    with atomic_write(path) as temporary:
        Image.fromarray(sheet).save(temporary, "JPEG", quality=92)
    return sheet


def kept_rows(path: str, last_step: int) -> list[dict]:
    """The rows of a history.csv up to `last_step`; damaged ones, and a file that is not there, give none."""
    if not os.path.exists(path):
        return []
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if (row.get("step") or "").isdigit() and int(row["step"]) <= last_step]


class History:
    """The losses as history.csv and as TensorBoard scalars, a row for every reading of the losses."""

    def __init__(self, files: RunFiles, first_step: int, tensorboard: bool):
        """Opens the history; rows past `first_step`, which a resumed run repeats, are dropped."""
        self.path, self.columns = files.history, []
        rows = kept_rows(self.path, first_step)
        with atomic_write(self.path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            if rows:
                self.columns = list(rows[0])
                writer = csv.DictWriter(file, fieldnames=self.columns, extrasaction="ignore")
                writer.writeheader()
                writer.writerows(rows)
        self.board = (tf.summary.create_file_writer(files.tensorboard) if tensorboard
                      else tf.summary.create_noop_writer())

    def write_row(self, row: dict) -> None:
        """Appends one row, and the header before the first; a loss that the header does not know is left out."""
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=self.columns or list(row), extrasaction="ignore")
            if not self.columns:
                self.columns = list(row)
                writer.writeheader()
            writer.writerow(row)

    def add(self, step: int, epoch: int, seconds: float, losses: dict) -> None:
        """Records the mean losses of the steps since the last row; `seconds` is the time a step took."""
        self.write_row({"step": step, "epoch": epoch, "seconds_per_step": f"{seconds:.4f}",
                        **{name: f"{value:.5f}" for name, value in losses.items()}})
        with self.board.as_default(step=step):
            for name, value in losses.items():
                tf.summary.scalar(f"loss/{name}", value)
            tf.summary.scalar("seconds_per_step", seconds)

    def add_scores(self, step: int, scores: dict) -> None:
        """Records the scores of a checkpoint, which have a file of their own, for TensorBoard."""
        with self.board.as_default(step=step):
            for name, value in scores.items():
                tf.summary.scalar(f"score/{name}", value)

    def add_picture(self, step: int, picture: np.ndarray) -> None:
        """Records a preview, uint8 `[height, width, 3]`."""
        with self.board.as_default(step=step):
            tf.summary.image("photo | painted", picture[None])
        self.board.flush()
