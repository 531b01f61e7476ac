"""Joins `src/monet/` and a configuration into one readable Python file that Kaggle runs.

    python tools/bundle.py --accelerator tpu --preset tpu --epochs 60 --ema-decay 0.999
    python tools/bundle.py --accelerator gpu --notebook      an .ipynb instead, with a cell for every module

Writes kernel/monet_cyclegan.py (or .ipynb) and kernel/kernel-metadata.json. Options that are not in --help are settings
of a run: python -m monet run --help. The same sources and options always give the same bytes.
"""

import argparse
import hashlib
import json
import os
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

from bundling.sources import (
    PACKAGE,
    Module,
    body_text,
    check_names,
    import_lines,
    in_import_order,
    read_modules,
    split_standard,
)
from console import ROOT
from kaggle_site.metadata import (
    FILE_NAME,
    MACHINE_SHAPES,
    MOST_BYTES,
    accelerator_of,
    metadata_text,
    read_metadata,
    resolve_metadata,
    write_text,
)

from monet.cli import parse_command_line
from monet.core.config import FIELDS, VERSION, Config
from monet.core.errors import UserError, say
from monet.kaggle_run import KERNEL_DECIDES

STEM = "monet_cyclegan"
WIDTH = 120
# What trains on each of Kaggle's machines, and the preset that is meant for it.
DEVICES = {"tpu": "tpu", "gpu": "gpu", "none": "cpu"}

# What a setting's comment says instead of its help, where Kaggle makes a difference.
COMMENTS = {
    "preset": "what the settings below began as; another name changes nothing here (make kernel-push PRESET=NAME does)",
    "data": "folder or gs:// address of the images, or tfds:NAME of a TensorFlow dataset; empty: the competition's, "
            "wherever Kaggle has mounted them",
    "max_minutes": "end the run, images.zip included, within this time; 0: 170 minutes on a TPU, else 285, just under "
                   "Kaggle's own limits",
}

PREPARATION = '''\
# Before TensorFlow is imported: see that a run on a TPU has one, and a TensorFlow that can use it.
if __name__ == "__main__":  # not where another program imports this file
    prepare_machine(SETTINGS["accelerator"], globals().get("__file__"))  # a notebook is no file'''
START = '''\
if __name__ == "__main__":
    status = run_on_kaggle(SETTINGS, RESUME_FROM)
    if status:  # then Kaggle, too, shall call the run failed
        raise SystemExit(status)'''


def parse_options(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options of this program, and the settings among `argv`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("--accelerator", default="", help="tpu, gpu (two T4s) or none; default: what "
                        f"{FILE_NAME} says. It decides on the default preset, too")
    parser.add_argument("--resume-last", action="store_true", help="go on from the kernel's own last output")
    parser.add_argument("--notebook", action="store_true", help="write an .ipynb")
    return parser.parse_known_args(argv)


def option_names(settings: list[str]) -> set[str]:
    """The names of the fields that the words of a command line set."""
    return {word[2:].split("=")[0].replace("-", "_") for word in settings if word.startswith("--")}


def resolve_settings(accelerator: str, settings: list[str]) -> Config:
    """The config of the run, checked as the run itself would check it.

    Args:
        accelerator: tpu, gpu or none.
        settings: words of a command line.

    Raises:
        UserError: for settings that cannot be, or that cannot be on Kaggle.
    """
    given = option_names(settings)
    for name in KERNEL_DECIDES:
        if name in given:
            raise UserError(f"--{name}: on Kaggle the kernel itself decides on that. Leave it out; RESUME=1 goes on "
                            "from the last run.")
    device = DEVICES[accelerator]
    defaults = [f"--accelerator={'cpu' if device == 'cpu' else device}"]
    if not given & {"preset", "config"}:
        defaults.append(f"--preset={device}")
    _, config = parse_command_line(["run", *defaults, *settings])
    if "data" in given and not config.data.startswith(("gs://", "tfds:", "/kaggle/")):
        raise UserError(f"--data {config.data}: Kaggle's machine has no such folder. Give a gs:// address, a folder "
                        "below /kaggle/input, or leave it out for the competition's images.")
    if config.accelerator not in ("auto", device):
        raise UserError(f"--accelerator {config.accelerator} with ACCELERATOR={accelerator}: the kernel's machine has "
                        "none. Give only ACCELERATOR.")
    return config


def literal(value) -> str:
    """The value as Python source."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def settings_block(config: Config, data_given: bool, resume_from: str) -> str:
    """The configuration as Python source: a dict with a comment for every field, and what is resumed."""
    lines = ["SETTINGS = {"]
    for name, field in FIELDS.items():
        if name in KERNEL_DECIDES:
            continue
        value = "" if name == "data" and not data_given else getattr(config, name)
        line, comment = f'    "{name}": {literal(value)},', COMMENTS.get(name, field.metadata["help"])
        if field.metadata["choices"]:
            comment += f"; one of {', '.join(field.metadata['choices'])}"
        if len(line) + 4 + len(comment) > WIDTH:
            lines += textwrap.wrap(comment, WIDTH, initial_indent="    # ", subsequent_indent="    # ")
            lines.append(line)
        else:
            lines.append(f"{line}  # {comment}")
    lines += ["}", "# Slug of the kernel whose attached output holds the checkpoint to go on from; \"\": start anew.",
              f"RESUME_FROM = {literal(resume_from)}"]
    return "\n".join(lines)


def git(root: Path, *words: str) -> str:
    """What a git command prints about the checkout; "" where there is no git, or no checkout of its own."""
    command = ["git", "-C", str(root), *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def commit_of(root: Path) -> str:
    """The commit that the checkout in `root` is at, in words."""
    commit = git(root, "rev-parse", "HEAD") if (root / ".git").exists() else ""  # else git looks in the folders above
    if not commit:
        return "from no git checkout"
    return "modified since its git commit" if git(root, "status", "--porcelain") else f"git commit {commit}"


def digest_of(modules: list[Module]) -> str:
    """The SHA-256 of the sources, whatever order they are read in."""
    digest = hashlib.sha256()
    for module in sorted(modules, key=lambda module: module.name):
        digest.update(f"{module.name}\0{module.text}\0".encode())
    return digest.hexdigest()


def command_of(argv: list[str]) -> str:
    """The command line for the header; of a file on this machine, it says only the name."""
    words = [Path(word).name if before == "--config" else word for before, word in zip(["", *argv], argv, strict=False)]
    words = [f"--config={Path(word).name}" if word.startswith("--config=") else word for word in words]
    return shlex.join(["python", "tools/bundle.py", *words])


def header(modules: list[Module], root: Path, argv: list[str]) -> str:
    """The comment that the bundle begins with."""
    return "\n".join([
        "# Photos repainted as Monet paintings, by a CycleGAN, for Kaggle's gan-getting-started: writes images.zip.",
        "#",
        f"# Version {VERSION} of the kit, {commit_of(root)}. SHA-256 of its sources:",
        f"# {digest_of(modules)}",
        "# Made by",
        f"#     {command_of(argv)}",
        "# To change what it does, edit the settings below, here or on Kaggle. The code is that of src/monet/, module",
        "# by module, in the order in which they build on each other."])


def join_sections(modules: dict[str, Module], root: Path, block: str, argv: list[str]) -> list[tuple[str, str]]:
    """The bundle's sections, each a title and Python source.

    Raises:
        UserError: if the modules cannot stand in one file.
    """
    check_names(modules)
    ordered = in_import_order(modules)
    standard, others = split_standard(ordered)
    standard_imports, other_imports = (import_lines(ordered, kind) for kind in (True, False))
    return [("", header(ordered, root, argv)), ("settings", block), ("standard library", standard_imports),
            *((module.path, body_text(module)) for module in standard),
            ("the machine", PREPARATION), ("packages", other_imports),
            *((module.path, body_text(module)) for module in others),
            ("start", START)]


def as_script(sections: list[tuple[str, str]]) -> str:
    """One Python file: the sections under banners."""
    rule = "# " + "=" * (WIDTH - 2)
    return "\n\n\n".join(f"{rule}\n# {title}\n{rule}\n\n{text}" if title else text for title, text in sections) + "\n"


def as_notebook(sections: list[tuple[str, str]]) -> str:
    """The same as a notebook: a cell for each section, under its title."""
    cells = []
    for title, text in sections:
        if title:
            cells.append({"cell_type": "markdown", "metadata": {}, "source": f"## {title}"})
        cells.append({"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": [], "source": text})
    kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return json.dumps({"cells": cells, "metadata": {"kernelspec": kernelspec, "language_info": {"name": "python"}},
                       "nbformat": 4, "nbformat_minor": 4}, indent=1, ensure_ascii=False) + "\n"


def bundle(argv: list[str], root: Path = ROOT) -> Path:
    """Writes the bundle and the metadata that `argv` asks for; returns the bundle's path.

    Args:
        argv: words of the command line.
        root: the checkout.

    Raises:
        UserError: for anything that cannot be; nothing is written then.
    """
    options, settings = parse_options(argv)
    metadata = read_metadata(root / FILE_NAME)
    accelerator = options.accelerator or accelerator_of(metadata)
    if accelerator not in MACHINE_SHAPES:
        raise UserError(f"ACCELERATOR={accelerator}: choose one of {', '.join(MACHINE_SHAPES)}.")
    modules = read_modules(root / "src" / PACKAGE)
    config = resolve_settings(accelerator, settings)
    resume_from = metadata["id"].split("/")[1] if options.resume_last else ""
    block = settings_block(config, "data" in option_names(settings), resume_from)
    sections = join_sections(modules, root, block, argv)
    text = as_notebook(sections) if options.notebook else as_script(sections)
    size = len(text.encode())
    if size > MOST_BYTES:
        raise UserError(f"The bundle would have {size:,} bytes, and Kaggle takes less than 1 MB ({MOST_BYTES:,} here). "
                        f"Make src/{PACKAGE}/ smaller.")
    path = root / "kernel" / (STEM + (".ipynb" if options.notebook else ".py"))
    write_text(path, text)
    write_text(path.with_name(FILE_NAME),
               metadata_text(resolve_metadata(metadata, path.name, accelerator, options.resume_last)))
    say(f"Wrote {os.path.relpath(path)}, {size / 1000:.0f} kB, preset {config.preset}, for ACCELERATOR={accelerator}")
    return path


def main() -> int:
    """The command line; returns the exit status."""
    try:
        bundle(sys.argv[1:])
    except UserError as error:
        say(f"error: {error}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
