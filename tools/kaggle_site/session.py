"""What the commands of `kaggle_kernel.py` share: calls to Kaggle, questions to the user, and which kernel is meant."""

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from console import ROOT

from kaggle_site.client import RULES, TIMEOUT, client_output, find_user
from kaggle_site.credentials import read_json, stored_user
from kaggle_site.metadata import FILE_NAME, PLACEHOLDER, read_metadata, with_user

from monet.core.errors import UserError, say

NO_SUCH_KERNEL = "Kaggle finds no such kernel of yours"
OWN_SOURCE = ("Kaggle does not take a kernel as its own input. Make a dataset of its output instead: on the page of "
              "its last run, open Output and choose New Dataset. Give it the kernel's name with -output added, "
              f"add it to dataset_sources in {FILE_NAME}, then push with RESUME=1 again.")
SETTINGS_PAGE = "https://www.kaggle.com/settings"
# What each error means when the client pushes a kernel or asks about one; see `explain_error`.
KERNEL_ERRORS = (
    (r"unrecognized arguments", "The kaggle client here is too old ({line}). Run `make setup`, then `{retry}`."),
    (r"accept.{0,60}\brules\b",
     f"You must accept the competition's rules before a kernel can use its data. Accept them at {RULES}, then run "
     "`{retry}`."),
    (r"(phone|identity|account).{0,60}verif|verif.{0,60}(phone|identity|account)",
     f"Kaggle gives this machine only to verified accounts ({{line}}). Verify your phone or identity at "
     f"{SETTINGS_PAGE}, then run `{{retry}}`; ACCELERATOR=none needs neither."),
    (r"quota|session count|number of hours|maximum.{0,40}session",
     "Kaggle has no accelerator left for you ({line}). `kaggle quota` shows your hours; wait for a running kernel or "
     "for next week, or choose another ACCELERATOR: tpu, gpu or none."),
    (r"sources?.{0,80}(\bitself\b|\bown\b|\bcircular|\bcyclic)|(\bitself\b|\bown\b|\bcircular|\bcyclic).{0,80}source",
     OWN_SOURCE),
    (r"title.{0,60}(in use|taken|exists)|already in use|409 Client Error",
     f"Another kernel has this title ({{line}}). Change title and id in {FILE_NAME}, then run `{{retry}}`."),
    (r"\b413\b|too (large|big|long)|exceeds.{0,40}(size|limit)",
     "The bundle is too large for Kaggle ({line}). Make src/monet/ smaller."),
    (r"(kernel|notebook) not found|cannot access kernel|404 Client Error",
     f"{NO_SUCH_KERNEL}, or rejects the key in {{source}}. Push it first (`make kernel-push`), or check the id in "
     f"{FILE_NAME} and the key at {SETTINGS_PAGE}/api."),
    (r"403 Client Error|permission.{0,60}denied|forbidden",
     f"Kaggle refuses the request (403). Accept the competition's rules at {RULES}, check what the key in {{source}} "
     "is allowed to do, then run `{retry}`."),
    (r"Connection aborted|RemoteDisconnected|Connection broken|IncompleteRead|ChunkedEncoding|Connection reset",
     "The connection broke before Kaggle's answer was complete. Check with `make kernel-status` what arrived, then run "
     "`{retry}`."),
)


@dataclass(frozen=True)
class Session:
    """How a command talks to Kaggle and to the user."""

    retry: str  # the command that errors suggest, for example `make kernel-push`
    dry_run: bool = False  # show the client's commands and send nothing
    yes: bool = False  # answer every question with yes
    root: Path = ROOT  # the checkout
    timeout: float = TIMEOUT  # seconds for one command of the client, unless it downloads

    @property
    def kernel_folder(self) -> Path:
        """The folder of the bundle and its metadata."""
        return self.root / "kernel"

    @property
    def push_record(self) -> Path:
        """The file that holds the id, version, address and time of the last push."""
        return self.kernel_folder / "pushed.json"

    @property
    def submissions(self) -> Path:
        """The file that lists what was submitted, with the scores."""
        return self.root / "submission" / "submissions.csv"

    def last_push(self) -> dict:
        """Returns what the last push from this checkout recorded, or {} if there was none."""
        return read_json(self.push_record)

    def ask(self, words: list[str], timeout: float | None = None, errors: tuple = (), **options) -> str:
        """Runs the client with `words` and returns its output. A dry run shows the command and returns "".

        Args:
            words: the client's arguments.
            timeout: seconds that it may take; None: `self.timeout`.
            errors: as for `explain_error`, to try before `KERNEL_ERRORS`.
            options: more arguments of `client_output`.

        Raises:
            UserError: if the client fails.
        """
        if self.dry_run:
            say(f"would run: kaggle {shlex.join(words)}")
            return ""
        return client_output(words, self.retry, (*errors, *KERNEL_ERRORS), timeout=timeout or self.timeout, **options)

    def confirm(self, warning: str) -> None:
        """Prints the warning and asks whether to continue.

        Raises:
            UserError: if the answer is not yes, or there is no terminal to ask on.
        """
        say(warning)
        if self.yes or self.dry_run:
            return
        if not sys.stdin.isatty():
            raise UserError("Nothing was sent: there is no terminal to ask on. YES=1 continues without asking.")
        print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):  # "" after Ctrl-D
            raise UserError("Nothing was sent.")

    def user_name(self) -> str:
        """Returns the account's name. A dry run returns the stored name or the placeholder.

        Raises:
            UserError: if there are no credentials, or Kaggle rejects them.
        """
        if self.dry_run:
            say("would run: kaggle config view")
            return stored_user() or PLACEHOLDER
        return find_user(self.retry)

    def kernel_id(self) -> str:
        """Returns the kernel's id, owner/slug: the last push's, else the metadata's with the account's name.

        Raises:
            UserError: if the metadata is invalid, or there are no credentials.
        """
        metadata = read_metadata(self.root / FILE_NAME)
        return self.last_push().get("id") or with_user(metadata, self.user_name())["id"]

    def kernel_status(self, kernel_id: str) -> tuple[str, str]:
        """Returns the kernel's status, for example "RUNNING", and the message if it failed. A dry run returns "", "".

        Raises:
            UserError: if Kaggle does not tell the status.
        """
        output = self.ask(["kernels", "status", kernel_id])
        status = re.search(r'has status "(?:KernelWorkerStatus\.)?(\w+)"', output)
        if not status and not self.dry_run:
            raise UserError(f"Kaggle's client printed no status: {output.strip()[:200]} Look at "
                            f"https://www.kaggle.com/code/{kernel_id}.")
        message = re.search(r'^Failure message: "(.*)"', output, re.MULTILINE | re.DOTALL)
        return status[1] if status else "", message[1] if message else ""
