"""Pushes the bundle to Kaggle and looks after it there, with the official `kaggle` client.

    python tools/kaggle_kernel.py push                     what tools/bundle.py left in kernel/
    python tools/kaggle_kernel.py status [--watch]         queued, running, complete …
    python tools/kaggle_kernel.py log [--watch]            what the kernel prints
    python tools/kaggle_kernel.py output [--out FOLDER]    images.zip and what lies beside it, checked
    python tools/kaggle_kernel.py submit --message TEXT    hands in the version that was pushed last

--dry-run shows the client's commands and sends nothing; --yes answers every question.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from console import ROOT
from kaggle_site.calls import (
    NO_SUCH_KERNEL,
    PUSHED,
    REASONS,
    ask_kaggle,
    confirm,
    kernel_id,
    last_push,
    status_of,
    user_name,
)
from kaggle_site.client import all_secrets, explain, find_credentials, hide_secrets, start_client
from kaggle_site.metadata import FILE_NAME, MOST_BYTES, metadata_text, read_metadata, with_user, write_text

from monet.core.errors import UserError, say
from monet.machine.kaggle_machine import COMPETITION

WATCH_SECONDS = 30  # between two looks at the kernel's status
FETCH_SECONDS = 3600  # for all of a kernel's output, of which the client shows nothing until it has come
MOST_LOST = 5  # looks in a row that may fail before watching ends
OVER = ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")
FETCHED = ("images.zip", "history.csv", "preview.jpg", "photo_to_monet.npz", "config.json", "run.log")


def warn_of_lint(options: argparse.Namespace) -> None:
    """Asks whether to push a tree that `make lint` complains of."""
    command = [sys.executable, "-m", "ruff", "check", "--quiet", "--output-format", "concise", "."]
    lint = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if lint.returncode:
        confirm(f"`make lint` fails: {(lint.stdout or lint.stderr).strip().splitlines()[0]}", options)


def warn_of_running(identity: str, options: argparse.Namespace) -> None:
    """Asks whether to push beside a run of the same kernel that is not over."""
    try:
        status, _ = status_of(identity, options)
    except UserError as error:
        if NO_SUCH_KERNEL not in str(error):
            raise
        return  # the first push
    if status and status not in OVER:
        confirm(f"{identity} is still {status}: a new version runs beside it, and takes from your hours, too.", options)


def describe_push(metadata: dict, code: Path) -> str:
    """What a push will send, in some lines."""
    made_by = re.search(r"python tools/bundle\.py.*?(?=\\n|$)", code.read_text(encoding="utf-8"), re.MULTILINE)
    sources = [source for key in metadata if key.endswith("_sources") for source in metadata[key]]
    return "\n".join([
        f"{metadata['id']}, {metadata['title']!r}, a {'private' if metadata.get('is_private', True) else 'PUBLIC'} "
        f"{metadata['kernel_type']}",
        f"  code      {code.name}, {code.stat().st_size / 1000:.0f} kB, {made_by[0] if made_by else 'edited by hand'}",
        f"  machine   {metadata['machine_shape'] or 'CPU'}, internet {'on' if metadata['enable_internet'] else 'off'}",
        f"  inputs    {', '.join(sources)}"])


def push(options: argparse.Namespace) -> int:
    """`push`: completes and checks kernel/kernel-metadata.json, and sends it with the bundle."""
    folder = ROOT / "kernel"
    metadata = read_metadata(folder / FILE_NAME) if (folder / FILE_NAME).exists() else {}
    code = folder / metadata.get("code_file", "")
    if not code.is_file():
        raise UserError("There is no bundle in kernel/. `make kernel-push` makes one; `make kernel` makes it alone.")
    metadata = with_user(metadata, user_name(options))
    if code.stat().st_size > MOST_BYTES:
        raise UserError(f"{code} has {code.stat().st_size:,} bytes, and Kaggle takes less than 1 MB. Make it smaller.")
    write_text(folder / FILE_NAME, metadata_text(metadata))
    say(describe_push(metadata, code))
    warn_of_lint(options)
    warn_of_running(metadata["id"], options)
    said = ask_kaggle(["kernels", "push", "-p", os.path.relpath(folder)], options)
    if options.dry_run:
        return 0
    done = re.search(r"Kernel version ?(\d*) successfully pushed\..*? at (\S+)", said, re.DOTALL)
    invalid = re.findall(r"^The following are not valid \w+ sources.*", said, re.MULTILINE)
    if not done:
        raise UserError(f"Kaggle's client did not say that it was pushed, but: {said.strip()[-300:]} See `make "
                        "kernel-status`.")
    if invalid:
        raise UserError(f"{' '.join(invalid)}. Version {done[1]} runs without them: stop it at {done[2]}, mend "
                        f"{FILE_NAME}, then run `{options.again}`.")
    pushed = {"id": metadata["id"], "version": int(done[1] or 0), "url": done[2], "time": time.time()}
    write_text(folder / PUSHED, json.dumps(pushed, indent=2) + "\n")
    for line in re.findall(r"^The following are not valid tags.*", said, re.MULTILINE):
        say(f"{line} (keywords in {FILE_NAME})")
    say(f"Pushed version {done[1]}: {done[2]}\n`make kernel-status WATCH=1` waits for its end, then `make "
        "kernel-output` fetches images.zip, and `make kernel-submit MSG=\"…\"` hands it in.")
    return 0


def time_passed(seconds: float) -> str:
    """The time in hours and minutes."""
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def status(options: argparse.Namespace) -> int:
    """`status`: says whether the kernel is queued, runs or is over; exit status 1 if it failed."""
    identity, pushed, lost, said = kernel_id(options), last_push(), 0, ""
    since, began = ("the push", pushed["time"]) if "time" in pushed else ("now", time.time())
    while True:
        try:
            word, message = status_of(identity, options)
            lost = 0
        except UserError:
            lost += 1
            if not said or lost == MOST_LOST:
                raise
            word, message = said, ""  # a look that fails between others is no reason to stop looking
        if word != said or sys.stderr.isatty():
            say(f"{identity}: {word}, {time_passed(time.time() - began)} since {since}")
        said = word
        if word in OVER or not options.watch or options.dry_run:
            break
        time.sleep(options.every)
    if word in OVER[1:]:
        say(f"{message or 'It did not come to its end.'} `make kernel-log` shows what it printed.")
        return 1
    return 0


def log(options: argparse.Namespace) -> int:
    """`log`: prints what the kernel printed; with --watch, as it comes."""
    follow = ["--follow"] if options.watch else []
    words, secrets = ["kernels", "logs", kernel_id(options), *follow], all_secrets(find_credentials())
    if not options.watch or options.dry_run:
        lines = plain_log(ask_kaggle(words, options)).splitlines()
        for line in lines:
            print(hide_secrets(line, secrets))
        if not lines and not options.dry_run:
            say("It has printed nothing, or Kaggle shows it only at the end. WATCH=1 follows it.")
        return 0
    with start_client(*words) as client:
        lines = []
        for line in client.stdout:
            lines.append(line)
            print(hide_secrets(line.rstrip("\n"), secrets), flush=True)
    if client.returncode:
        raise UserError(explain("".join(lines[-20:]), find_credentials(), options.again, REASONS))
    return 0


def plain_log(text: str) -> str:
    """The log as the kernel printed it; Kaggle keeps it as a JSON list of pieces."""
    try:
        pieces = json.loads(text)
    except ValueError:
        return text
    return "".join(piece.get("data", "") for piece in pieces)


def output(options: argparse.Namespace) -> int:
    """`output`: fetches images.zip and what lies beside it, checks the zip, and puts them into a folder."""
    identity, out = kernel_id(options), Path(options.out)
    pattern = f"^({'|'.join(re.escape(name) for name in FETCHED)})$"
    with tempfile.TemporaryDirectory(prefix="monet-output-") as fetched:
        if not options.dry_run:
            say("Fetching some hundred MB from Kaggle: nothing is to be seen of it until they are there.")
        ask_kaggle(["kernels", "output", identity, "-p", fetched, "--file-pattern", pattern], options, FETCH_SECONDS)
        if options.dry_run:
            return 0
        found = [name for name in FETCHED if os.path.exists(os.path.join(fetched, name))]
        if "images.zip" not in found:
            raise UserError(f"The last run of {identity} left no images.zip. `make kernel-status` says whether it is "
                            "over, `make kernel-log` what it printed.")
        from monet.submission.check import check
        from monet.training.run_files import RunFiles, set_aside  # here, because TensorFlow takes seconds to load

        problems = check(os.path.join(fetched, "images.zip"))
        if problems:
            raise UserError(f"images.zip of {identity} cannot be handed in; nothing in {out} was changed. "
                            f"{' '.join(problems)} `make kernel-log` shows what the kernel printed.")
        files = RunFiles(str(out))
        if os.path.isdir(files.checkpoints):
            set_aside(files)
            say(f"What a run on this machine left in {out} is now in its folder previous-….")
        out.mkdir(parents=True, exist_ok=True)
        for name in found:
            shutil.move(os.path.join(fetched, name), out / name)
    say(f"Fetched into {out}: {', '.join(found)}. Nothing in images.zip is known to be refused by Kaggle.\n"
        f"To score it here: python tools/mifid.py {os.path.join(out, '')}\n"
        'To have it scored by Kaggle: make kernel-submit MSG="…".')
    return 0


def submit(options: argparse.Namespace) -> int:
    """`submit`: hands in images.zip of the version that was pushed last."""
    pushed = last_push()
    if not options.message.strip():
        raise UserError('A submission has a description: make kernel-submit MSG="tpu, 30 epochs".')
    if not pushed.get("version"):
        raise UserError("Nothing was pushed from here: there is no version to hand in. `make kernel-push` first.")
    word, _ = status_of(pushed["id"], options)
    if word != "COMPLETE" and not options.dry_run:
        raise UserError(f"{pushed['id']} is {word}: only a run that is complete can be handed in. `make kernel-status "
                        "WATCH=1` waits for it.")
    confirm(f"Handing in images.zip of {pushed['id']}, version {pushed['version']}, to {COMPETITION}: "
            f"{options.message}", options)
    said = ask_kaggle(["competitions", "submit", COMPETITION, "-k", pushed["id"], "-v", str(pushed["version"]), "-f",
                       "images.zip", "-m", options.message], options)
    if options.dry_run:
        return 0
    if not re.search("success", said, re.IGNORECASE):
        raise UserError(f"Kaggle did not take the submission. It says: {said.strip()[:300]}")
    say(f"{said.strip()}\nThe score will stand at https://www.kaggle.com/competitions/{COMPETITION}/submissions.")
    return 0


COMMANDS = {"push": push, "status": status, "log": log, "output": output, "submit": submit}


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.__doc__.split(": ", 1)[1])
        sub.add_argument("--dry-run", action="store_true", help="show the client's commands, send nothing")
        sub.add_argument("--yes", action="store_true", help="answer every question with yes")
        sub.set_defaults(again=f"make kernel-{name}")
        if name in ("status", "log"):
            sub.add_argument("--watch", action="store_true", help="until the kernel is over")
        if name == "status":
            sub.add_argument("--every", type=float, default=WATCH_SECONDS, help="seconds between two looks")
        if name == "output":
            sub.add_argument("--out", default="submission", help="where to put the files")
        if name == "submit":
            sub.add_argument("--message", default="", help="the submission's description")
    options = parser.parse_args()
    try:
        return COMMANDS[options.command](options)
    except UserError as error:
        say(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        say("Stopped here; what runs on Kaggle goes on.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
