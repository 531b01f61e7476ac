"""A smoke run: all that a full run does, on a tiny schedule and few images, and a table of what it found.

It tells in minutes whether the machine, the data, the engine and the zip work, and how long the full run would take.
"""

import dataclasses
import json
import math
import time

from monet.core.config import Config
from monet.core.errors import LOG, UserError
from monet.core.files import atomic_write
from monet.core.presets import has_presets_minutes
from monet.data.hold_out import whole_monet
from monet.machine.devices import devices_found
from monet.machine.kaggle_machine import has_internet, table_text
from monet.submission.check import check
from monet.submission.images_zip import generate_submission, rehearse_submission
from monet.training.deadline import PAINT_RESERVE, SPARE
from monet.training.readings import READ_EVERY
from monet.training.run import trained
from monet.training.session import Session
from monet.training.settled import settled
from monet.training.trainer import Trainer

SMOKE_STEPS = 3 * READ_EVERY  # the first reading includes compiling, the last tells the time of a step
SMOKE_IMAGES = 64
SMOKE_MINUTES = 25.0  # limit of the whole run: the environment, compiling, and less than five for the rest
MINUTES_MARGIN = 1.15  # of the proposed --max-minutes, over the estimate


def smoke_config(config: Config, out: str) -> Config:
    """The config of a smoke run of `config`, which writes to the folder `out`."""
    return dataclasses.replace(config, minutes=0.0, epochs=1, steps_per_epoch=SMOKE_STEPS, num_images=SMOKE_IMAGES,
                               select_photos=SMOKE_IMAGES, max_minutes=SMOKE_MINUTES, out=out)


@dataclasses.dataclass(frozen=True)
class FullRun:
    """What the full run would take, from a smoke run's times.

    Attributes:
        config: its config, settled; max_minutes is its time limit.
        start: seconds from the kernel's start to the end of the first call.
        step: seconds of a step.
        painting: seconds to paint, zip and check all images.
    """

    config: Config
    start: float
    step: float
    painting: float

    @property
    def minutes(self) -> float:
        """Minutes that it needs to make all its steps."""
        steps = (1 + SPARE) * (60 * self.config.minutes or self.step * self.config.total_steps)
        needed = (self.start + steps + PAINT_RESERVE * self.painting) / 60
        return min(needed, self.config.max_minutes) if has_presets_minutes(self.config) else needed

    def shorter(self) -> str:
        """The option that makes it fit into its time limit; empty if it does as it is."""
        run = self.config
        left = 60 * run.max_minutes * (1 - SPARE) - self.start - PAINT_RESERVE * self.painting
        if run.minutes:
            fitting = max(1, int(left / (1 + SPARE) / 60))
            return f" --minutes {fitting}" if fitting < run.minutes and not has_presets_minutes(run) else ""
        fitting = max(1, int(left / self.step / run.steps_per_epoch))
        return f" --epochs {fitting}" if fitting < run.epochs else ""

    def describe(self) -> str:
        """The estimate in words."""
        steps = f"{self.config.total_steps:,}" if self.config.total_steps else "the"
        text = f"{self.minutes:.0f} minutes, for {steps} steps and all images"
        return text + (f"; the limit of {self.config.max_minutes:g} ends it earlier" if self.shorter() else "")

    def options(self) -> str:
        """Settings for the full run: a time limit, and fewer epochs or minutes if all do not fit into the longest."""
        minutes = min(math.ceil(MINUTES_MARGIN * self.minutes), self.config.max_minutes)
        return f"--max-minutes {minutes:g}{self.shorter()}"


def full_run_of(trainer: Trainer, full: Config, started: float) -> FullRun:
    """Estimates the full run.

    Args:
        trainer: of the smoke run, after its training.
        full: the full run's config, as asked.
        started: `time.monotonic()` at the kernel's start.
    """
    run = settled(full, trainer.engine.device, trainer.data)
    painting = rehearse_submission(trainer.paint, trainer.data.photo, run)
    return FullRun(run, trainer.pace.started - started, trainer.clock.seconds["step"], painting)


def weights_found(trainer: Trainer) -> str:
    """Whether the run found the weights that score its checkpoints."""
    if trainer.config.select_by == "last":
        return "not needed for --select-by last"
    if trainer.config.select_by == "best":
        return "used" if trainer.selection.judge.inception else "not used: colours are compared"
    return "found" if trainer.selection else "not found: no checkpoint is scored"


def findings(trainer: Trainer, full_run: FullRun, ready: float, painted: int, problems: list[str]) -> list[list[str]]:
    """The rows of the table: what the smoke run found.

    Args:
        trainer: of the smoke run.
        full_run: the estimate.
        ready: seconds from the kernel's start until TensorFlow was loaded.
        painted: images in the zip.
        problems: from `check`.
    """
    run, device, step = trainer.config, trainer.engine.device, full_run.step
    return [
        ["device", f"{device.count} {device.kind} (found: {devices_found()})"],
        ["engine", f"{trainer.engine.name}, {run.precision}, XLA {trainer.engine.config.xla}"],
        ["machine ready", f"{ready:.0f} s after the start, environment included"],
        ["first step", f"{full_run.start:.0f} s after the start; compiling and the first call took "
                       f"{trainer.clock.seconds['first call']:.0f} s"],
        ["a step", f"{1000 * step:.0f} ms, {run.batch_size / step:.0f} pairs a second"],
        ["images", f"{whole_monet(trainer.data).count:,} paintings and {trainer.data.photo.count:,} photos found, "
                   f"{painted} photos painted"],
        ["zip", " ".join(problems) or "checked, nothing to reject but their number"],
        ["internet", "on" if has_internet() else "off"],
        ["Inception's weights", weights_found(trainer)],
        ["the full run", full_run.describe()],
    ]


def smoke_command(full: Config, session: Session, out: str, report: str) -> int:
    """Makes a smoke run, prints its table and writes that to the file `report`. Returns the exit status.

    Args:
        full: the full run's config.
        session: this start of the program.
        out: an empty folder for what it trains and paints.
        report: path of a JSON file: the table's rows, and the options that are proposed for the full run.

    Raises:
        UserError: if no step could be made in time, or the run fails.
    """
    ready, config = time.monotonic() - session.started, smoke_config(full, out)
    trainer = trained(config, session, hands_in=True)
    if trainer.pace.started is None:
        raise UserError(f"No step was made within the smoke run's {SMOKE_MINUTES:g} minutes. The log says what took so "
                        "long. Push it again, or try another ACCELERATOR.")
    painted = generate_submission(trainer.paint, trainer.data.photo, trainer.files.zip, config,
                                  monet=trainer.data.monet)
    problems = check(trainer.files.zip, fewest=painted)
    full_run = full_run_of(trainer, full, session.started)
    rows = findings(trainer, full_run, ready, painted, problems)
    with atomic_write(report) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump({"rows": rows, "options": full_run.options()}, file, indent=2)
    LOG.info("The smoke run is over.\n%s\nThe full run: ARGS=\"%s\"", table_text(rows), full_run.options())
    return 2 if problems else 0
