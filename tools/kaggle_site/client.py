"""Runs the official `kaggle` client in a child process, and turns its errors into advice."""

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

from kaggle_site.credentials import HOW_TO_SIGN_IN, find_credentials, hide_secrets

from monet.core.errors import UserError, say
from monet.machine.kaggle_machine import COMPETITION

RULES = f"https://www.kaggle.com/competitions/{COMPETITION}/rules"
BUSY = r"\b429\b|too many requests"
TIMEOUT = 300  # seconds for one command; the client itself would wait forever
RETRY_DELAYS = (5, 20, 60)  # seconds before each retry of a command that Kaggle was too busy for
# What the client adds below an error: general advice, which is worse than ours and would be taken for the error itself.
ADDED_ADVICE = (r"\n\n(You don't have access to this resource|The resource was not found|You have been rate limited|"
                r"This is a problem on Kaggle's side|If this is unexpected, you can re-run).*")
# What each error in the client's output means. Callers put errors of their own before these.
COMMON_ERRORS = (
    (r"401 Client Error|Authentication required|Invalid credentials|Unauthorized|Unauthenticated",
     f"Kaggle rejects the key in {{source}} (401). To get a new one, {HOW_TO_SIGN_IN}; then run `{{retry}}`."),
    (BUSY,
     "Kaggle received too many requests (429). Wait a few minutes, then run `{retry}`."),
    (r"ConnectionError|ProxyError|ConnectTimeout|ReadTimeout|Max retries exceeded|Name or service not known|SSLError",
     "No connection to Kaggle. Check the network, then run `{retry}`."),
)


@contextlib.contextmanager
def start_client(*words: str) -> Iterator[subprocess.Popen]:
    """Runs `kaggle` with `words`; kills it when the `with` block ends. Its stdout and stderr are one stream."""
    # With these set, the client would print its requests, keys included.
    environment = {name: value for name, value in os.environ.items() if name not in ("VERBOSE", "VERBOSE_OUTPUT")}
    environment["PYTHONUNBUFFERED"] = "1"  # each line at once
    command = [sys.executable, "-P", "-m", "kaggle", "--no-warn", *words]
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace") as client:
        try:
            yield client
        finally:
            client.kill()


def ignore(line: str) -> None:
    """Does nothing with a line of the client's output."""


def run_client(words: list[str], timeout: float = TIMEOUT, heed: Callable[[str], None] = ignore) -> tuple[int, str]:
    """Runs `kaggle` with `words` for at most `timeout` seconds, and calls `heed` with each line that it prints.

    Returns:
        Its exit status and output.
    """
    lines, expired = [], threading.Event()
    with start_client(*words) as client:
        def stop() -> None:
            expired.set()
            client.kill()

        timer = threading.Timer(timeout, stop)
        timer.daemon = True
        timer.start()
        try:
            for line in client.stdout:
                lines.append(line)
                heed(line)
            client.wait()
        finally:
            timer.cancel()
    if expired.is_set():
        return 1, f"ReadTimeout: no answer for {timeout:.0f} seconds"
    return client.returncode, "".join(lines)


def client_output(words: list[str], retry: str, errors: tuple = (), delays: tuple = RETRY_DELAYS,
                  timeout: float = TIMEOUT, heed: Callable[[str], None] = ignore) -> str:
    """Runs `kaggle` with `words` and returns its output. Retries after each of `delays` seconds if Kaggle is busy.

    Raises:
        UserError: if the client fails, even with exit status 0. `explain_error` words it from `retry` and `errors`.
    """
    for delay in (*delays, None):
        status, output = run_client(words, timeout, heed)
        busy = status and re.search(BUSY, output, re.IGNORECASE)
        if not busy or delay is None:
            break
        say(f"Kaggle received too many requests (429): trying again in {delay} seconds")
        time.sleep(delay)
    refused = re.search(r"^Kernel push error:.*", output, re.MULTILINE)  # exit status 0
    if status or refused:
        raise UserError(explain_error(refused[0] if refused else output, retry, errors))
    return output


def find_user(retry: str) -> str:
    """Asks Kaggle for the user name that the credentials belong to. `retry` is the command that errors suggest.

    Raises:
        UserError: if there are no credentials, or Kaggle rejects them.
    """
    if not find_credentials():
        raise UserError(f"There are no Kaggle credentials: {HOW_TO_SIGN_IN}; then run `{retry}`.")
    match = re.search(r"^- username: (\S+)$", client_output(["config", "view"], retry), re.MULTILINE)
    if not match or match[1] == "None":
        raise UserError(explain_error("Authentication required", retry))
    return match[1]


def explain_error(output: str, retry: str, errors: tuple = ()) -> str:
    """Returns a message that says what went wrong and what to do, without secrets.

    Args:
        output: everything that the client printed.
        retry: the command to run once the cause is fixed.
        errors: (pattern, message) pairs to try before `COMMON_ERRORS`. The first match counts. A message may use
            {source} (where the key is), {retry}, and {line} (the last line of the output).
    """
    credentials = find_credentials()
    output = re.sub(ADDED_ADVICE, "", output, flags=re.DOTALL)
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["(no output)"]
    line = hide_secrets(lines[-1], credentials)
    for pattern, message in (*errors, *COMMON_ERRORS):
        if re.search(pattern, output, re.DOTALL | re.IGNORECASE):
            return message.format(source=next(iter(credentials), ""), retry=retry, line=line)
    return f"Kaggle's client failed: {line} Try `{retry}` later."
