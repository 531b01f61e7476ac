"""Save, restore, resume: named arrays in files that are whole or not there at all.

A checkpoint is an .npz file (a zip of .npy arrays, each with a checksum) and so is an exported generator. The names are
the project's own (`photo_to_monet/down1_conv/kernel`), so that a file outlives the version of Keras that wrote it.
"""

import dataclasses
import glob
import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterable

import numpy as np
import tensorflow as tf
from tensorflow import keras

from monet.core.config import ARCHITECTURE_FIELDS, FIELDS, Config
from monet.core.errors import LOG, UserError
from monet.core.files import atomic_write
from monet.data.records import Data
from monet.gan.optimizers import averages
from monet.networks.generators import block_count


def identity_of(data: Data, config: Config) -> dict:
    """What a checkpoint remembers of the data it saw: the same data in another folder is no other data."""
    return {"monet": data.monet.count, "photo": data.photo.count, "swap_sides": config.swap_sides}


AVERAGE = "average/"  # of the moving averages' names, within their network's
META_NAME = "meta"  # the array that holds step, config and data as JSON
UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)


class NotFiniteError(UserError):
    """The array `name`, which was to be saved, holds NaN or infinity."""

    def __init__(self, name: str, path: str):
        """`path` is the file that is not written because of it."""
        super().__init__(f"{name} has become NaN or infinite, and {path} is not written. Go on from an earlier "
                         "checkpoint with a lower --learning-rate or --precision float32.")
        self.name = name


def variable_names(network: keras.Model) -> dict:
    """The network's variables by name, `layer/weight`, alike under Keras 2 and 3."""
    names = {}
    for layer in network.layers:
        for variable in layer.weights:
            names[f"{layer.name}/{variable.name.split('/')[-1].split(':')[0]}"] = variable
    return names


def adam_variables(network: keras.Model, optimizer: keras.optimizers.Optimizer) -> dict:
    """The variables of the Adam that trains `network`, by name: its step count, and two moments a weight."""
    names = {id(variable): name for name, variable in variable_names(network).items()}
    found = {"iterations": optimizer.iterations}
    # These two attributes have one name and one order in Keras 2 and 3; the variables' names do not.
    moments = zip(network.trainable_variables, optimizer._momentums, optimizer._velocities, strict=True)
    for variable, first, second in moments:
        found[f"m/{names[id(variable)]}"] = first
        found[f"v/{names[id(variable)]}"] = second
    return found


def state_variables(system) -> dict:
    """What the system's players remember beside their weights, variables by name."""
    return {f"{name}/{key}": variable
            for name, state in system.states.items() for key, variable in state.items()}


def system_variables(system) -> dict:
    """Every variable of a system (`monet.cyclegan.CycleGan`) that its training needs to go on, by name."""
    found = {}
    for name, network in system.networks.items():
        optimizer, names = system.optimizers[name], variable_names(network)
        found |= {f"{name}/{key}": variable for key, variable in names.items()}
        found |= {f"{name}/adam/{key}": variable for key, variable in adam_variables(network, optimizer).items()}
        own = {id(variable): key for key, variable in names.items()}
        found |= {f"{name}/{AVERAGE}{own[id(variable)]}": mean for variable, mean in averages(network, optimizer)}
    return found | state_variables(system)


def write_arrays(path: str, arrays: Iterable[tuple[str, np.ndarray]]) -> None:
    """Writes named arrays to the .npz file `path`, one at a time, whole or not at all.

    Raises:
        NotFiniteError: if an array holds NaN or infinity: what is broken replaces nothing.
        UserError: if it cannot be written.
    """
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays:
            array = np.asarray(array)
            if not np.isfinite(array).all():
                raise NotFiniteError(name, path)
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read_arrays(path: str, prefix: str = "") -> dict[str, np.ndarray]:
    """The arrays of an .npz file whose names begin with `prefix`, by the rest of the name.

    Raises:
        One of `UNREADABLE` if the file is damaged: every array's checksum is compared.
    """
    with np.load(path, allow_pickle=False) as file:
        return {name.removeprefix(prefix): file[name] for name in file.files if name.startswith(prefix)}


def value_of(variable) -> np.ndarray:
    """The variable's value on the host."""
    return np.asarray(tf.convert_to_tensor(variable))


def assign_arrays(variables: dict, arrays: dict[str, np.ndarray], source: str) -> None:
    """Gives each of `variables` the array of its name.

    Raises:
        UserError: naming the first array that is missing, left over, or of another shape; nothing is assigned then.
    """
    for name in [*variables, *arrays]:
        expected = tuple(variables[name].shape) if name in variables else "none"
        found = arrays[name].shape if name in arrays else "none"
        if expected != found:
            raise UserError(f"{source} does not fit the network: array {name!r} has shape {found}, expected "
                            f"{expected}. Give the settings that it was made with (--config its config.json).")
    for name, variable in variables.items():
        variable.assign(arrays[name])


def export_network(network: keras.Model, path: str) -> None:
    """Writes the network's weights to `path` as an .npz file of arrays named `layer/weight`."""
    write_arrays(path, ((name, value_of(variable)) for name, variable in variable_names(network).items()))


def import_network(network: keras.Model, path: str) -> None:
    """Loads into `network` what `export_network` wrote, under this or the other version of Keras.

    Raises:
        UserError: for a file that cannot be read, or that does not fit: the first array that differs is named.
    """
    try:
        arrays = read_arrays(path)
    except UNREADABLE as error:
        raise UserError(f"{path} holds no exported network ({error}). Give the .npz file that a run wrote.") from None
    assign_arrays(variable_names(network), arrays, path)


@dataclasses.dataclass(frozen=True)
class Meta:
    """What a checkpoint says of its run.

    Attributes:
        step: steps done.
        config: the fields of its config.
        data: counts and sides.
        skipped: steps' worth of data that was passed over because it led to nothing; 0 in those of earlier versions.
        seconds: that all sessions of the run have spent training; 0 in those of earlier versions.
    """

    step: int
    config: dict
    data: dict
    skipped: int = 0
    seconds: float = 0.0


def save_checkpoint(folder: str, system, meta: Meta, keep: int) -> str:
    """Writes a checkpoint and removes all but the newest `keep`; returns its path.

    Raises:
        NotFiniteError: if a number in it is NaN or infinite; earlier checkpoints stay.
        UserError: if the disk is full; earlier checkpoints stay.
    """
    for killed in glob.glob(os.path.join(glob.escape(folder), "step-*.part")):
        os.remove(killed)
    path = os.path.join(folder, f"step-{meta.step:08d}.npz")
    text = np.frombuffer(json.dumps(dataclasses.asdict(meta)).encode(), np.uint8)
    variables = system_variables(system)
    write_arrays(path, [(META_NAME, text), *((name, LazyArray(variable)) for name, variable in variables.items())])
    for old in list_checkpoints(folder)[keep:]:
        os.remove(old)
    if meta.step and os.path.exists(first := os.path.join(folder, "step-00000000.npz")):
        os.remove(first)  # nobody needs the random numbers that training began with
    return path


class LazyArray:
    """A variable that becomes an array only when it is written, so that a copy of all never stands in memory."""

    def __init__(self, variable):
        self.variable = variable

    def __array__(self, dtype=None, copy=None):
        return value_of(self.variable)


def list_checkpoints(folder: str) -> list[str]:
    """Paths of the checkpoints in `folder`, the newest first; none if there is no such folder."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return [os.path.join(folder, name) for name in sorted(names, reverse=True) if re.fullmatch(r"step-\d+\.npz", name)]


def meta_of(array: np.ndarray) -> Meta:
    """The Meta that a checkpoint's array `META_NAME` holds as JSON."""
    return Meta(**json.loads(array.tobytes()))


def load_newest(folder: str, prefix: str = "") -> tuple[Meta, dict[str, np.ndarray]] | None:
    """The newest checkpoint in `folder` whose arrays named `prefix…` can be read, or None if there is no checkpoint.

    Unreadable ones are passed over, saying so, and stay where they are.

    Raises:
        UserError: if there are checkpoints and none can be read.
    """
    paths = list_checkpoints(folder)
    for path in paths:
        try:
            meta = meta_of(read_arrays(path, META_NAME)[""])
            return meta, read_arrays(path, prefix)
        except UNREADABLE as error:
            LOG.warning("%s cannot be read (%s): going back to the checkpoint before it", path, error)
    if paths:
        raise UserError(f"None of the {len(paths)} checkpoints in {folder} can be read. "
                        "Start anew with --resume false, which sets them aside, or give another --out.")
    return None


def architecture_of(values: dict) -> dict:
    """What two configs must agree in for a checkpoint of one to fit the other, by name, from a config's field values.

    A field that an earlier version did not have stood, as it were, at its default; and residual blocks that follow from
    the network and the size were once not written down.
    """
    config = Config(**{name: values.get(name, field.default) for name, field in FIELDS.items()})
    return {name: getattr(config, name) for name in ARCHITECTURE_FIELDS} | {"residual_blocks": block_count(config)}


def check_unchanged(folder: str, config: Config, data: dict) -> None:
    """Compares the run with what the newest checkpoint in `folder` says of itself, before anything is built.

    Raises:
        UserError: naming what differs, if that checkpoint is of another architecture or other data.
    """
    advice = ("Give another --out (OUT=FOLDER with make), or --resume false (ARGS=\"--resume false\"), which sets the "
              "earlier run aside.")
    now = architecture_of(dataclasses.asdict(config))
    for path in list_checkpoints(folder):
        try:
            meta = meta_of(read_arrays(path, META_NAME)[""])
        except UNREADABLE:
            continue  # load_newest speaks of it
        before = architecture_of(meta.config)
        changed = [f"{name} was {value!r}, now {now[name]!r}" for name, value in before.items() if value != now[name]]
        if changed:
            raise UserError(f"The run in {config.out} has another architecture ({'; '.join(changed)}). {advice}")
        seen = {"swap_sides": False} | meta.data  # which the first version did not say, nor do
        if seen != data:
            raise UserError(f"The run in {config.out} saw other data ({seen}, now {data}). {advice}")
        return


def carried_over(system, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint, for a system that may remember more or less than the one that wrote it.

    A moving average that is missing begins with the weights. What a player remembers beside begins anew if any of it is
    missing or has another shape. What the system has no use for is left out.
    """
    variables = system_variables(system)
    found = {name: array for name, array in arrays.items()
             if name in variables or not re.search(rf"/(?:{AVERAGE}|pool/)|^loss_scale/", name)}
    for name in variables:
        if f"/{AVERAGE}" in name:
            found.setdefault(name, arrays.get(name.replace(f"/{AVERAGE}", "/")))
    for player in system.states:
        own = {name: variable for name, variable in state_variables(system).items() if name.startswith(f"{player}/")}
        if any(name not in arrays or arrays[name].shape != tuple(variable.shape) for name, variable in own.items()):
            found |= {name: value_of(variable) for name, variable in own.items()}
    return found


def restore(folder: str, system) -> Meta | None:
    """Loads the newest readable checkpoint in `folder` into `system`.

    Returns:
        What it says of its run; None if there is no checkpoint.

    Raises:
        UserError: if it does not fit, or none can be read.
    """
    newest = load_newest(folder)
    if newest is None:
        return None
    meta, arrays = newest
    arrays.pop(META_NAME)
    assign_arrays(system_variables(system), carried_over(system, arrays), folder)
    return meta


def restore_network(folder: str, network: keras.Model) -> None:
    """Loads the network of that name out of the newest readable checkpoint in `folder`.

    Raises:
        UserError: if there is no checkpoint that can be read, or it does not fit.
    """
    prefix = f"{network.name}/"
    newest = load_newest(folder, prefix)
    if newest is None:
        raise UserError(f"There is no trained generator: {folder} holds no checkpoint. Train first (python -m monet "
                        "train), name the run's folder with --out, or give --weights FILE.")
    meta, arrays = newest
    averaged = {name.removeprefix(AVERAGE): array for name, array in arrays.items() if name.startswith(AVERAGE)}
    own = {name: array for name, array in arrays.items() if not name.startswith(("adam/", AVERAGE))}
    assign_arrays(variable_names(network), own | averaged, folder)
    LOG.info("Painting with step %d of %s", meta.step, folder)
