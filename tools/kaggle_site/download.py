"""Downloads the competition's data with the official `kaggle` client: resumed, unpacked once, counted, checked."""

import dataclasses
import re
import shutil
import subprocess
import time
import zipfile
import zlib
from pathlib import Path

from kaggle_site.client import HOW_TO_SIGN_IN, RULES, explain, find_credentials, read_json, start_client
from tqdm import tqdm

from monet.core.errors import UserError, say
from monet.machine.kaggle_machine import COMPETITION

# What the client prints, and what that means for the user.
REASONS = (
    (r"accept.{0,60}\brules\b|403 Client Error",
     "Kaggle refuses the download (403): it gives the data only to those who accept the competition's rules. "
     f"Accept them at {RULES}, then run `make data`."),
    (r"No space left|Errno 28",
     "The disk is full. Make room (the data needs 1 GB while it is unpacked), then run `make data`: it goes on from "
     "where it stopped."),
)
WORDS = ("competitions", "download", COMPETITION, "-p")  # for the client; the folder follows
STALL_SECONDS = 120  # without a new byte: the client itself would wait for ever
MEMBER = re.compile(r"(monet_tfrec|photo_tfrec)/[A-Za-z0-9_-]+\.tfrec")  # what is unpacked of the zip


def marker_path(zip_path: Path) -> Path:
    """The file that the client keeps beside an unfinished download."""
    return Path(f"{zip_path}.kaggle-partial")


def run_client(zip_path: Path, stall_seconds: float = STALL_SECONDS) -> tuple[int, str]:
    """Runs the client until `zip_path` is downloaded or it gives up: (exit status, all that it printed).

    A partial download that the client began earlier is continued. One that makes no progress for
    `stall_seconds` is ended.
    """
    with start_client(*WORDS, str(zip_path.parent), "--quiet") as client:
        return watch_client(client, zip_path, stall_seconds)


def watch_client(client: subprocess.Popen, zip_path: Path, stall_seconds: float) -> tuple[int, str]:
    """Shows the download's progress on a terminal until the client ends or stalls."""
    bar = tqdm(desc=zip_path.name, unit="B", unit_scale=True, unit_divisor=1024, disable=None)
    changed, output = time.monotonic(), None
    with bar:
        while output is None:
            try:
                output, _ = client.communicate(timeout=0.5)
            except subprocess.TimeoutExpired:
                size = zip_path.stat().st_size if zip_path.exists() else 0
                if size != bar.n:
                    changed = time.monotonic()
                bar.total = read_json(marker_path(zip_path)).get("size")
                bar.n = size
                bar.refresh()
                if time.monotonic() - changed > stall_seconds:
                    return 1, f"ReadTimeout: nothing came for {stall_seconds:.0f} seconds"
    return client.returncode, output


def fetch_zip(zip_path: Path) -> None:
    """Brings the competition's zip to `zip_path`, unless it is there already.

    Raises:
        UserError: if it cannot be had; says why and what to do.
    """
    unfinished = marker_path(zip_path).exists()
    if zip_path.exists() and not unfinished:
        if zipfile.is_zipfile(zip_path):
            return
        say(f"{zip_path} is not a whole zip file and cannot be continued: removed.")
        zip_path.unlink()
    credentials = find_credentials()
    if not credentials:
        raise UserError(f"There are no Kaggle credentials to download with. Accept the rules at {RULES}, "
                        f"{HOW_TO_SIGN_IN}; then run `make data`.")
    zip_path.parent.mkdir(parents=True, exist_ok=True)
    say(f"{'Going on with the download' if unfinished and zip_path.exists() else 'Downloading the data'} from Kaggle, "
        f"some hundred MB, signed in by {next(iter(credentials))}.")
    status, output = run_client(zip_path)
    # The client can fail and still exit with 0: only the file counts.
    if status != 0 or not zip_path.exists() or marker_path(zip_path).exists():
        raise UserError(explain(output, credentials, "make data", REASONS))


def unpack(zip_path: Path, folder: Path) -> None:
    """Unpacks the TFRecords, and nothing else, of the zip into `folder`.

    Raises:
        UserError: if the zip is damaged, which removes it, or if the disk is full.
    """
    try:
        with zipfile.ZipFile(zip_path) as archive:
            members = [name for name in archive.namelist() if MEMBER.fullmatch(name)]
            for name in tqdm(members, desc="unpacking", unit="file", disable=None):
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file, 2**20)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        zip_path.unlink()
        raise UserError(f"{zip_path} is damaged, and was removed. Run `make data` to download it again.") from None
    except OSError as error:
        raise UserError(f"{zip_path} cannot be unpacked: {error.strerror}. Make room or mend that, then run "
                        "`make data`; nothing is downloaded twice.") from None


def check_unpacked(zip_path: Path, folder: Path, root: Path) -> str:
    """Counts and decodes what was unpacked into `folder`; returns one line about it as it will be at `root`.

    Raises:
        UserError: if it is not the competition's data.
    """
    from monet.data.validation import find_data  # here, because TensorFlow takes seconds to load

    try:
        return dataclasses.replace(find_data(str(folder)), root=str(root)).describe()
    except UserError as error:
        raise UserError(f"{zip_path} does not hold the competition's data: {error} "
                        "To download it again, remove that file and run `make data`.") from None


def download(folder: Path) -> str:
    """Downloads and unpacks the competition's data to `folder`/gan-getting-started; returns one line about it.

    Raises:
        UserError: if it cannot be downloaded or unpacked, or is not what it should be. What was downloaded is kept.
    """
    root, zip_path = folder / COMPETITION, folder / f"{COMPETITION}.zip"
    fetch_zip(zip_path)
    part = root.with_name(root.name + ".part")
    shutil.rmtree(part, ignore_errors=True)  # what a killed run left
    try:
        part.mkdir()
        unpack(zip_path, part)
        line = check_unpacked(zip_path, part, root)
        part.replace(root)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    zip_path.unlink()
    return line
