"""Kaggle credentials: where the official `kaggle` client finds them, and how to keep them out of messages."""

import json
import os
import re
import sys
from pathlib import Path

HOW_TO_SIGN_IN = (
    "create an API token at https://www.kaggle.com/settings/api and put it in the file ~/.kaggle/access_token or the "
    "variable KAGGLE_API_TOKEN (older keys work too: KAGGLE_USERNAME and KAGGLE_KEY, or ~/.kaggle/kaggle.json)")


def read_text(path: Path) -> str:
    """Returns the file's text without surrounding whitespace, or "" if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def read_json(path: Path) -> dict:
    """Returns the JSON object in the file, or {} if there is none."""
    try:
        values = json.loads(read_text(path))
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def config_folder() -> Path:
    """Returns the folder where the client looks for kaggle.json (`KaggleApi.config_dir` of kaggle 2.2.4)."""
    home = Path.home()
    if os.environ.get("KAGGLE_CONFIG_DIR"):
        return Path(os.environ["KAGGLE_CONFIG_DIR"])
    if sys.platform.startswith("linux") and not (home / ".kaggle").exists():
        return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "kaggle"
    return home / ".kaggle"


def find_credentials() -> dict[str, list[str]]:
    """Returns the variables and files that hold credentials, each with its secrets; the client uses the first."""
    home, secrets = Path.home() / ".kaggle", {}
    token = os.environ.get("KAGGLE_API_TOKEN", "")
    if token:  # the token itself, or the name of a file that holds it
        secrets["KAGGLE_API_TOKEN"] = [token.strip(), read_text(Path(token)) if len(token) < 256 else ""]
    for path in (home / "access_token", home / "access_token.txt"):
        secrets[str(path)] = [read_text(path)]
    config = config_folder() / "kaggle.json"
    stored = read_json(config)
    key = os.environ.get("KAGGLE_KEY") or str(stored.get("key", ""))
    if os.environ.get("KAGGLE_USERNAME") or stored.get("username"):
        secrets["KAGGLE_KEY" if os.environ.get("KAGGLE_KEY") else str(config)] = [key]
    login = read_json(home / "credentials.json")  # from `kaggle auth login`
    if login.get("refresh_token"):
        secrets[str(home / "credentials.json")] = [str(login["refresh_token"]), str(login.get("access_token", ""))]
    return {source: values for source, values in secrets.items() if any(values)}


def stored_user() -> str:
    """Returns the user name that is stored on this machine, or "" if only a key is."""
    return os.environ.get("KAGGLE_USERNAME") or str(read_json(config_folder() / "kaggle.json").get("username", ""))


def hide_secrets(line: str, credentials: dict[str, list[str]]) -> str:
    """Returns the line without the secrets in `credentials` and without the queries of addresses (signatures)."""
    line = re.sub(r"\?\S+", "?…", line)
    for secret in (secret for secrets in credentials.values() for secret in secrets):
        for piece in re.split(r"[^!-~]+|[\\'\"]", secret):  # Python's messages escape the characters in between
            if len(piece) > 3:
                line = line.replace(piece, "…")
    return line
