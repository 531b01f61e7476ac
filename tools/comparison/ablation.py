"""An ablation's file, and the runs that it asks for: a base, and the base with one change at a time."""

import dataclasses
import hashlib
import json
import os
import tomllib
from pathlib import Path

from monet.core.config import FIELDS, Config, check_field_value
from monet.core.errors import UserError, suggest_names
from monet.core.presets import resolve_config
from monet.gan.systems import check_config
from monet.submission.names import safe_name

BASE = "base"  # name of the runs without a change
EXAMPLE = "tools/comparison/ablation.toml"
NUMBER = (int, float)
TYPES = {"preset": (str,), "settings": (dict,), "changes": (dict,), "seeds": (list,), "steps": (int,),
         "seconds": NUMBER, "reference": (str,)}
# Settings that the ablation gives itself, so that all runs are alike but for the change.
OWN = ("preset", "data", "out", "resume", "seed", "epochs", "steps_per_epoch", "minutes", "max_minutes", "num_images")


@dataclasses.dataclass(frozen=True)
class Ablation:
    """What the file asks for.

    Attributes:
        preset: of all runs.
        settings: config fields of all runs.
        changes: config fields by the name of the change.
        seeds: each gives a run of the base and of every change.
        length: config fields that give the length of a run.
        described: that length in words.
        reference: zip or folder of paintings that no run trains on; empty: none.
    """

    preset: str
    settings: dict
    changes: dict[str, dict]
    seeds: list[int]
    length: dict
    described: str
    reference: str


@dataclasses.dataclass(frozen=True)
class AblationRun:
    """One run: a row of the table.

    Attributes:
        name: `BASE`, or that of the change.
        seed: of all random numbers.
        values: config fields for the command line, all but `out`.
        digest: of the settings that differ from the defaults; runs of the same digest are the same run.
    """

    name: str
    seed: int
    values: dict
    digest: str

    @property
    def folder(self) -> str:
        """The name of the run's folder. Another digest is another folder, so no run ever stands in another's way."""
        return f"{safe_name(self.name)}-{self.seed}-{self.digest[:8]}"


def read_ablation(path: str) -> Ablation:
    """Reads the TOML file `path`; `EXAMPLE` explains its keys.

    Raises:
        UserError: if it cannot be read, is not TOML, or a key is unknown, missing or has a wrong value.
    """
    try:
        with open(path, "rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. Give --ablation a file like {EXAMPLE}.") from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise UserError(f"{path} is not TOML: {error}. Write it like {EXAMPLE}.") from None
    for key, value in values.items():
        if key not in TYPES:
            raise UserError(f"{path}: an ablation has no {key!r}. {suggest_names(key, TYPES)}")
        if type(value) not in TYPES[key]:
            raise UserError(f"{path}: {key} = {value!r} has a wrong type. Write it as in {EXAMPLE}.")
    changes = values.get("changes")
    if not changes or not all(isinstance(change, dict) and change for change in changes.values()):
        raise UserError(f"{path} has no changes to compare, or an empty one. Add a table such as [changes.mirror] with "
                        f"settings below it, as in {EXAMPLE}.")
    if not values.get("seeds", [0]):
        raise UserError(f"{path}: seeds is empty. Leave it out, or give at least one: seeds = [0].")
    reference = os.path.expanduser(values.get("reference", ""))
    return Ablation(values.get("preset", "cpu"), values.get("settings", {}), changes, values.get("seeds", [0]),
                    *length_of(path, values), reference and os.path.join(os.path.dirname(path), reference))


def length_of(path: str, values: dict) -> tuple[dict, str]:
    """Returns the config fields that give a run the file's `steps` or `seconds`, and that length in words.

    Raises:
        UserError: unless the file has exactly one of them, and it is above 0.
    """
    given = [name for name in ("steps", "seconds") if name in values]
    if len(given) != 1 or not values[given[0]] > 0:
        raise UserError(f"{path} must say how long each run is: give either steps or seconds, above 0.")
    [name] = given
    fields = ({"epochs": 1, "steps_per_epoch": values[name]} if name == "steps"
              else {"minutes": values[name] / 60})
    return fields, f"{values[name]:g} {name}"


def ablation_runs(ablation: Ablation, path: str, data: str, num_images: int) -> list[AblationRun]:
    """Returns the runs, seed by seed, checked before anything is trained.

    Args:
        ablation: what `path`, named in errors, asks for.
        path: of the file.
        data: the images to train on.
        num_images: number of photos that each run paints.

    Raises:
        UserError: for settings that are unknown, the ablation's own, or do not go together.
    """
    runs = []
    for seed in dict.fromkeys(ablation.seeds):
        for name, change in {BASE: {}, **ablation.changes}.items():
            values = {**ablation.settings, **change}
            try:
                check_own(values)
                values |= {"preset": ablation.preset, "seed": seed, "data": data, "num_images": num_images,
                           "max_minutes": 0.0, "minutes": 0.0, **ablation.length}
                check_field_value("seed", seed)
                config = resolve_config(values)
                check_config(config)
            except UserError as error:
                raise UserError(f"{path}, {name}: {error}") from None
            runs.append(AblationRun(name, seed, values, digest_of(config)))
    return runs


def check_own(values: dict) -> None:
    """Raises UserError if `values` has a setting that the ablation itself gives."""
    for name in values:
        if name in OWN:
            raise UserError(f"{name} is no setting of a change. Leave it out: the ablation gives it, from the preset, "
                            "seeds and length in the file and --data and --out.")


def digest_of(config: Config) -> str:
    """Returns a digest of the settings that decide the run.

    Those at their default are left out: then a new setting leaves the digests of earlier runs as they are.
    """
    values = {name: value for name, value in dataclasses.asdict(config).items()
              if name != "out" and value != FIELDS[name].default}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def command_words(run: AblationRun, out: Path) -> list[str]:
    """Returns the words after `python -m monet` that train the run in the folder `out` and paint with it."""
    values = {**run.values, "out": str(out)}
    return ["run", *(f"--{name.replace('_', '-')}={value}" for name, value in values.items())]
