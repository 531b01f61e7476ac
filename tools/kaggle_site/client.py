"""The official `kaggle` client as a subprocess: the credentials that it finds, and what it means by what it prints."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from monet.core.errors import UserError, say
from monet.machine.kaggle_machine import COMPETITION

RULES = f"https://www.kaggle.com/competitions/{COMPETITION}/rules"
HOW_TO_SIGN_IN = (
    "make an API token at https://www.kaggle.com/settings/api and put it in the file ~/.kaggle/access_token or the "
    "variable KAGGLE_API_TOKEN (older keys work, too: KAGGLE_USERNAME and KAGGLE_KEY, or ~/.kaggle/kaggle.json)")
BUSY = r"\b429\b|too many requests"
CLIENT_SECONDS = 300  # for one command of the client, which itself would wait for ever; but for one that downloads
WAITS = (5, 20, 60)  # seconds before a command is given again that Kaggle did not take because of too many (429)
# What the client prints, and what that means for the user; each program has more of them, which come first.
REASONS = (
    (r"401 Client Error|Authentication required|Invalid credentials|Unauthorized|Unauthenticated",
     f"Kaggle does not know the key in {{place}} (401). To get a new one, {HOW_TO_SIGN_IN}; then run `{{again}}`."),
    (BUSY,
     "Kaggle asks to wait (429): there were too many requests. Wait some minutes, then run `{again}`."),
    (r"ConnectionError|ProxyError|ConnectTimeout|ReadTimeout|Max retries exceeded|Name or service not known|SSLError",
     "No connection to Kaggle. Check the network, then run `{again}`."),
)


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


@contextlib.contextmanager
def start_client(*words: str) -> Iterator[subprocess.Popen]:
    """The client of this environment, running `kaggle` with `words` for as long as the `with` block lasts; what it
    prints is one stream."""
    # With these set, the client would print its requests with the key in them.
    environment = {name: value for name, value in os.environ.items() if name not in ("VERBOSE", "VERBOSE_OUTPUT")}
    command = [sys.executable, "-P", "-m", "kaggle", "--no-warn", *words]
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace") as client:
        try:
            yield client
        finally:
            client.kill()


def hide_secrets(line: str, secrets: list[str]) -> str:
    """The line without the secrets, and without what follows the ? of an address (signatures)."""
    line = re.sub(r"\?\S+", "?…", line)
    for secret in secrets:
        for piece in re.split(r"[^!-~]+|[\\'\"]", secret):  # Python's messages escape what lies between the pieces
            if len(piece) > 3:
                line = line.replace(piece, "…")
    return line


def call_client(words: list[str], seconds: float = CLIENT_SECONDS) -> tuple[int, str]:
    """Runs `kaggle` with `words`: (exit status, all that it printed)."""
    with start_client(*words) as client:
        try:
            output, _ = client.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return 1, f"ReadTimeout: no answer for {seconds:.0f} seconds"
    return client.returncode, output


def ask_client(words: list[str], again: str, reasons: tuple = (), waits: tuple = WAITS,
               seconds: float = CLIENT_SECONDS) -> str:
    """What the client prints for `words`, given `seconds` for it; asked again after `waits` seconds if Kaggle says that
    it is too busy.

    Raises:
        UserError: if it fails, whatever its exit status; as `explain` says it.
    """
    for wait in (*waits, None):
        status, output = call_client(words, seconds)
        busy = status and re.search(BUSY, output, re.IGNORECASE)
        if not busy or wait is None:
            break
        say(f"Kaggle asks to wait (429): again in {wait} seconds")
        time.sleep(wait)
    refused = re.search(r"^Kernel push error:.*", output, re.MULTILINE)  # with an exit status of 0
    if status or refused:
        raise UserError(explain(refused[0] if refused else output, find_credentials(), again, reasons))
    return output


def stored_user() -> str:
    """The account's name as far as this machine knows it without asking Kaggle; "" if only the key is known."""
    return os.environ.get("KAGGLE_USERNAME") or str(read_json(client_folder() / "kaggle.json").get("username", ""))


def find_user(again: str) -> str:
    """The name of the account that the credentials belong to.

    Raises:
        UserError: if there are no credentials, or Kaggle does not know them; `again` is the command to give then.
    """
    if not find_credentials():
        raise UserError(f"There are no Kaggle credentials: {HOW_TO_SIGN_IN}; then run `{again}`.")
    found = re.search(r"^- username: (\S+)$", ask_client(["config", "view"], again), re.MULTILINE)
    if not found or found[1] == "None":
        raise UserError(explain("Authentication required", find_credentials(), again))
    return found[1]


def all_secrets(credentials: dict[str, list[str]]) -> list[str]:
    """Every secret among `find_credentials`."""
    return [secret for secrets in credentials.values() for secret in secrets]


def explain(output: str, credentials: dict[str, list[str]], again: str, reasons: tuple = ()) -> str:
    """What went wrong and what to do, from what the client printed. Never a key, nor a signed address.

    Args:
        output: all that it printed.
        credentials: from `find_credentials`.
        again: the command to give once that is mended.
        reasons: pairs of a pattern and a sentence that come before `REASONS`; the first match counts.
    """
    place = next(iter(credentials), "")
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["it printed nothing"]
    line = hide_secrets(lines[-1], all_secrets(credentials))
    for pattern, sentence in (*reasons, *REASONS):
        if re.search(pattern, output, re.DOTALL | re.IGNORECASE):
            return sentence.format(place=place, again=again, line=line)
    return f"Kaggle's client failed. It says: {line} Try `{again}` later."
