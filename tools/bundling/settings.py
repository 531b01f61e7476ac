"""The settings of a bundle: resolved from the command line, and as Python source. Used by `bundle.py`."""

import ast
import dataclasses
import json
import textwrap

from bundling.sources import WIDTH, Module, parsed

from monet.cli import parse_command_line
from monet.core.config import FIELDS, MIN_IMAGES, Config
from monet.core.errors import UserError, say
from monet.kaggle_run import KERNEL_DECIDES
from monet.machine.devices import Device
from monet.machine.kaggle_machine import OTHER_MINUTES, TPU_MINUTES
from monet.training.settled import settled

# By ACCELERATOR: the device that trains, which is also the name of the preset made for it.
DEVICES = {"tpu": "tpu", "gpu": "gpu", "none": "cpu"}
# By ACCELERATOR: what Kaggle's machine has. The GPUs are two T4s.
MACHINES = {"tpu": Device("TPU", 8), "gpu": Device("GPU", 2, (7, 5)), "none": Device("CPU")}
# Comments for settings that mean something else on Kaggle than their help says.
COMMENTS = {
    "preset": "the preset that the settings below started from; changing it here has no effect (make kernel-push "
              "PRESET=NAME has)",
    "data": "folder or gs:// address of the images, or tfds:NAME for a TensorFlow dataset; empty: the competition's, "
            "wherever Kaggle has mounted them",
    "max_minutes": "end the run, images.zip included, within this time; 0: 170 minutes on a TPU, else 285, just under "
                   "Kaggle's own limits",
}


def option_names(words: list[str]) -> set[str]:
    """Returns the names of the fields that the words of a command line set."""
    return {word[2:].split("=")[0].replace("-", "_") for word in words if word.startswith("--")}


def resolve_settings(accelerator: str, words: list[str]) -> Config:
    """Returns the run's config, with an empty `data` for the competition's images.

    Args:
        accelerator: tpu, gpu or none.
        words: command line with settings.

    Raises:
        UserError: if the settings are invalid, or do not fit a run on Kaggle.
    """
    given = option_names(words)
    for name in KERNEL_DECIDES:
        if name in given:
            raise UserError(f"--{name}: the kernel itself decides this on Kaggle. Leave it out; RESUME=1 continues the "
                            "last run.")
    device = DEVICES[accelerator]
    defaults = [f"--accelerator={device}"]
    if not given & {"preset", "config"}:
        defaults.append(f"--preset={device}")
    if "data" not in given:
        defaults.append("--data=")  # not that of a --config
    _, config = parse_command_line(["run", *defaults, *words])
    if not config.data.startswith(("gs://", "tfds:", "/kaggle/")) and config.data:
        raise UserError(f"--data {config.data}: Kaggle's machine has no such folder. Give a gs:// address, a folder "
                        "below /kaggle/input, or leave it out for the competition's images.")
    if config.accelerator not in ("auto", device):
        raise UserError(f"--accelerator {config.accelerator} with ACCELERATOR={accelerator}: the kernel's machine has "
                        "none. Give only ACCELERATOR.")
    check_images(config, given)
    check_minutes(config, given, TPU_MINUTES if accelerator == "tpu" else OTHER_MINUTES)
    return config


def check_images(config: Config, given: set[str]) -> None:
    """Says that a small `num_images` makes a trial; the names of the options `given` tell if it is wanted.

    Raises:
        UserError: if it comes from the --config of a trial: Kaggle would refuse the zip, after hours.
    """
    if not 0 < config.num_images < MIN_IMAGES:
        return
    if "num_images" not in given:
        raise UserError(f"The run of --config painted {config.num_images} images, for a trial, and Kaggle refuses "
                        f"fewer than {MIN_IMAGES:,}. Add --num-images 0 for one per photo, or --num-images "
                        f"{config.num_images} if you want a trial on Kaggle.")
    say(f"A trial: images.zip will have {config.num_images} images, and Kaggle refuses fewer than {MIN_IMAGES:,}.")


def check_minutes(config: Config, given: set[str], limit: float) -> None:
    """Says if `max_minutes` does not fit Kaggle's `limit`; the names of the options `given` tell if it is wanted.

    Raises:
        UserError: if it comes from a --config and exceeds the limit: Kaggle would end the run without a zip.
    """
    takes_all = f"--max-minutes 0 takes the {limit:g} minutes that Kaggle leaves a run"
    if config.max_minutes > limit:
        problem = f"--max-minutes {config.max_minutes:g}: Kaggle may end the run before there is a zip; {takes_all}."
        if "max_minutes" not in given:
            raise UserError(problem)
        say(problem)
    elif 0 < config.max_minutes < limit and "config" in given and "max_minutes" not in given:
        say(f"The run will end after {config.max_minutes:g} minutes, as --config says; {takes_all}.")


def literal(value) -> str:
    """Returns the value as Python source."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def settings_source(config: Config, resume_from: str, made_with: str) -> str:
    """Returns the settings as Python source: a dict with a comment for each field, and two constants.

    Args:
        config: from `resolve_settings`.
        resume_from: slug of the kernel to resume from; "" starts anew.
        made_with: the options of this program.
    """
    lines = ["SETTINGS = {"]
    for name, field in FIELDS.items():
        if name in KERNEL_DECIDES:
            continue
        line, comment = f'    "{name}": {literal(getattr(config, name))},', COMMENTS.get(name, field.metadata["help"])
        if field.metadata["choices"]:
            comment += f"; one of {', '.join(field.metadata['choices'])}"
        if len(line) + 4 + len(comment) > WIDTH:
            lines += textwrap.wrap(comment, WIDTH, initial_indent="    # ", subsequent_indent="    # ")
            lines.append(line)
        else:
            lines.append(f"{line}  # {comment}")
    lines += ["}",
              "# Slug of the kernel whose attached output contains the checkpoint to resume from; \"\": start anew.",
              f"RESUME_FROM = {literal(resume_from)}",
              "# The options of make kernel ARGS=\"…\" that made this file.",
              f"MADE_WITH = {literal(made_with)}"]
    return "\n".join(lines)


def settled_for_kaggle(config: Config, accelerator: str) -> Config:
    """Returns the config as it is settled on Kaggle's machine, but for what follows from the data.

    Raises:
        UserError: if the machine's device cannot do what the config asks.
    """
    return settled(dataclasses.replace(config, resume=True, tensorboard=False), MACHINES[accelerator])


def as_call(config: Config) -> str:
    """Returns the config as Python source: a call of Config with the settings that are not its defaults."""
    items = [f"{name}={literal(getattr(config, name))}" for name, field in FIELDS.items()
             if name not in KERNEL_DECIDES and getattr(config, name) != field.default]
    text = ", ".join(item.replace(" ", "\0") for item in items)  # so that no string is broken
    lines = textwrap.wrap(text, WIDTH - 4, initial_indent="    ", subsequent_indent="    ", break_long_words=False)
    return "\n".join(["Config(", *lines]).replace("\0", " ") + ")"


def without_help(module: Module) -> Module:
    """Returns the module of `Config` without the settings' help, which the bundle's SETTINGS have as comments."""
    lines = module.text.splitlines()
    [config] = [node for node in module.tree.body if getattr(node, "name", "") == Config.__name__]
    for node in reversed([node for node in config.body if isinstance(node, ast.AnnAssign)]):
        call = node.value
        options = [f"{option.arg}={ast.get_source_segment(module.text, option.value)}" for option in call.keywords
                   if option.arg != "help"]
        arguments = ", ".join([ast.get_source_segment(module.text, call.args[0]), *options])
        first = lines[node.lineno - 1].partition("setting(")[0]
        lines[node.lineno - 1:node.end_lineno] = [f"{first}setting({arguments})"]
    return parsed(module.name, "\n".join(lines) + "\n")
