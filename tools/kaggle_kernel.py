"""Pushes the bundle to Kaggle and follows it there, with the official `kaggle` client.

    python tools/kaggle_kernel.py push                     run the bundle in kernel/, from tools/bundle.py
    python tools/kaggle_kernel.py status [--watch]         queued, running, complete …
    python tools/kaggle_kernel.py log [--watch]            what the kernel prints
    python tools/kaggle_kernel.py output [--out FOLDER]    images.zip, checked, and the files beside it
    python tools/kaggle_kernel.py submit --message TEXT    submit images.zip of the last pushed version
    python tools/kaggle_kernel.py scores                   the submissions and their scores

--dry-run shows the client's commands and sends nothing; --yes answers every question with yes.
"""

import argparse
import sys
from pathlib import Path

from console import ROOT, home_path, run_tool

from kaggle_site.output import fetch_output
from kaggle_site.push import push
from kaggle_site.session import Session
from kaggle_site.submissions import show_scores, submit
from kaggle_site.watch import show_log, show_status

POLL_SECONDS = 30


def parse_options(argv: list[str] | None) -> argparse.Namespace:
    """Parses the command line."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--dry-run", action="store_true", help="show the client's commands, send nothing")
    shared.add_argument("--yes", action="store_true", help="answer every question with yes")
    watching = argparse.ArgumentParser(add_help=False)
    watching.add_argument("--watch", action="store_true", help="continue until the kernel finishes")

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("push", parents=[shared], help="run the bundle in kernel/ on Kaggle")
    status = commands.add_parser("status", parents=[shared, watching],
                                 help="show whether the kernel is queued, running or finished")
    status.add_argument("--every", type=float, default=POLL_SECONDS, help="seconds between polls (default %(default)s)")
    commands.add_parser("log", parents=[shared, watching], help="show what the kernel printed")
    output = commands.add_parser("output", parents=[shared], help="fetch images.zip and the files beside it")
    output.add_argument("--out", type=home_path, default=Path("submission"), help="folder for the files (%(default)s)")
    submission = commands.add_parser("submit", parents=[shared], help="submit images.zip of the last pushed version")
    submission.add_argument("--message", default="", help="description of the submission")
    commands.add_parser("scores", parents=[shared], help="list the submissions and their scores")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None, root: Path = ROOT) -> int:
    """Runs the command in the checkout at `root`. Returns the exit status."""
    options = parse_options(argv)
    target = "scores" if options.command == "scores" else f"kernel-{options.command}"
    session = Session(f"make {target}", options.dry_run, options.yes, root)
    match options.command:
        case "push":
            push(session)
        case "status":
            return show_status(session, options.watch, options.every)
        case "log":
            show_log(session, options.watch)
        case "output":
            fetch_output(session, options.out)
        case "submit":
            submit(session, options.message)
        case "scores":
            show_scores(session)
    return 0


if __name__ == "__main__":
    sys.exit(run_tool(main, interrupted="Stopped. The kernel on Kaggle continues."))
