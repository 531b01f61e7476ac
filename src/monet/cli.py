"""The command line: `python -m monet run|train|generate|check|report|describe`."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from tqdm.contrib.logging import logging_redirect_tqdm

from monet.core.config import FIELDS, VERSION, Config, check_field_name
from monet.core.endings import hangup_terminates, run_quietly
from monet.core.errors import LOG, UserError
from monet.core.options import parse_field
from monet.core.presets import resolve_config
from monet.gan.systems import check_config
from monet.machine.cluster import explain_cluster_errors, open_cluster
from monet.submission.check import check
from monet.training.describe import describe_command
from monet.training.generate import DIRECTIONS, generate_command
from monet.training.report_command import open_report, report_command
from monet.training.run import train_command
from monet.training.run_files import RunFiles
from monet.training.salvage import run_or_salvage
from monet.training.session import Session, exit_status, session_of, start_logging


@dataclass(frozen=True)
class Command:
    """A command of the program.

    Attributes:
        help: what it does, in one line.
        execute: a function of the parsed arguments, the config and the start time, that returns the exit status.
        writes: whether it writes into the run's folder, and so into the run's log.
    """

    help: str
    execute: Callable[[argparse.Namespace, Config, float], int]
    writes: bool = True


def in_session(command: Callable[[Config, Session], int]) -> Callable[[argparse.Namespace, Config, float], int]:
    """Adapts a command that trains in a session to `Command.execute`; a closed terminal counts as SIGTERM."""
    def execute(arguments: argparse.Namespace, config: Config, started: float) -> int:
        with (hangup_terminates(), session_of(started, open_cluster(config)) as session,
              explain_cluster_errors()):
            return command(config, session)

    return execute


def check_command(path: str) -> int:
    """Prints what Kaggle would reject about a zip or a folder, and returns the exit status."""
    problems = check(path)
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{path}: no known reason for Kaggle to reject it")
    return 2 if problems else 0


COMMANDS = {
    "run": Command("train, paint the submission and check it", in_session(run_or_salvage)),
    "train": Command("train only: write checkpoints, history, preview and the exported generator",
                     in_session(train_command)),
    "generate": Command("paint the submission of a trained run, or any pictures", lambda arguments, config, started:
                        generate_command(config, arguments.images, arguments.weights, arguments.direction)),
    "check": Command("show what Kaggle would reject about a zip or a folder",
                     lambda arguments, config, started: check_command(arguments.path), writes=False),
    "report": Command("write the page of a run anew, report.html",
                      lambda arguments, config, started: report_command(arguments.path), writes=False),
    "describe": Command("show the settings, the sizes of the networks, the device and the data",
                        lambda arguments, config, started: describe_command(config), writes=False),
}
# Commands that take a path and no settings: what it is.
PATHS = {"check": "images.zip, or a folder that contains it or the images", "report": "the folder that the run wrote"}


class CommandLineParser(argparse.ArgumentParser):
    """An argument parser that raises UserError instead of exiting."""

    def error(self, message):
        """Raises UserError."""
        raise UserError(f"{message[0].upper()}{message[1:]}. See python -m monet --help.")


def make_parser() -> argparse.ArgumentParser:
    """Builds the parser; every field of Config is an option of every command that takes no path."""
    parser = CommandLineParser(prog="python -m monet", allow_abbrev=False, description="Turns photos into Monet "
                               "paintings with a CycleGAN and writes a submission for Kaggle's gan-getting-started.")
    parser.add_argument("--version", action="version", version=f"monet {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=CommandLineParser)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.help, description=command.help, allow_abbrev=False)
        if name in ("run", "report"):
            sub.add_argument("--open", action="store_true", help="show the run's page in a browser at the end")
        if name in PATHS:
            sub.add_argument("path", type=os.path.expanduser, help=PATHS[name])
            continue
        sub.add_argument("--config", default="", metavar="FILE", type=os.path.expanduser,
                         help="config.json of a run to take the settings from")
        if name == "generate":
            sub.add_argument("--images", default=[], nargs="+", action="extend", metavar="PATH",
                             type=os.path.expanduser, help="pictures, and folders of pictures, to paint")
            sub.add_argument("--weights", default="", metavar="FILE", type=os.path.expanduser,
                             help="generator that paints: photo_to_monet.npz, best.npz or a file in checkpoints/")
            sub.add_argument("--direction", default=DIRECTIONS[0], choices=DIRECTIONS,
                             help="generator that paints (default: %(default)s); monet_to_photo writes photos.zip")
        for field_name, field in FIELDS.items():
            sub.add_argument(f"--{field_name.replace('_', '-')}", dest=field_name, default=argparse.SUPPRESS,
                             metavar="VALUE", help=field.metadata["help"].replace("%", "%%"))
    return parser


def parse_command_line(argv: list[str]) -> tuple[argparse.Namespace, Config]:
    """Parses the words of a command line into the command with its arguments, and the config.

    Without --config and --preset, `generate` takes the config.json in --out if there is one.

    Raises:
        UserError: for unknown or invalid arguments and conflicting values.
    """
    arguments, unknown = make_parser().parse_known_args(argv)
    for option in unknown:
        if option.startswith("--") and arguments.command not in PATHS:
            check_field_name(option[2:].split("=")[0].replace("-", "_"))
        raise UserError(f"Unknown argument {option}. See python -m monet {arguments.command} --help.")
    overrides = {name: parse_field(name, text) for name, text in vars(arguments).items() if name in FIELDS}
    config_file = getattr(arguments, "config", "")
    if arguments.command == "generate" and not config_file and "preset" not in overrides:
        run_config = RunFiles(overrides.get("out", Config.out)).config
        config_file = run_config if os.path.exists(run_config) else ""
    if "epochs" in overrides and overrides.get("minutes"):
        raise UserError("--epochs and --minutes both say how long the run is. Give only one of them.")
    config = resolve_config(overrides, config_file)
    check_config(config)
    return arguments, config


def execute_command(arguments: argparse.Namespace, config: Config, started: float) -> int:
    """Executes the parsed command and returns the exit status."""
    command = COMMANDS[arguments.command]
    start_logging(config.out if command.writes and open_cluster(config).writes else "")
    with logging_redirect_tqdm([LOG]):
        status = command.execute(arguments, config, started)
    if getattr(arguments, "open", False):
        open_report(RunFiles(getattr(arguments, "path", config.out)))
    return status


def main(argv: list[str] | None = None, started: float | None = None) -> int:
    """Runs the command line `argv`.

    Args:
        argv: words after the program's name; default: the process's.
        started: `time.monotonic()` that --max-minutes counts from; default: now.

    Returns:
        The exit status: 0 for success, 2 for an error that the user can fix (printed on standard error), 130 after
        Ctrl-C.
    """
    argv = sys.argv[1:] if argv is None else argv
    started = time.monotonic() if started is None else started
    return exit_status(lambda: run_quietly(lambda: execute_command(*parse_command_line(argv), started)))
