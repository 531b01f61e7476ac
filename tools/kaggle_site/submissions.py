"""`kaggle_kernel.py submit` and `scores`: submits images.zip, and keeps a list of the submissions with their scores."""

import csv
import io
import re
import time

from kaggle_site.metadata import write_text
from kaggle_site.session import Session
from kaggle_site.watch import COMPLETE

from monet.core.errors import UserError, say
from monet.machine.kaggle_machine import COMPETITION

SCORING_SECONDS = 1800  # for Kaggle to score a submission
PENDING = "PENDING"  # a submission that is not scored yet
PAGE_SIZE = 100  # submissions that Kaggle is asked for: the newest
COLUMNS = ("ref", "time", "kernel", "version", "commit", "preset", "message", "status", "public_score", "private_score")
SHOWN = ("ref", "time", "version", "preset", "status", "public_score", "private_score", "message")
SCORES_PAGE = f"https://www.kaggle.com/competitions/{COMPETITION}/submissions"


def submit_errors(kernel_id: str, version: int) -> tuple:
    """Returns what the client's errors mean when it submits a version of a kernel; see `explain_error`."""
    page = f"https://www.kaggle.com/code/{kernel_id}"
    by_hand = f"Open {page}, choose version {version} and press Submit to Competition there."
    return (
        (r"kernelSessions\.get",
         "Kaggle lets this account submit only on the site, not with its client (403, kernelSessions.get). " + by_hand),
        (r"Could not find competition or notebook|404 Client Error",
         f"Kaggle does not know version {version} of {kernel_id} as something to submit (404). That happens while the "
         f"site takes a pushed kernel for running that has long ended. {by_hand} If it says that it still runs, push "
         "it once more and submit that version."),
        (r"400 Client Error|^\s*(Bad Request)?\s*$",
         "Kaggle refuses the submission and does not say why (400). Usual reasons: today's submissions are used up, "
         f"the kernel's internet was on, or it ran for too long. {by_hand} The site gives the reason."),
        (r"Connection aborted|RemoteDisconnected|Connection broken|IncompleteRead|Connection reset|ReadTimeout",
         "Kaggle's answer did not arrive. `make scores` shows whether the submission did; if not, run `{retry}` "
         "again."),
        (r"failed to score", f"Kaggle could not score the submission ({{line}}). {SCORES_PAGE} may say more."),
    )


def read_rows(session: Session) -> list[dict[str, str]]:
    """Returns the rows of submissions.csv, oldest first.

    Raises:
        UserError: if it cannot be read.
    """
    if not session.submissions.exists():
        return []
    try:
        with session.submissions.open(newline="", encoding="utf-8") as file:
            return [{name: row.get(name) or "" for name in COLUMNS} for row in csv.DictReader(file)]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{session.submissions} cannot be read ({error}). Mend it or move it away: `make scores` "
                        "writes a new one.") from None


def update_row(session: Session, ref: str, **values: object) -> None:
    """Writes values of the submission `ref` to submissions.csv, in a new row if there is none."""
    rows = read_rows(session)
    row = next((row for row in rows if row["ref"] == ref), None)
    if row is None:
        row = dict.fromkeys(COLUMNS, "") | {"ref": ref}
        rows.append(row)
    row.update({name: str(value) for name, value in values.items()})
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    session.submissions.parent.mkdir(exist_ok=True)
    write_text(session.submissions, text.getvalue())


def submit(session: Session, description: str) -> None:
    """Submits images.zip of the version that was pushed last, and waits for its score.

    The submission is in submissions.csv as soon as Kaggle has accepted it.

    Raises:
        UserError: if there is no description or no push, the run is not complete or a smoke run, the user declines, or
            Kaggle refuses or does not score it.
    """
    if not description.strip():
        raise UserError('A submission needs a description: make kernel-submit MSG="tpu, 150 minutes"')
    pushed = session.last_push()
    if not pushed.get("version"):
        raise UserError("Nothing was pushed from here, so there is no version to submit. Run `make kernel-push` first.")
    if pushed.get("smoke"):
        raise UserError("The last push was a smoke run, which has no images.zip to submit. Run `make kernel-push` "
                        "without SMOKE=1 first.")
    read_rows(session)  # a list that cannot be read is told before anything is sent
    kernel_id, version = pushed["id"], pushed["version"]
    status, _ = session.kernel_status(kernel_id)
    if status != COMPLETE and not session.dry_run:
        raise UserError(f"{kernel_id} is {status}: only a complete run can be submitted. `make kernel-status WATCH=1` "
                        f"waits for it. If https://www.kaggle.com/code/{kernel_id} shows that it has ended, submit it "
                        "there, or push it once more.")
    session.confirm(f"Submitting images.zip of {kernel_id}, version {version}, to {COMPETITION}: {description}")
    words = ["competitions", "submit", COMPETITION, "-k", kernel_id, "-v", str(version), "-f", "images.zip", "-m",
             description, "--wait", str(SCORING_SECONDS)]
    record = {"kernel": kernel_id, "version": version, "commit": pushed.get("commit", ""),
              "preset": pushed.get("preset", ""), "message": description}
    try:
        reply = session.ask(words, SCORING_SECONDS + session.timeout, submit_errors(kernel_id, version),
                            heed=lambda line: heed_line(session, record, line),
                            delays=())  # a second try could be a second submission
    except UserError as error:
        if record.get("status") != PENDING:
            raise
        raise UserError(f"Submission {record['ref']} is accepted, do not repeat it. Only its score is missing yet: "
                        f"`make scores` shows it later. ({error})") from None
    if session.dry_run:
        return
    if not re.search("success", reply, re.IGNORECASE):
        raise UserError(f"Kaggle did not accept the submission: {reply.strip()[:300]}")
    say(f"{reply.strip()}\n`make scores` lists what was submitted, and so does {SCORES_PAGE}.")


def heed_line(session: Session, record: dict, line: str) -> None:
    """Adds what a line of the client's output tells about a submission to its `record` and to submissions.csv."""
    if accepted := re.match(r"Submission ref: (\d+)", line):
        record |= {"ref": accepted[1], "time": time.strftime("%Y-%m-%d %H:%M:%S"), "status": PENDING}
        say(f"Accepted as submission {accepted[1]}. Waiting for its score.")
    elif scored := re.match(r"Submission scored\. Public score: ([\d.]*)", line):
        record |= {"status": COMPLETE, "public_score": scored[1]}
    elif re.match(r"Submission \d+ failed to score", line):
        record["status"] = "ERROR"
    else:
        return
    update_row(session, **record)


def show_scores(session: Session) -> None:
    """Asks Kaggle for the scores, writes them to submissions.csv and prints that.

    Raises:
        UserError: if Kaggle refuses; what the file holds is printed all the same.
    """
    try:
        reply = session.ask(["competitions", "submissions", COMPETITION, "--csv", "--page-size", str(PAGE_SIZE)])
        for row in reversed(list(csv.DictReader(table_lines(reply)))):  # oldest first
            known = any(known["ref"] == row["ref"] for known in read_rows(session))
            added = {} if known else {"time": row["date"], "message": row["description"]}
            update_row(session, row["ref"], status=row["status"].rpartition(".")[2], public_score=row["publicScore"],
                       private_score=row["privateScore"], **added)
    finally:
        print_rows(read_rows(session))


def table_lines(reply: str) -> list[str]:
    """Returns the lines of the table in the client's output, from its header on; none if there is no table."""
    lines = reply.splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith("ref,")), len(lines))
    return lines[start:]


def print_rows(rows: list[dict[str, str]]) -> None:
    """Prints the rows of submissions.csv as a table."""
    if not rows:
        say("Nothing was submitted yet.")
        return
    table = [SHOWN, *([row[name] for name in SHOWN] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
