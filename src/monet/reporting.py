"""What a run leaves for people to look at: where its files are, history.csv, TensorBoard, previews."""

import csv
import os
import time

import numpy as np
import tensorflow as tf
from PIL import Image

from monet.config import LOG, UserError
from monet.files import whole_file


class RunFiles:
    """Where a run keeps what it writes, all below its folder `out`."""

    def __init__(self, out: str):
        self.out = out
        self.checkpoints = os.path.join(out, "checkpoints")  # folder
        self.tensorboard = os.path.join(out, "tensorboard")  # folder
        self.config = os.path.join(out, "config.json")  # as resolved
        self.generator = os.path.join(out, "photo_to_monet.npz")  # the exported generator
        self.history = os.path.join(out, "history.csv")
        self.best = os.path.join(out, "best.npz")  # of --select-by: the best generator so far, and its score
        self.scores = os.path.join(out, "scores.csv")  # of --select-by
        self.preview = os.path.join(out, "preview.jpg")  # the newest
        self.zip = os.path.join(out, "images.zip")
        self.photos = os.path.join(out, "photos.zip")  # of `generate --direction monet_to_photo`
        self.log = os.path.join(out, "run.log")


def open_run(out: str) -> RunFiles:
    """Makes the folder `out`, if it is not there.

    Raises:
        UserError: if it is a file, or cannot be written.
    """
    files = RunFiles(out)
    try:
        os.makedirs(out, exist_ok=True)
        with open(files.log, "a", encoding="utf-8"):
            pass
    except OSError as error:
        raise UserError(f"--out {out} cannot be used ({error.strerror}): give a folder that can be written.") from None
    return files


def set_aside(files: RunFiles) -> None:
    """Moves what an earlier run left to the first free of the folders previous-1, previous-2, …: nothing is deleted.

    The log stays: it tells of all the runs.
    """
    left = [files.checkpoints, files.history, files.config, files.generator, files.preview, files.zip,
            files.photos, files.tensorboard, files.best, files.scores]
    left = [path for path in left if os.path.exists(path)]
    if not left:
        return
    number = 1
    while os.path.exists(os.path.join(files.out, f"previous-{number}")):
        number += 1
    folder = os.path.join(files.out, f"previous-{number}")
    os.makedirs(folder)
    for path in left:
        os.rename(path, os.path.join(folder, os.path.basename(path)))
    LOG.info("The earlier run is now in %s", folder)


def picture_of(images) -> np.ndarray:
    """float [-1, 1] to uint8 0..255, rounded."""
    levels = (np.asarray(images) + 1.0) * 127.5
    return np.clip(np.rint(levels, out=levels), 0, 255, out=levels).astype(np.uint8)


def write_preview(photos, painted, path: str) -> np.ndarray:
    """Writes a JPEG of two columns of pairs, photo | painted, whole or not at all; returns it as uint8 `[h, w, 3]`."""
    pairs = np.concatenate([picture_of(photos), picture_of(painted)], axis=2)
    half = (len(pairs) + 1) // 2
    columns = [np.concatenate(list(column), axis=0) for column in (pairs[:half], pairs[half:]) if len(column)]
    tallest = max(len(column) for column in columns)
    columns = [np.pad(column, ((0, tallest - len(column)), (0, 0), (0, 0))) for column in columns]
    sheet = np.concatenate(columns, axis=1)
    with whole_file(path) as temporary:
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
        with whole_file(self.path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
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


class Every:
    """Says when `seconds` have passed since it last said so."""

    def __init__(self, seconds: float):
        self.seconds, self.last = seconds, time.monotonic()

    def due(self) -> bool:
        """Whether it is time again; if so, the clock starts anew."""
        if time.monotonic() - self.last < self.seconds:
            return False
        self.last = time.monotonic()
        return True
