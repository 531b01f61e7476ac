"""Checkpoints: saved whole, found again, and never mistaken for those of another run."""

import dataclasses
import glob
import json
import os
import re
from collections.abc import Iterable, Sequence

import numpy as np
from tensorflow import keras

from monet.core.array_files import UNREADABLE, read_arrays, write_arrays
from monet.core.config import ARCHITECTURE_FIELDS, FIELDS, Config
from monet.core.errors import LOG, UserError
from monet.core.keras_compat import weight_names
from monet.data.hold_out import whole_monet
from monet.data.records import Data
from monet.networks.generators import block_count
from monet.training.arrays import assign_arrays
from monet.training.state import AVERAGE

META_NAME = "meta"  # the array that holds step, config and data as JSON


@dataclasses.dataclass(frozen=True)
class Meta:
    """What a checkpoint says about its run.

    Attributes:
        step: steps done.
        config: the fields of its config, as asked.
        data: from `data_identity`.
        skipped: batches of data skipped after setbacks; 0 in earlier versions.
        seconds: training time of all sessions of the run; 0 in earlier versions.
        changes: from `monet.training.changes.resumed_settings`; none in earlier versions.
        total_steps: steps of the whole run; None if not known yet, and in earlier versions.
    """

    step: int
    config: dict
    data: dict
    skipped: int = 0
    seconds: float = 0.0
    changes: Sequence[dict] = ()
    total_steps: int | None = None


def data_identity(data: Data, config: Config) -> dict:
    """A checkpoint's record of its data: counts, and fingerprints by format. Neither folder nor file names matter, nor
    which paintings are held out: that is a setting."""
    fingerprints = {f"{side}_{images.kind}_fingerprint": images.fingerprint
                    for side, images in (("monet", data.monet), ("photo", data.photo)) if images.fingerprint}
    counts = {"monet": whole_monet(data).count, "photo": data.photo.count}
    return {**counts, "swap_sides": config.swap_sides, **fingerprints}


def save_checkpoint(folder: str, state: Iterable[tuple[str, np.ndarray]], meta: Meta, keep: int) -> str:
    """Writes a checkpoint and removes all but the newest `keep`; returns its path.

    Args:
        folder: the run's checkpoint folder.
        state: arrays by name, from `TensorFlowEngine.state`.
        meta: what else to record.
        keep: number of checkpoints to keep.

    Raises:
        NotFiniteError: if a number in it is NaN or infinite; earlier checkpoints stay.
        UserError: if the disk is full; earlier checkpoints stay.
    """
    for unfinished in glob.glob(os.path.join(glob.escape(folder), "step-*.part")):
        os.remove(unfinished)
    path = os.path.join(folder, f"step-{meta.step:08d}.npz")
    text = np.frombuffer(json.dumps(dataclasses.asdict(meta)).encode(), np.uint8)
    write_arrays(path, [(META_NAME, text), *state])
    # A later one could not be read, and does not count.
    for old in [other for other in list_checkpoints(folder) if step_of(other) <= meta.step][keep:]:
        os.remove(old)
    if meta.step and os.path.exists(first := os.path.join(folder, "step-00000000.npz")):
        os.remove(first)  # the initial random weights are no longer needed
    return path


def step_of(path: str) -> int:
    """The step in a checkpoint's name."""
    return int(os.path.basename(path).removeprefix("step-").removesuffix(".npz"))


def list_checkpoints(folder: str) -> list[str]:
    """Paths of the checkpoints in `folder`, newest first; empty if there is no such folder."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    paths = [os.path.join(folder, name) for name in names if re.fullmatch(r"step-[0-9]+\.npz", name)]
    return sorted(paths, key=step_of, reverse=True)


def read_meta(path: str) -> Meta:
    """What the checkpoint at `path` says about its run.

    Raises:
        One of `UNREADABLE` if it is damaged.
    """
    return Meta(**json.loads(read_arrays(path, META_NAME)[""].tobytes()))


def load_newest(folder: str, prefix: str = "") -> tuple[Meta, dict[str, np.ndarray]] | None:
    """The newest checkpoint in `folder` whose arrays named `prefix…` can be read; None if there is no checkpoint.

    Unreadable ones stay where they are and are logged.

    Raises:
        UserError: if there are checkpoints and none can be read.
    """
    paths = list_checkpoints(folder)
    for path in paths:
        try:
            meta, arrays = read_meta(path), read_arrays(path, prefix)
        except UNREADABLE as error:
            LOG.warning("%s cannot be read (%s): going back to the checkpoint before it", path, error)
            continue
        arrays.pop(META_NAME, None)
        return meta, arrays
    if paths:
        raise UserError(f"None of the {len(paths)} checkpoints in {folder} can be read. "
                        "Start anew with --resume false, which sets them aside, or give another --out.")
    return None


def architecture_of(values: dict) -> dict:
    """The fields, by name, in which two configs must agree for a checkpoint of one to fit the other.

    Args:
        values: the fields of a config. Fields that an earlier version lacked get their defaults; `residual_blocks` may
            be 0 where it follows from the network and the size, `discriminator_norm` empty where it is `norm`.
    """
    config = Config(**{name: values.get(name, field.default) for name, field in FIELDS.items()})
    return {name: getattr(config, name) for name in ARCHITECTURE_FIELDS} | {
        "residual_blocks": block_count(config), "discriminator_norm": config.discriminator_norm or config.norm}


def check_unchanged(folder: str, config: Config, data: dict) -> None:
    """Compares the run with the newest checkpoint in `folder`, before anything is built.

    Raises:
        UserError: naming what differs, if that checkpoint has another architecture or other training data.
    """
    advice = ("Give another --out (OUT=FOLDER with make), or --resume false (ARGS=\"--resume false\"), which sets the "
              "earlier run aside.")
    now = architecture_of(dataclasses.asdict(config))
    for path in list_checkpoints(folder):
        try:
            meta = read_meta(path)
        except UNREADABLE:
            continue  # load_newest logs it
        before = architecture_of(meta.config)
        changed = {name: value for name, value in before.items() if value != now[name]}
        if changed:
            differences = "; ".join(f"{name} was {value!r}, now {now[name]!r}" for name, value in changed.items())
            had = " ".join(f"--{name.replace('_', '-')} {str(value).lower()}" for name, value in changed.items())
            raise UserError(f"The run in {config.out} has a different architecture ({differences}). To go on with it, "
                            f'give what it had: {had} (with make in ARGS="…"). {advice}')
        seen = {"swap_sides": False} | meta.data  # the first version did not have the field
        # Earlier versions had no fingerprints, and those of the same pictures in another format differ.
        changed = [f"{name} was {seen[name]}, now {value}" for name, value in data.items()
                   if name in seen and seen[name] != value]
        if changed:
            raise UserError(f"The run in {config.out} used other data ({'; '.join(changed)}). {advice}")
        return


def restore_network(folder: str, network: keras.Model) -> None:
    """Loads the network of that name from the newest readable checkpoint in `folder`: its moving average, if any.

    Raises:
        UserError: if there is no readable checkpoint, or it does not fit.
    """
    newest = load_newest(folder, f"{network.name}/")
    if newest is None:
        raise UserError(f"There is no trained generator: {folder} holds no checkpoint. Train first (python -m monet "
                        "train), name the run's folder with --out, or give --weights FILE.")
    meta, arrays = newest
    assign_arrays(weight_names(network), painting_weights(arrays), folder)
    LOG.info("Painting with step %d of %s", meta.step, folder)


def painting_weights(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of a network's arrays in a checkpoint, by names without the network's, the weights that paint: the moving
    average, if any."""
    averaged = {name.removeprefix(AVERAGE): array for name, array in arrays.items() if name.startswith(AVERAGE)}
    own = {name: array for name, array in arrays.items() if not name.startswith(("adam/", AVERAGE))}
    return own | averaged
