"""The command `report`: writes a run's page anew, and shows it in a browser."""

import os
import webbrowser
from pathlib import Path

from monet.core.config import MIN_IMAGES
from monet.core.errors import UserError, say
from monet.submission.check import check
from monet.training.report import image_count, write_report
from monet.training.run_files import RunFiles


def report_command(path: str) -> int:
    """`report`: writes the page of the run in the folder `path` anew.

    Raises:
        UserError: if there is no run, or the page cannot be written.
    """
    files = RunFiles(path)
    if not os.path.exists(files.config):
        raise UserError(f"{path} holds no run: there is no config.json. Name the folder that a run wrote (OUT).")
    problems = check(files.zip, min(image_count(files.zip), MIN_IMAGES)) if os.path.exists(files.zip) else None
    write_report(files, problems)
    print(f"The page of the run: {files.report}")
    return 0


def open_report(files: RunFiles) -> None:
    """Shows the page in a browser, or says that there is none."""
    if not webbrowser.open(Path(files.report).resolve().as_uri()):
        say(f"No browser was found on this machine. Open {files.report} with one.")
