"""`kaggle_kernel.py push`: completes the metadata, warns of what looks wrong, and sends the bundle to Kaggle."""

import ast
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from kaggle_site.metadata import (
    FILE_NAME,
    MOST_BYTES,
    SMOKE_TIMEOUT,
    TIMEOUTS,
    accelerator_of,
    metadata_text,
    read_metadata,
    with_user,
    write_text,
)
from kaggle_site.session import NO_SUCH_KERNEL, OWN_SOURCE, Session
from kaggle_site.watch import FINAL_STATES

from monet.core.errors import UserError, say

SMOKE_CALL = "try_on_kaggle"  # the function that a smoke run's bundle calls


def find_bundle(folder: Path) -> tuple[dict, Path]:
    """Returns the metadata in `folder` and the path of its bundle.

    Raises:
        UserError: if there is no bundle, it is too large, or the metadata is invalid.
    """
    path = folder / FILE_NAME
    metadata = read_metadata(path) if path.exists() else {}
    code = folder / metadata.get("code_file", "")
    if not code.is_file():
        raise UserError("There is no bundle in kernel/. `make kernel-push` builds and pushes one; `make kernel` only "
                        "builds it.")
    if code.stat().st_size > MOST_BYTES:
        raise UserError(f"{code} has {code.stat().st_size:,} bytes, and Kaggle takes less than 1 MB. Make it smaller.")
    return metadata, code


@dataclass(frozen=True)
class Bundle:
    """What a bundle says about itself; it may have been edited by hand.

    Attributes:
        settings: the run's settings by name.
        smoke: whether it makes a smoke run.
        command: the command that made it.
        commit: the commit of its sources, in words.
    """

    settings: dict
    smoke: bool
    command: str
    commit: str


def read_bundle(code: Path) -> Bundle:
    """Reads what the bundle says about itself.

    Raises:
        UserError: if it is not Python, or has no settings.
    """
    text = code.read_text(encoding="utf-8")
    try:
        if code.suffix == ".ipynb":
            cells = json.loads(text)["cells"]
            source = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "code")
            text = "\n".join(cell["source"] for cell in cells)
        else:
            source = text
        tree = ast.parse(source)
        [settings] = [dict(ast.literal_eval(node.value)) for node in tree.body
                      if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "SETTINGS"]
    except (SyntaxError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{code} is not a bundle with its settings on top ({error}). `make kernel` writes "
                        "one.") from None
    command = re.search(r"python tools/bundle\.py.*", text)
    commit = re.search(r"of the kit, (?:git commit )?(.*?)\. SHA-256", text)
    calls = {getattr(node.func, "id", "") for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return Bundle(settings, SMOKE_CALL in calls, command[0] if command else "edited by hand",
                  commit[1] if commit else "unknown")


def timeout_of(metadata: dict, bundle: Bundle) -> int:
    """Returns the seconds after which Kaggle shall stop the run.

    Raises:
        UserError: if the run's own time limit is longer.
    """
    if bundle.smoke:
        return SMOKE_TIMEOUT
    timeout, minutes = TIMEOUTS[accelerator_of(metadata)], bundle.settings.get("max_minutes")
    if isinstance(minutes, int | float) and 60 * minutes > timeout:
        raise UserError(f"--max-minutes {minutes:g} is longer than the {timeout // 60} minutes after which Kaggle "
                        "stops a run on this machine, without a zip. Give fewer, or leave it out.")
    return timeout


def describe_push(metadata: dict, code: Path, bundle: Bundle, timeout: int) -> str:
    """Returns a few lines about what a push will send."""
    sources = [source for key in metadata if key.endswith("_sources") for source in metadata[key]]
    return "\n".join([
        f"{metadata['id']}, {metadata['title']!r}, a {'private' if metadata.get('is_private', True) else 'PUBLIC'} "
        f"{metadata['kernel_type']}{', a smoke run' if bundle.smoke else ''}",
        f"  code      {code.name}, {code.stat().st_size / 1000:.0f} kB, {bundle.command}",
        f"  machine   {metadata['machine_shape'] or 'CPU'}, internet {'on' if metadata['enable_internet'] else 'off'}, "
        f"stopped after {timeout // 60} minutes",
        f"  inputs    {', '.join(sources)}"])


def warn_of_internet(metadata: dict) -> None:
    """Says what the kernel's internet may cost, and how to do without."""
    if metadata["enable_internet"]:
        say("The kernel's internet is on. Some competitions refuse what such kernels submit; whether this one does is "
            f"not known. To do without, set enable_internet to false in {FILE_NAME} and attach what the run needs as "
            "datasets: `make tpu-wheels` for a TPU, `make fid-weights` for --select-by mifid.")


def warn_of_lint(session: Session) -> None:
    """Asks before pushing code that fails `make lint`."""
    command = [sys.executable, "-m", "ruff", "check", "--quiet", "--output-format", "concise", "."]
    lint = subprocess.run(command, cwd=session.root, capture_output=True, text=True)
    if lint.returncode:
        session.confirm(f"`make lint` fails: {(lint.stdout or lint.stderr).strip().splitlines()[0]}")


def warn_of_running(kernel_id: str, session: Session) -> None:
    """Asks before pushing while an earlier version of the kernel still runs."""
    try:
        status, _ = session.kernel_status(kernel_id)
    except UserError as error:
        if NO_SUCH_KERNEL not in str(error):
            raise
        return  # the first push
    if status and status not in FINAL_STATES:
        session.confirm(f"{kernel_id} is still {status}: a new version runs beside it and also uses up your hours.")


def read_reply(reply: str, kernel_id: str, retry: str) -> tuple[int, str]:
    """Returns the pushed version of the kernel and its address from what the client printed.

    Raises:
        UserError: if nothing was pushed, or Kaggle ignored some of the inputs.
    """
    pushed = re.search(r"Kernel version ?(\d*) successfully pushed\..*? at (\S+)", reply, re.DOTALL)
    if not pushed:
        raise UserError(f"Kaggle's client did not confirm the push: {reply.strip()[-300:]} See `make kernel-status`.")
    invalid = re.findall(r"^The following are not valid \w+ sources.*", reply, re.MULTILINE)
    if f"'{kernel_id}'" in " ".join(invalid):
        raise UserError(f"{OWN_SOURCE} Version {pushed[1]} runs without it: stop it at {pushed[2]}.")
    if invalid:
        raise UserError(f"{' '.join(invalid)}. Version {pushed[1]} runs without them: stop it at {pushed[2]}, fix "
                        f"{FILE_NAME}, then run `{retry}`.")
    for line in re.findall(r"^The following are not valid tags.*", reply, re.MULTILINE):
        say(f"{line} (keywords in {FILE_NAME})")
    return int(pushed[1] or 0), pushed[2]


def what_follows(bundle: Bundle) -> str:
    """Returns what to do after the run."""
    if bundle.smoke:
        return "Then `make kernel-output` shows what it found."
    return "Then `make kernel-output` fetches images.zip, and `make kernel-submit MSG=\"…\"` submits it."


def push(session: Session) -> None:
    """Sends the bundle and its metadata in kernel/, and records the version in kernel/pushed.json.

    Raises:
        UserError: if something is missing or invalid, the user declines, or Kaggle refuses.
    """
    metadata, code = find_bundle(session.kernel_folder)
    bundle = read_bundle(code)
    timeout = timeout_of(metadata, bundle)
    metadata = with_user(metadata, session.user_name())
    write_text(session.kernel_folder / FILE_NAME, metadata_text(metadata))
    say(describe_push(metadata, code, bundle, timeout))
    warn_of_internet(metadata)
    warn_of_lint(session)
    warn_of_running(metadata["id"], session)
    reply = session.ask(["kernels", "push", "-p", os.path.relpath(session.kernel_folder), "--timeout", str(timeout)])
    if session.dry_run:
        return
    version, url = read_reply(reply, metadata["id"], session.retry)
    record = {"id": metadata["id"], "version": version, "url": url, "time": time.time(), "smoke": bundle.smoke,
              "commit": bundle.commit, "preset": bundle.settings.get("preset", "")}
    write_text(session.push_record, json.dumps(record, indent=2) + "\n")
    say(f"Pushed version {version}: {url}\n`make kernel-status WATCH=1` waits for it to finish. {what_follows(bundle)}")
