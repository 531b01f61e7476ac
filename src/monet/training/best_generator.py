"""best.npz, the best generator of a run: written at checkpoints, read back when a run resumes, and handed in."""

import dataclasses
import json
import os
import sys

import numpy as np
from tensorflow import keras

from monet.core.array_files import UNREADABLE, read_arrays, write_arrays
from monet.core.errors import LOG, UserError
from monet.core.keras_compat import weight_names
from monet.training.arrays import assign_arrays, value_of
from monet.training.history import kept_rows
from monet.training.run_files import RunFiles

BEST_META = "best"  # the array that holds a `BestGenerator` as JSON


@dataclasses.dataclass(frozen=True)
class BestGenerator:
    """Describes the generator that is kept.

    Attributes:
        step: steps trained.
        photos: number of photos painted for the score.
        weights: SHA-256 of the Inception's weights, by which scores cannot be compared with those by others; empty:
            scored without.
        mifid: its score, lower is better; None: chosen by `monet.training.choice`.
        why: the reason of that choice, as the end of a sentence.
        since: the step of the first checkpoint that it was compared with.
    """

    step: int
    photos: int
    weights: str
    mifid: float | None = None
    why: str = ""
    since: int = 0

    def reason(self) -> str:
        """Why it is handed in, as the end of a sentence."""
        return f"its MiFID was the best: {self.mifid:.2f}" if self.mifid is not None else self.why


def write_best(path: str, best: BestGenerator, painter: keras.Model) -> None:
    """Writes the weights of `painter` as the best generator.

    Raises:
        UserError: if the file cannot be written.
    """
    meta = np.frombuffer(json.dumps(dataclasses.asdict(best)).encode(), np.uint8)
    write_arrays(path, [(BEST_META, meta), *((name, value_of(variable))
                                             for name, variable in weight_names(painter).items())])


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
    """Loads the generator kept at `path` into `network`, logs why it was kept, and returns its step.

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
    LOG.info("Painting with step %d, because %s", best.step, best.reason())
    return best.step


def choose_best(painter: keras.Model, files: RunFiles) -> None:
    """Loads the best generator into the network that paints, if the run kept one and it can be read."""
    if not os.path.exists(files.best):
        return
    try:
        step = restore_best(painter, files.best)
    except UserError as error:
        LOG.warning("The last generator is handed in. %s", error)
        return
    rows = [row for row in kept_rows(files.scores, sys.maxsize) if row.get("why")]
    if rows and int(rows[-1]["step"]) > step:
        LOG.info("Step %s is not handed in, because %s", rows[-1]["step"], rows[-1]["why"])
