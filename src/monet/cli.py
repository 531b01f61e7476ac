"""The command line: `python -m monet run|train|generate|check|describe`."""

import argparse
import os
import sys
import time

from tqdm.contrib.logging import logging_redirect_tqdm

from monet.core.config import FIELDS, VERSION, Config, check_field_name, parse_field
from monet.core.errors import LOG, UserError
from monet.core.presets import resolve_config
from monet.gan.systems import check_config
from monet.submission.check import check
from monet.training.describe import describe_command
from monet.training.generate import DIRECTIONS, generate_command
from monet.training.run import run_command, train_command
from monet.training.run_files import RunFiles
from monet.training.session import exit_status, session_of, start_logging


def check_command(path: str) -> int:
    """`check`: says what Kaggle would refuse about a zip or a folder."""
    problems = check(path)
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{path}: nothing that Kaggle is known to refuse")
    return 2 if problems else 0


# By name: what each does, in the words of its docstring.
COMMANDS = {"run": run_command, "train": train_command, "generate": generate_command, "check": check_command,
            "describe": describe_command}


class PoliteParser(argparse.ArgumentParser):
    """An argument parser whose refusals are UserErrors like all others."""

    def error(self, message):
        """Raises UserError."""
        raise UserError(f"{message[0].upper()}{message[1:]}. See python -m monet --help.")


def make_parser() -> argparse.ArgumentParser:
    """The parser of every command; each field of Config is an option of the commands that have a config."""
    parser = PoliteParser(prog="python -m monet", description=__doc__, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"monet {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=PoliteParser)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.__doc__.split(": ", 1)[1], description=command.__doc__,
                                  allow_abbrev=False)
        if name == "check":
            sub.add_argument("path", help="images.zip, or a folder with it or with the pictures")
            continue
        sub.add_argument("--config", default="", metavar="FILE", help="config.json of a run to take the settings from")
        if name == "generate":
            sub.add_argument("--images", default="", metavar="PATH", help="a picture or a folder of pictures to paint")
            sub.add_argument("--weights", default="", metavar="FILE", help="exported generator (photo_to_monet.npz)")
            sub.add_argument("--direction", default=DIRECTIONS[0], choices=DIRECTIONS,
                             help="which generator paints (default: %(default)s); monet_to_photo writes photos.zip")
        for field, spec in FIELDS.items():
            sub.add_argument(f"--{field.replace('_', '-')}", dest=field, default=argparse.SUPPRESS, metavar="VALUE",
                             help=spec.metadata["help"].replace("%", "%%"))
    return parser


def parse_command_line(argv: list[str]) -> tuple[argparse.Namespace, Config]:
    """The command with its own arguments, and the config.

    Raises:
        UserError: for anything unknown, malformed or contradictory.
    """
    arguments, unknown = make_parser().parse_known_args(argv)
    for option in unknown:
        if option.startswith("--") and arguments.command != "check":
            check_field_name(option[2:].split("=")[0].replace("-", "_"))
        raise UserError(f"{option} is not understood here. See python -m monet {arguments.command} --help.")
    overrides = {name: parse_field(name, text) for name, text in vars(arguments).items() if name in FIELDS}
    config_file = getattr(arguments, "config", "")
    if arguments.command == "generate" and not config_file and "preset" not in overrides:
        of_run = RunFiles(overrides.get("out", Config.out)).config
        config_file = of_run if os.path.exists(of_run) else ""
    config = resolve_config(overrides, config_file)
    check_config(config)
    return arguments, config


def carry_out(arguments: argparse.Namespace, config: Config, started: float) -> int:
    """Carries out the command that was parsed, and returns its exit status."""
    command = arguments.command
    start_logging(config.out if command in ("run", "train", "generate") else "")
    if command in ("run", "train"):
        with session_of(started) as session:
            return COMMANDS[command](config, session)
    with logging_redirect_tqdm([LOG]):
        if command == "check":
            return check_command(arguments.path)
        if command == "generate":
            return generate_command(config, arguments.images, arguments.weights, arguments.direction)
        return describe_command(config)


def main(argv: list[str] | None = None, started: float | None = None) -> int:
    """Runs the command that `argv` (default: the process's) names.

    Args:
        argv: the words after the program's name.
        started: `time.monotonic()` that --max-minutes counts from; default: now.

    Returns:
        The exit status: 0 done, 2 a mistake that the user can mend (said on standard error), 130 interrupted.
    """
    started = time.monotonic() if started is None else started
    return exit_status(lambda: carry_out(*parse_command_line(sys.argv[1:] if argv is None else argv), started))
