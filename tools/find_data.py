"""Says where the training data lies: what was asked for, else the competition's own, else the built-in sample.

    python tools/find_data.py [DATA]         the first of: DATA; data/gan-getting-started; Kaggle's mount;
                                             a download, if there are credentials; the sample, drawn once
    python tools/find_data.py --download     download the competition's data; any failure is an error (--dry-run: only
                                             show the client's command)

Prints the folder (or gs:// address, or tfds:NAME) on stdout, and what it is on stderr.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

from kaggle_site.client import find_credentials
from kaggle_site.download import WORDS, download

from monet.core.errors import UserError, say
from monet.machine.kaggle_machine import COMPETITION, find_kaggle_mount

FOLDER = Path(__file__).resolve().parents[1] / "data"


def given_data(data: str) -> str:
    """What the user asked for, unchanged.

    Raises:
        UserError: if it is a local folder that does not exist.
    """
    if not data.startswith(("gs://", "tfds:")) and not os.path.isdir(os.path.expanduser(data)):
        raise UserError(f"DATA={data} is not a folder. Give a folder of images or TFRecords, a gs:// address, "
                        "tfds:NAME, or no DATA at all for the built-in sample.")
    say(f"Data: {data}, as asked for.")
    return data


def try_download(folder: Path) -> str | None:
    """The downloaded data's folder; None, with the reason on stderr, if it could not be downloaded."""
    try:
        say(f"Data: {download(folder)}, downloaded from Kaggle.")
    except UserError as error:
        say(f"No download: {error}")
        return None
    return str(folder / COMPETITION)


def built_in_sample(folder: Path) -> str:
    """The folder of the built-in sample, drawn now if it never was."""
    root = folder / "sample"
    say("Data: the built-in SAMPLE, landscapes drawn by a program, no real paintings: good for trying out, not for the "
        "competition. `make data` gets the real data, or says what it needs; DATA=FOLDER takes your own.")
    if not (root / "SAMPLE").exists():
        from sample_data import write_sample  # here, because most runs do not draw

        say(f"Drawing it into {root}, once: about half a minute.")
        write_sample(root)
    return str(root)


def default_data(data: str = "", folder: Path = FOLDER) -> str:
    """The folder, gs:// address or tfds:NAME to train from; `folder` holds what was downloaded and drawn.

    Raises:
        UserError: if `data` is given and is no folder.
    """
    if data:
        return given_data(data)
    own = folder / COMPETITION
    if own.is_dir():
        say(f"Data: {own}.")
        return str(own)
    mount = find_kaggle_mount()
    if mount:
        say(f"Data: {mount}, Kaggle's mount.")
        return mount
    downloaded = None
    if find_credentials() or own.with_suffix(".zip").exists():
        downloaded = try_download(folder)
    return downloaded or built_in_sample(folder)


def required_download(folder: Path = FOLDER, dry_run: bool = False) -> str:
    """The competition's data below `folder`, downloaded if it is not there; with `dry_run`, says how it would be.

    Raises:
        UserError: if it cannot be downloaded.
    """
    own = folder / COMPETITION
    if own.is_dir():
        from monet.data.validation import find_data  # here, because TensorFlow takes seconds to load

        say(f"Data: {find_data(str(own)).describe()}, downloaded before.")
    elif dry_run:
        say(f"would run: kaggle {shlex.join([*WORDS, os.path.relpath(folder)])}")
    else:
        say(f"Data: {download(folder)}, downloaded from Kaggle.")
    return str(own)


def main() -> int:
    """The command line; returns the exit status."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    parser = argparse.ArgumentParser(description="Say where the training data lies; get it if it is not there.")
    parser.add_argument("data", nargs="?", default="", help="a folder, gs:// address or tfds:NAME to take instead")
    parser.add_argument("--download", action="store_true", help="download the competition's data; no sample instead")
    parser.add_argument("--dry-run", action="store_true", help="with --download: show the command, send nothing")
    options = parser.parse_args()
    try:
        print(required_download(dry_run=options.dry_run) if options.download else default_data(options.data))
    except UserError as error:
        say(f"error: {error}")
        return 2
    except OSError as error:
        say(f"error: {error.filename}: {error.strerror}. The data is kept in {FOLDER}: make it writable, or give "
            "DATA=FOLDER.")
        return 2
    except KeyboardInterrupt:
        say("Stopped. A download goes on from there next time.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
