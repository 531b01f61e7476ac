"""Downloads the competition's data with the official `kaggle` client: resumed, unpacked once, counted, checked."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

from tqdm import tqdm

from monet.config import UserError
from monet.kaggle_machine import COMPETITION

PAGE = f"https://www.kaggle.com/competitions/{COMPETITION}"
STALL_SECONDS = 120  # without a new byte: the client itself would wait for ever
MEMBER = re.compile(r"(monet_tfrec|photo_tfrec)/[A-Za-z0-9_-]+\.tfrec")  # what is unpacked of the zip

HOW_TO_SIGN_IN = (
    "make an API token at https://www.kaggle.com/settings/api and put it in the file ~/.kaggle/access_token or the "
    "variable KAGGLE_API_TOKEN (older keys work, too: KAGGLE_USERNAME and KAGGLE_KEY, or ~/.kaggle/kaggle.json)")
# What the client prints, and what that means for the user. The first match counts.
REASONS = (
    (r"accept.{0,60}\brules\b|403 Client Error",
     "Kaggle refuses the download (403): it gives the data only to those who accept the competition's rules. "
     f"Accept them at {PAGE}/rules, then run `make data`."),
    (r"401 Client Error|Authentication required|Invalid credentials|Unauthorized",
     f"Kaggle does not know the key in {{place}} (401). To get a new one, {HOW_TO_SIGN_IN}; then run `make data`."),
    (r"No space left|Errno 28",
     "The disk is full. Make room (the data needs 1 GB while it is unpacked), then run `make data`: it goes on from "
     "where it stopped."),
    (r"ConnectionError|ProxyError|ConnectTimeout|ReadTimeout|Max retries exceeded|Name or service not known|SSLError",
     "No connection to Kaggle. Check the network, then run `make data`: it goes on from where it stopped."),
)


def say(line: str) -> None:
    """Tells the user; stdout is kept for what other programs read."""
    print(line, file=sys.stderr, flush=True)


def read_text(path: Path) -> str:
    """The file's text without surrounding space; "" if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def read_json(path: Path) -> dict:
    """The JSON object in the file; {} if there is none."""
    try:
        values = json.loads(read_text(path))
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def client_folder() -> Path:
    """Where the kaggle client looks for kaggle.json (kaggle 2.2.4, `KaggleApi.config_dir`)."""
    home = Path.home()
    if os.environ.get("KAGGLE_CONFIG_DIR"):
        return Path(os.environ["KAGGLE_CONFIG_DIR"])
    if sys.platform.startswith("linux") and not (home / ".kaggle").exists():
        return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "kaggle"
    return home / ".kaggle"


def find_credentials() -> dict[str, list[str]]:
    """The places that hold Kaggle credentials, in the client's order, each with its secrets; {} if there are none."""
    home, found = Path.home() / ".kaggle", {}
    token = os.environ.get("KAGGLE_API_TOKEN", "")
    if token:  # the token itself, or the name of a file that holds it
        found["KAGGLE_API_TOKEN"] = [token.strip(), read_text(Path(token)) if len(token) < 256 else ""]
    for path in (home / "access_token", home / "access_token.txt"):
        found[str(path)] = [read_text(path)]
    config = client_folder() / "kaggle.json"
    stored = read_json(config)
    key = os.environ.get("KAGGLE_KEY") or str(stored.get("key", ""))
    if os.environ.get("KAGGLE_USERNAME") or stored.get("username"):
        found["KAGGLE_KEY" if os.environ.get("KAGGLE_KEY") else str(config)] = [key]
    login = read_json(home / "credentials.json")  # from `kaggle auth login`
    if login.get("refresh_token"):
        found[str(home / "credentials.json")] = [str(login["refresh_token"]), str(login.get("access_token", ""))]
    return {place: secrets for place, secrets in found.items() if any(secrets)}


def marker_path(zip_path: Path) -> Path:
    """The file that the client keeps beside an unfinished download."""
    return Path(f"{zip_path}.kaggle-partial")


def run_client(zip_path: Path, stall_seconds: float = STALL_SECONDS) -> tuple[int, str]:
    """Runs the client until `zip_path` is downloaded or it gives up: (exit status, all that it printed).

    A partial download that the client began earlier is continued. One that makes no progress for
    `stall_seconds` is ended.
    """
    command = [sys.executable, "-P", "-m", "kaggle", "competitions", "download", COMPETITION,
               "-p", str(zip_path.parent), "--quiet"]
    # With these set, the client would print its requests with the key in them.
    environment = {name: value for name, value in os.environ.items() if name not in ("VERBOSE", "VERBOSE_OUTPUT")}
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace") as client:
        try:
            return watch_client(client, zip_path, stall_seconds)
        finally:
            client.kill()


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


def explain(output: str, credentials: dict[str, list[str]]) -> str:
    """What went wrong and what to do, from what the client printed. Never a key, nor a signed address."""
    place = next(iter(credentials), "")
    for pattern, sentence in REASONS:
        if re.search(pattern, output, re.DOTALL):
            return sentence.format(place=place)
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["it printed nothing"]
    line = hide_secrets(lines[-1], [secret for secrets in credentials.values() for secret in secrets])
    return f"Kaggle's client could not download the data. It says: {line} Try `make data` later."


def hide_secrets(line: str, secrets: list[str]) -> str:
    """The line without the secrets, and without what follows the ? of an address (signatures)."""
    line = re.sub(r"\?\S+", "?…", line)
    for secret in secrets:
        for piece in re.split(r"[^!-~]+|[\\'\"]", secret):  # Python's messages escape what lies between the pieces
            if len(piece) > 3:
                line = line.replace(piece, "…")
    return line


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
        raise UserError(f"There are no Kaggle credentials to download with. Accept the rules at {PAGE}/rules, "
                        f"{HOW_TO_SIGN_IN}; then run `make data`.")
    zip_path.parent.mkdir(parents=True, exist_ok=True)
    say(f"{'Going on with the download' if unfinished and zip_path.exists() else 'Downloading the data'} from Kaggle, "
        f"some hundred MB, signed in by {next(iter(credentials))}.")
    status, output = run_client(zip_path)
    # The client can fail and still exit with 0: only the file counts.
    if status != 0 or not zip_path.exists() or marker_path(zip_path).exists():
        raise UserError(explain(output, credentials))


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
    from monet.records import find_data  # here, because TensorFlow takes seconds to load

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
