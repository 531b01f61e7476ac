"""What every command of `kaggle_kernel.py` needs: questions to Kaggle, its answers in words, which kernel it is."""

import argparse
import re
import shlex
import sys

from console import ROOT
from kaggle_site.client import CLIENT_SECONDS, RULES, ask_client, find_user, read_json, stored_user
from kaggle_site.metadata import FILE_NAME, PLACEHOLDER, read_metadata, with_user

from monet.core.errors import UserError, say

PUSHED = "pushed.json"  # in kernel/: id, version, address and time of the last push
NO_SUCH_KERNEL = "Kaggle knows no such kernel of yours"
SETTINGS_PAGE = "https://www.kaggle.com/settings"
# What the client prints when a push, or a question about a kernel, fails; before those of `kaggle_client`.
REASONS = (
    (r"accept.{0,60}\brules\b",
     f"Kaggle gives the competition's data only to those who accept its rules: accept them at {RULES}, then run "
     "`{again}`."),
    (r"(phone|identity|account).{0,60}verif|verif.{0,60}(phone|identity|account)",
     f"Kaggle lends this machine only to verified accounts (it says: {{line}}). Verify your phone or identity at "
     f"{SETTINGS_PAGE}, then run `{{again}}`; ACCELERATOR=none needs neither."),
    (r"quota|session count|number of hours|maximum.{0,40}session",
     "Kaggle has no accelerator left for you (it says: {line}). `kaggle quota` shows your hours; wait for a running "
     "kernel or for next week, or give another ACCELERATOR: tpu, gpu or none."),
    (r"title.{0,60}(in use|taken|exists)|already in use|409 Client Error",
     f"Another kernel has that title (Kaggle says: {{line}}). Change title and id in {FILE_NAME}, then run "
     "`{again}`."),
    (r"\b413\b|too (large|big|long)|exceeds.{0,40}(size|limit)",
     "The bundle is too large for Kaggle (it says: {line}). Make src/monet/ smaller."),
    (r"(kernel|notebook) not found|cannot access kernel|404 Client Error",
     f"{NO_SUCH_KERNEL}, or not the key in {{place}}. Was it ever pushed (`make kernel-push` does), is the id in "
     f"{FILE_NAME} right, and is the key still listed at {SETTINGS_PAGE}/api?"),
    (r"403 Client Error|permission.{0,60}denied|forbidden",
     f"Kaggle refuses (403). Accept the competition's rules at {RULES}, see that the key in {{place}} is allowed to do "
     "this, then run `{again}`."),
    (r"Connection aborted|RemoteDisconnected|Connection broken|IncompleteRead|ChunkedEncoding|Connection reset",
     "The connection broke before Kaggle's answer was whole. See with `make kernel-status` what has arrived, then run "
     "`{again}`."),
)


def ask_kaggle(words: list[str], options: argparse.Namespace, seconds: float = CLIENT_SECONDS) -> str:
    """What the client prints for `words`, within `seconds`; with --dry-run, shows the command and returns "".

    Raises:
        UserError: if it fails; says why and what to do.
    """
    if options.dry_run:
        say(f"would run: kaggle {shlex.join(words)}")
        return ""
    return ask_client(words, options.again, REASONS, seconds=seconds)


def user_name(options: argparse.Namespace) -> str:
    """The account's name; where only Kaggle could say it, --dry-run leaves the placeholder.

    Raises:
        UserError: if there are no credentials, or Kaggle does not know them.
    """
    if options.dry_run:
        say("would run: kaggle config view")
        return stored_user() or PLACEHOLDER
    return find_user(options.again)


def confirm(warning: str, options: argparse.Namespace) -> None:
    """Says the warning and asks whether to go on.

    Raises:
        UserError: if the answer is not yes, or nobody is there to ask.
    """
    say(warning)
    if options.yes or options.dry_run:
        return
    if not sys.stdin.isatty():
        raise UserError("Nothing was sent: there is no terminal to ask on. Give YES=1 to go on all the same.")
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):  # "" where the input ends: Ctrl-D
        raise UserError("Nothing was sent.")


def last_push() -> dict:
    """What is known of the last push from here; {} if there was none."""
    return read_json(ROOT / "kernel" / PUSHED)


def kernel_id(options: argparse.Namespace) -> str:
    """The kernel's id, owner/slug: of the last push, or else as the metadata and the credentials say.

    Raises:
        UserError: if the metadata cannot be used, or there are no credentials.
    """
    metadata = read_metadata(ROOT / FILE_NAME)
    return last_push().get("id") or with_user(metadata, user_name(options))["id"]


def status_of(identity: str, options: argparse.Namespace) -> tuple[str, str]:
    """The kernel's status in one word, and the message of one that failed; the word is "" with --dry-run.

    Raises:
        UserError: if it cannot be had.
    """
    output = ask_kaggle(["kernels", "status", identity], options)
    found = re.search(r'has status "(?:KernelWorkerStatus\.)?(\w+)"', output)
    if not found and not options.dry_run:
        raise UserError(f"Kaggle's client did not say the status, but: {output.strip()[:200]} Look at "
                        f"https://www.kaggle.com/code/{identity}.")
    message = re.search(r'^Failure message: "(.*)"', output, re.MULTILINE | re.DOTALL)
    return found[1] if found else "", message[1] if message else ""
