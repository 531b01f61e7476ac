"""`kaggle_kernel.py status` and `log`: follows a kernel on Kaggle."""

import json
import sys
import time

from kaggle_site.client import explain_error, run_client
from kaggle_site.credentials import find_credentials, hide_secrets
from kaggle_site.session import KERNEL_ERRORS, Session

from monet.core.errors import UserError, say

FOLLOW_SECONDS = 24 * 3600  # a log is followed for no longer: no run lasts that long
MAX_FAILURES = 5  # polls in a row that may fail before watching ends
COMPLETE, FAILED_STATES = "COMPLETE", ("ERROR", "CANCEL_ACKNOWLEDGED")
FINAL_STATES = (COMPLETE, *FAILED_STATES)


def format_time(seconds: float) -> str:
    """Returns the time in hours and minutes."""
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def show_status(session: Session, watch: bool, poll_seconds: float) -> int:
    """Prints the kernel's status, once or until it is final. Returns the exit status: 1 if the kernel failed.

    Raises:
        UserError: if the first poll fails, or `MAX_FAILURES` in a row.
    """
    kernel_id, record, failures, shown = session.kernel_id(), session.last_push(), 0, ""
    event, start = ("the push", record["time"]) if "time" in record else ("now", time.time())
    while True:
        try:
            status, message = session.kernel_status(kernel_id)
            failures = 0
        except UserError:
            failures += 1
            if not shown or failures == MAX_FAILURES:
                raise
            status, message = shown, ""
        if status != shown or sys.stderr.isatty():
            say(f"{kernel_id}: {status}, {format_time(time.time() - start)} since {event}")
        shown = status
        if status in FINAL_STATES or not watch or session.dry_run:
            break
        time.sleep(poll_seconds)
    if status in FAILED_STATES:
        say(f"{message or 'The run did not finish.'} `make kernel-log` shows what it printed.")
        return 1
    return 0


def decode_log(text: str) -> str:
    """Returns the log as the kernel printed it, from Kaggle's JSON list of pieces."""
    try:
        pieces = json.loads(text)
    except ValueError:
        return text
    return "".join(piece.get("data", "") for piece in pieces)


def show_log(session: Session, follow: bool) -> None:
    """Prints what the kernel printed so far, or with `follow`, everything as it comes.

    Raises:
        UserError: if Kaggle does not give the log.
    """
    words = ["kernels", "logs", session.kernel_id()]
    if follow and not session.dry_run:
        follow_log([*words, "--follow"], session.retry)
        return
    lines = decode_log(session.ask([*words, "--follow"] if follow else words)).splitlines()
    for line in lines:
        print(hide_secrets(line, find_credentials()))
    if not lines and not session.dry_run:
        say("No output yet, or Kaggle shows it only at the end. WATCH=1 follows it.")


def follow_log(words: list[str], retry: str) -> None:
    """Runs the client with `words` and prints its output line by line.

    Raises:
        UserError: if the client fails.
    """
    credentials = find_credentials()
    status, output = run_client(words, FOLLOW_SECONDS,
                                lambda line: print(hide_secrets(line.rstrip("\n"), credentials), flush=True))
    if status:
        raise UserError(explain_error("".join(output.splitlines(keepends=True)[-20:]), retry, KERNEL_ERRORS))
