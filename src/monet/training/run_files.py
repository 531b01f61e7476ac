"""Where a run keeps its files."""

import os
import tempfile

from monet.core.config import Config
from monet.core.errors import LOG, UserError
from monet.data.records import Data
from monet.machine.cluster import OneMachine
from monet.machine.restarts import past_hangs
from monet.training.checkpoint import check_unchanged, data_identity, list_checkpoints


class RunFiles:
    """Where a run keeps what it writes, all below its folder `out`."""

    def __init__(self, out: str):
        self.out = out
        self.checkpoints = os.path.join(out, "checkpoints")  # folder
        self.tensorboard = os.path.join(out, "tensorboard")  # folder
        self.config = os.path.join(out, "config.json")  # as asked
        self.generator = os.path.join(out, "photo_to_monet.npz")  # the exported generator
        self.history = os.path.join(out, "history.csv")
        self.best = os.path.join(out, "best.npz")  # of --select-by: the best generator so far, and its score
        self.scores = os.path.join(out, "scores.csv")  # of --select-by
        self.preview = os.path.join(out, "preview.jpg")  # the newest
        self.previews = os.path.join(out, "previews")  # folder: small ones, over the run
        self.report = os.path.join(out, "report.html")
        self.facts = os.path.join(out, "report.json")  # what the report needs besides the other files
        self.score = os.path.join(out, "mifid.json")  # what tools/mifid.py found for images.zip
        self.zip = os.path.join(out, "images.zip")
        self.photos = os.path.join(out, "photos.zip")  # of `generate --direction monet_to_photo`
        self.log = os.path.join(out, "run.log")
        self.lock = os.path.join(out, "run.lock")  # only while something writes into the folder


def open_run(out: str) -> RunFiles:
    """Creates the folder `out` if it does not exist.

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
    """Moves the files of an earlier run to the first free folder of previous-1, previous-2, …; deletes nothing.

    The log stays, because it covers all runs.
    """
    paths = [files.checkpoints, files.history, files.config, files.generator, files.preview, files.zip,
             files.photos, files.tensorboard, files.best, files.scores, files.previews, files.report, files.facts,
             files.score]
    paths = [path for path in paths if os.path.exists(path)]
    if not paths:
        return
    number = 1
    while os.path.exists(os.path.join(files.out, f"previous-{number}")):
        number += 1
    folder = os.path.join(files.out, f"previous-{number}")
    os.makedirs(folder)
    for path in paths:
        os.rename(path, os.path.join(folder, os.path.basename(path)))
    LOG.info("The earlier run is now in %s", folder)


def prepare_out(config: Config, data: Data, cluster: OneMachine) -> RunFiles:
    """Creates the run's folder, and refuses one that holds another run before anything expensive is done.

    In a cluster only the chief writes to it. The other machines write to a temporary folder and read the chief's
    checkpoints.

    Raises:
        UserError: if `out` is a file or cannot be written, or holds a run that this one cannot resume.
    """
    files = open_run(config.out)
    if config.resume or past_hangs():
        check_unchanged(files.checkpoints, config, data_identity(data, config))
    elif cluster.writes:
        set_aside(files)
    if cluster.writes:
        return files
    own = RunFiles(tempfile.mkdtemp(prefix="monet-"))
    own.checkpoints = files.checkpoints
    return own


def check_same_step(step: int, folder: str, cluster: OneMachine) -> None:
    """Raises UserError if the machines found checkpoints of different steps; this one of `step` in `folder`."""
    if not cluster.same(step):
        raise UserError(f"The machines of the cluster found different checkpoints (here: step {step} in {folder}). "
                        "Give an --out that is the same folder on all of them.")


def check_all_see_one(folder: str, cluster: OneMachine) -> None:
    """Raises UserError if a machine sees no checkpoint in `folder`."""
    if cluster.any(not list_checkpoints(folder))[0]:
        raise UserError(f"Not all machines of the cluster see the checkpoint in {folder}. Give an --out that is the "
                        "same folder on all of them.")
