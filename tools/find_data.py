"""Prints where the training data is: the given place, the competition's data, or the built-in sample.

    python tools/find_data.py [DATA]         the first of: DATA; data/gan-getting-started; Kaggle's mount;
                                             a download, if there are credentials; the sample, drawn once
    python tools/find_data.py --download     download the competition's data, or fail (--dry-run: only show the
                                             client's command)

Prints the folder, gs:// address or tfds:NAME to stdout, and what it is to stderr.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

from console import ROOT, run_tool

from kaggle_site.credentials import find_credentials
from kaggle_site.download import DOWNLOAD, download

from monet.core.errors import UserError, say
from monet.machine.kaggle_machine import COMPETITION, find_kaggle_mount

FOLDER = ROOT / "data"


def given_data(data: str) -> str:
    """Checks the place that the user gave, and returns it unchanged.

    Raises:
        UserError: if it is on this machine and does not exist.
    """
    if not data.startswith(("gs://", "tfds:")) and not os.path.exists(data):
        raise UserError(f"DATA={data} is not a folder. Give a folder of images or TFRecords, a gs:// address or "
                        "tfds:NAME, or leave DATA out to use the built-in sample.")
    say(f"Data: {data}, as given.")
    return data


def try_download(folder: Path) -> str | None:
    """Downloads the data and returns its folder, or None if that fails. Prints the reason."""
    try:
        say(f"Data: {download(folder)}, downloaded from Kaggle.")
    except UserError as error:
        say(f"No download: {error}")
        return None
    return str(folder / COMPETITION)


def built_in_sample(folder: Path) -> str:
    """Returns the folder of the built-in sample. Draws the sample the first time."""
    root = folder / "sample"
    say("Data: the built-in SAMPLE, landscapes drawn by a program, no real paintings. Good for trying things out, not "
        "for the competition. `make data` downloads the real data, or says what it needs; DATA=FOLDER uses your own.")
    if not (root / "SAMPLE").exists():
        from sample.dataset import write_sample  # here, because most runs draw nothing

        say(f"Drawing it into {root}, once: about half a minute.")
        write_sample(root)
    return str(root)


def default_data(data: str = "", folder: Path = FOLDER) -> str:
    """Returns the folder, gs:// address or tfds:NAME to train on. `folder` holds downloads and the sample.

    Raises:
        UserError: if `data` is given and does not exist.
    """
    if data:
        return given_data(data)
    local = folder / COMPETITION
    if local.is_dir():
        say(f"Data: {local}.")
        return str(local)
    mount = find_kaggle_mount()
    if mount:
        say(f"Data: {mount}, Kaggle's mount.")
        return mount
    downloaded = None
    if find_credentials() or local.with_suffix(".zip").exists():
        downloaded = try_download(folder)
    return downloaded or built_in_sample(folder)


def required_download(folder: Path = FOLDER, dry_run: bool = False) -> str:
    """Returns the folder of the competition's data below `folder`. Downloads it if it is missing.

    Raises:
        UserError: if the download fails.
    """
    local = folder / COMPETITION
    if local.is_dir():
        from monet.data.validation import find_data  # here, because TensorFlow takes seconds to load

        say(f"Data: {find_data(str(local)).describe()}, already downloaded.")
    elif dry_run:
        say(f"would run: kaggle {shlex.join([*DOWNLOAD, os.path.relpath(folder)])}")
    else:
        say(f"Data: {download(folder)}, downloaded from Kaggle.")
    return str(local)


def main(argv: list[str] | None = None, folder: Path = FOLDER) -> None:
    """Prints the data's place; downloads or draws the data in `folder` if it is missing.

    Raises:
        UserError: if there is no such data, or `folder` cannot be written.
    """
    parser = argparse.ArgumentParser(description="Print where the training data is; get it if it is missing.")
    parser.add_argument("data", type=os.path.expanduser, nargs="?", default="",
                        help="a folder, gs:// address or tfds:NAME to use instead")
    parser.add_argument("--download", action="store_true", help="download the competition's data or fail; no sample")
    parser.add_argument("--dry-run", action="store_true", help="with --download: show the command, send nothing")
    options = parser.parse_args(argv)
    try:
        data = required_download(folder, options.dry_run) if options.download else default_data(options.data, folder)
        sys.stdout.reconfigure(encoding=sys.getfilesystemencoding(), errors="surrogateescape")  # make reads the name
        print(data)
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}. The data belongs in {folder}: make it writable, or give "
                        "DATA=FOLDER.") from error


if __name__ == "__main__":
    sys.exit(run_tool(main, interrupted="Stopped. The next download resumes from here."))
