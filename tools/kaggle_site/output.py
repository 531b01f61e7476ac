"""`kaggle_kernel.py output`: fetches what the kernel wrote."""

import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from kaggle_site.session import Session

from monet.core.errors import UserError, say
from monet.machine.kaggle_machine import SMOKE_REPORT, table_text

FETCH_TIMEOUT = 3600  # seconds for a kernel's whole output; the client shows no progress
# Files come from another host than answers, by addresses that expire.
FILE_ERRORS = ((r"40[34] Client Error[^\n]*for url: (?!\S*/api/v1/)",
                "Kaggle's address of a file is no longer valid ({line}). Run `{retry}` again."),)
FILES = (SMOKE_REPORT, "images.zip", "history.csv", "preview.jpg", "photo_to_monet.npz", "config.json", "report.html",
         "report.json", "run.log")
PREVIEWS = "previews"  # folder


def fetch_output(session: Session, out: Path) -> None:
    """Fetches `FILES` from the kernel's output into the folder `out`, if images.zip is valid.

    After a smoke run, shows its table instead.

    Raises:
        UserError: if Kaggle refuses, or images.zip is missing or invalid. `out` is unchanged then.
    """
    kernel_id = session.kernel_id()
    pattern = f"^({'|'.join(re.escape(name) for name in FILES)}|{PREVIEWS}/step-[0-9]+[.]jpg)$"
    with tempfile.TemporaryDirectory(prefix="monet-output-") as folder:
        if not session.dry_run:
            say("Fetching a few hundred MB from Kaggle. The client shows no progress.")
        session.ask(["kernels", "output", kernel_id, "-p", folder, "--file-pattern", pattern], FETCH_TIMEOUT,
                    FILE_ERRORS)
        if session.dry_run:
            return
        names = [name for name in (*FILES, PREVIEWS) if os.path.exists(os.path.join(folder, name))]
        if SMOKE_REPORT in names:
            show_smoke_report(Path(folder) / SMOKE_REPORT)
            return
        check_images_zip(Path(folder), kernel_id, out)
        set_local_run_aside(out)
        out.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(out / PREVIEWS, ignore_errors=True)  # of the run that was fetched before
        for name in names:
            shutil.move(os.path.join(folder, name), out / name)
    say(f"Fetched into {out}: {', '.join(names)}. images.zip passes every check known here.\n"
        f"To score it here: python tools/mifid.py {os.path.join(out, '')}\n"
        'To have Kaggle score it: make kernel-submit MSG="…"')


def show_smoke_report(path: Path) -> None:
    """Prints what a smoke run found, and the options for the full run.

    Raises:
        UserError: if it is not such a report.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        print(table_text(report["rows"]))
        say(f"The full run: the same command without SMOKE=1, and with ARGS=\"{report['options']}\".")
    except (ValueError, LookupError, TypeError):
        raise UserError("The smoke run's report is damaged. Run `make kernel-output` again; `make kernel-log` shows "
                        "the table, too.") from None


def check_images_zip(folder: Path, kernel_id: str, out: Path) -> None:
    """Checks the images.zip in `folder`.

    Raises:
        UserError: if it is missing, or Kaggle would refuse it.
    """
    if not (folder / "images.zip").exists():
        raise UserError(f"The last run of {kernel_id} left no images.zip. `make kernel-status` shows whether it has "
                        "finished, `make kernel-log` what it printed.")
    from monet.submission.check import check  # here, because TensorFlow takes seconds to load

    problems = check(str(folder / "images.zip"))
    if problems:
        raise UserError(f"images.zip of {kernel_id} cannot be submitted, and nothing in {out} was changed. "
                        f"{' '.join(problems)} `make kernel-log` shows what the kernel printed.")


def set_local_run_aside(out: Path) -> None:
    """Moves a run that was trained on this machine into a subfolder of `out`."""
    from monet.training.run_files import RunFiles, set_aside  # here, because TensorFlow takes seconds to load

    files = RunFiles(str(out))
    if os.path.isdir(files.checkpoints):
        set_aside(files)
        say(f"The run in {out} that was trained here is now in its subfolder previous-….")
