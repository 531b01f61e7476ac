"""Downloads the competition's data with the official `kaggle` client: resumes, unpacks and checks it."""

import dataclasses
import re
import shutil
import subprocess
import time
import zipfile
import zlib
from pathlib import Path

from kaggle_site.client import RULES, explain_error, start_client
from kaggle_site.credentials import HOW_TO_SIGN_IN, find_credentials, read_json
from tqdm import tqdm

from monet.core.errors import UserError, say
from monet.core.progress import progress_bar
from monet.machine.kaggle_machine import COMPETITION

DOWNLOAD_ERRORS = (
    (r"accept.{0,60}\brules\b|403 Client Error",
     "Kaggle refuses the download (403): you must accept the competition's rules first. "
     f"Accept them at {RULES}, then run `{{retry}}`."),
    (r"No space left|Errno 28",
     "The disk is full. Free some space (unpacking needs 1 GB), then run `{retry}`: it resumes the download."),
)
RETRY = "make data"
DOWNLOAD = ("competitions", "download", COMPETITION, "-p")  # arguments of the client; the folder follows
STALL_SECONDS = 120  # without a new byte; the client itself would wait forever
TFRECORD = re.compile(r"(monet_tfrec|photo_tfrec)/[A-Za-z0-9_-]+\.tfrec")  # the members of the zip to unpack


def partial_marker(zip_path: Path) -> Path:
    """Returns the path of the file that the client keeps beside an unfinished download."""
    return Path(f"{zip_path}.kaggle-partial")


def run_download(zip_path: Path, stall_seconds: float = STALL_SECONDS) -> tuple[int, str]:
    """Downloads `zip_path`, or resumes its download. Returns the client's exit status and output.

    Stops the client if no byte arrives for `stall_seconds`.
    """
    with start_client(*DOWNLOAD, str(zip_path.parent), "--quiet") as client:
        return watch_download(client, zip_path, stall_seconds)


def watch_download(client: subprocess.Popen, zip_path: Path, stall_seconds: float) -> tuple[int, str]:
    """Shows a progress bar on a terminal until the client ends or stalls."""
    last_growth, output = time.monotonic(), None
    with tqdm(desc=zip_path.name, unit="B", unit_scale=True, unit_divisor=1024, disable=None) as bar:
        while output is None:
            try:
                output, _ = client.communicate(timeout=0.5)
            except subprocess.TimeoutExpired:
                size = zip_path.stat().st_size if zip_path.exists() else 0
                if size != bar.n:
                    last_growth = time.monotonic()
                bar.total = read_json(partial_marker(zip_path)).get("size")
                bar.n = size
                bar.refresh()
                if time.monotonic() - last_growth > stall_seconds:
                    return 1, f"ReadTimeout: no data for {stall_seconds:.0f} seconds"
    return client.returncode, output


def fetch_zip(zip_path: Path) -> None:
    """Downloads the competition's zip to `zip_path`, unless a complete one is there.

    Raises:
        UserError: if there are no credentials, or the download fails.
    """
    unfinished = partial_marker(zip_path).exists()
    if zip_path.exists() and not unfinished:
        if zipfile.is_zipfile(zip_path):
            return
        say(f"{zip_path} is not a complete zip file and cannot be resumed: removed.")
        zip_path.unlink()
    credentials = find_credentials()
    if not credentials:
        raise UserError(f"There are no Kaggle credentials to download with. Accept the rules at {RULES}, "
                        f"{HOW_TO_SIGN_IN}; then run `{RETRY}`.")
    zip_path.parent.mkdir(parents=True, exist_ok=True)
    say(f"{'Resuming the download' if unfinished and zip_path.exists() else 'Downloading the data'} from Kaggle, a few "
        f"hundred MB, with the key in {next(iter(credentials))}.")
    status, output = run_download(zip_path)
    # The client can fail with exit status 0: only the file counts.
    if status != 0 or not zip_path.exists() or partial_marker(zip_path).exists():
        raise UserError(explain_error(output, RETRY, DOWNLOAD_ERRORS))


def unpack(zip_path: Path, folder: Path) -> None:
    """Unpacks the zip's TFRecords, and nothing else, into `folder`.

    Raises:
        UserError: if the zip is damaged (it is removed then), or the files cannot be written.
    """
    try:
        with zipfile.ZipFile(zip_path) as archive:
            members = [name for name in archive.namelist() if TFRECORD.fullmatch(name)]
            with progress_bar("unpacking", len(members), "file") as show:
                for done, name in enumerate(members, 1):
                    target = folder / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(name) as source, target.open("wb") as file:
                        shutil.copyfileobj(source, file, 2**20)
                    show(done)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        zip_path.unlink()
        raise UserError(f"{zip_path} was damaged and has been removed. Run `{RETRY}` to download it again.") from None
    except OSError as error:
        raise UserError(f"{zip_path} could not be unpacked: {error.strerror}. Fix that, then run `{RETRY}`; the "
                        "download is kept.") from None


def describe_unpacked(zip_path: Path, folder: Path, root: Path) -> str:
    """Checks the data in `folder` and returns one line about it, with `root` as its place.

    Raises:
        UserError: if it is not the competition's data.
    """
    from monet.data.validation import find_data  # here, because TensorFlow takes seconds to load

    try:
        return dataclasses.replace(find_data(str(folder)), root=str(root)).describe()
    except UserError as error:
        raise UserError(f"{zip_path} does not hold the competition's data: {error} "
                        f"Remove that file and run `{RETRY}` to download it again.") from None


def download(folder: Path) -> str:
    """Downloads and unpacks the competition's data to `folder`/gan-getting-started. Returns one line about it.

    Raises:
        UserError: if the data cannot be downloaded or unpacked, or is not the competition's. A complete zip is kept.
    """
    root, zip_path = folder / COMPETITION, folder / f"{COMPETITION}.zip"
    fetch_zip(zip_path)
    part = root.with_name(root.name + ".part")
    shutil.rmtree(part, ignore_errors=True)  # from a run that was killed
    try:
        part.mkdir()
        unpack(zip_path, part)
        line = describe_unpacked(zip_path, part, root)
        part.replace(root)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    zip_path.unlink()
    return line
