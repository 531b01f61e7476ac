"""Joins what a configuration needs of `src/monet/` into one readable Python file that Kaggle runs.

    python tools/bundle.py --accelerator tpu --preset tpu --epochs 60 --ema-decay 0.999
    python tools/bundle.py --accelerator gpu --notebook      a notebook instead

Writes kernel/monet_cyclegan.py (or .ipynb) and kernel/kernel-metadata.json. Options that are not listed below are
settings of the run, as in python -m monet run --help. The same sources and options always give the same bytes.
"""

import argparse
import hashlib
import os
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

from console import ROOT, run_tool

from bundling.output import RESULTS, Cell, Section, as_notebook, as_script
from bundling.reach import CONFIG, leave_out, reachable
from bundling.settings import resolve_settings, settings_source, settled_for_kaggle, without_help
from bundling.sources import PACKAGE, WIDTH, Module, body_text, check_names, import_lines, read_modules
from bundling.story import OPEN_CELLS, PREPARATION, RUN, SETTINGS, TPU_PREPARATION, in_reading_order, machine_modules
from kaggle_site.metadata import (
    FILE_NAME,
    MACHINE_SHAPES,
    MOST_BYTES,
    accelerator_of,
    as_smoke,
    metadata_text,
    read_metadata,
    resolve_metadata,
    write_text,
)

from monet.core.config import VERSION
from monet.core.errors import UserError, say

STEM = "monet_cyclegan"
NOTE_START = '''\
if __name__ == "__main__":  # not when another program imports this file
    os.environ[START_VARIABLE] = repr(time.monotonic())'''
PREPARE_TPU = '''\
if __name__ == "__main__":  # not when another program imports this file
    prepare_machine(SETTINGS["accelerator"], SETTINGS["engine"], globals().get("__file__"))  # a notebook has no file'''
START = '''\
if __name__ == "__main__":
    status = run_on_kaggle(SETTINGS, RESUME_FROM)
    if status:  # makes Kaggle, too, call the run failed
        raise SystemExit(status)'''
START_SMOKE = START.replace("run_on_kaggle(SETTINGS, RESUME_FROM)", "try_on_kaggle(SETTINGS)")


def parse_options(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Returns the options of this program, and the other words of `argv`, which are settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("--accelerator", default="", help="tpu, gpu (two T4s) or none; the default is in "
                        f"{FILE_NAME}. The default preset follows from it")
    parser.add_argument("--resume-last", action="store_true", help="resume from the kernel's own last output")
    parser.add_argument("--smoke", action="store_true", help="only try everything, with few steps and images, under "
                        "an id of its own")
    parser.add_argument("--notebook", action="store_true", help="write an .ipynb")
    return parser.parse_known_args(argv)


def git(root: Path, *words: str) -> str:
    """Returns the output of a git command in the checkout; "" if there is no git or no checkout."""
    command = ["git", "-C", str(root), *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def commit_of(root: Path) -> str:
    """Returns the commit of the checkout in `root`, in words."""
    commit = git(root, "rev-parse", "HEAD") if (root / ".git").exists() else ""  # else git searches the folders above
    if not commit:
        return "from no git checkout"
    return "modified since its git commit" if git(root, "status", "--porcelain") else f"git commit {commit}"


def digest_of(modules: dict[str, Module]) -> str:
    """Returns the SHA-256 of the sources, independent of their order."""
    digest = hashlib.sha256()
    for name, module in sorted(modules.items()):
        digest.update(f"{name}\0{module.text}\0".encode())
    return digest.hexdigest()


def public_words(argv: list[str]) -> str:
    """Returns the command line as text, with only the names of files on this machine."""
    words = [Path(word).name if before == "--config" else word for before, word in zip(["", *argv], argv, strict=False)]
    words = [f"--config={Path(word).name}" if word.startswith("--config=") else word for word in words]
    return shlex.join(words)


def introduction(sources: dict[str, Module], modules: dict[str, Module], root: Path, argv: list[str]) -> str:
    """Returns the text below the bundle's title, which is also Markdown.

    Args:
        sources: all modules of the package.
        modules: those in the bundle.
        root: the checkout.
        argv: words of the command line.
    """
    left_out = ", ".join(name for name in sources if name not in modules)
    missing = f"What these settings do not need is left out: functions, classes, and the modules {left_out}."
    return f"""\
A CycleGAN for Kaggle's competition gan-getting-started: it learns from unpaired photos and paintings to repaint the
photos, and writes images.zip, the submission. To change what it does, edit the settings, here or on Kaggle.

The code is that of src/monet/ in the kit, module by module, in reading order.
{textwrap.fill(missing, WIDTH - 2)}

Version {VERSION} of the kit, {commit_of(root)}. SHA-256 of its sources:

    {digest_of(sources)}

Made by

    python tools/bundle.py {public_words(argv)}"""


def make_sections(modules: dict[str, Module], settings: str, prepare: str, start: str) -> list[Section]:
    """Returns the bundle's sections, from the settings to the `start` of the run; `prepare` prepares the machine."""
    def module_cell(module: Module) -> Cell:
        return Cell(body_text(module), module.path, module.name in OPEN_CELLS)

    everything = list(modules.values())
    standard_imports, other_imports = (import_lines(everything, standard) for standard in (True, False))
    return [(SETTINGS, [Cell(settings, is_open=True)]),
            (TPU_PREPARATION if prepare == PREPARE_TPU else PREPARATION,
             [Cell(standard_imports), *map(module_cell, machine_modules(modules)), Cell(prepare, is_open=True),
              Cell(other_imports)]),
            *((part, [*map(module_cell, contents), *([Cell(start, is_open=True)] if part is RUN else [])])
              for part, contents in in_reading_order(modules))]


def bundle(argv: list[str], root: Path = ROOT) -> Path:
    """Writes the bundle and its metadata; returns the bundle's path.

    Args:
        argv: words of the command line.
        root: the checkout.

    Raises:
        UserError: if the options, the settings or the sources cannot be bundled; nothing is written then.
    """
    options, words = parse_options(argv)
    metadata = read_metadata(root / FILE_NAME)
    accelerator = options.accelerator or accelerator_of(metadata)
    if accelerator not in MACHINE_SHAPES:
        raise UserError(f"ACCELERATOR={accelerator}: choose one of {', '.join(MACHINE_SHAPES)}.")
    sources = read_modules(root / "src" / PACKAGE)
    check_names(sources)
    config = resolve_settings(accelerator, words)
    parts = leave_out(sources, settled_for_kaggle(config, accelerator), config)
    prepare, start = PREPARE_TPU if accelerator == "tpu" else NOTE_START, START_SMOKE if options.smoke else START
    results = RESULTS if options.notebook and not options.smoke else ()
    code = [prepare, start, *(source for _, source in results)]
    modules = reachable(parts | {CONFIG: without_help(parts[CONFIG])}, "\n".join(code))
    resume_from = metadata["id"].split("/")[1] if options.resume_last else ""
    if options.smoke:
        if resume_from:
            raise UserError("SMOKE=1 with RESUME=1: a smoke run always starts anew and leaves no checkpoint. Give only "
                            "one of them.")
        metadata = as_smoke(metadata)
    sections = make_sections(modules, settings_source(config, resume_from, public_words(argv)), prepare, start)
    intro = introduction(sources, modules, root, argv)
    text = as_notebook(intro, sections, results) if options.notebook else as_script(intro, sections)
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


def main() -> None:
    """Runs the command line."""
    bundle(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(run_tool(main))
