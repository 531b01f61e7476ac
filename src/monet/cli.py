"""The command line: `python -m monet run|train|generate|check|describe`."""

import argparse
import contextlib
import dataclasses
import logging
import os
import signal
import sys
import time
from collections.abc import Callable

import tensorflow as tf
from tensorflow import keras
from tqdm.contrib.logging import logging_redirect_tqdm

from monet.core.config import FEWEST_IMAGES, FIELDS, MOST_IMAGES, VERSION, Config, check_field_name, parse_field
from monet.core.errors import LOG, UserError
from monet.core.presets import resolve_config
from monet.data.records import Data
from monet.data.validation import find_data
from monet.gan.systems import SYSTEMS, check_config
from monet.machine.cluster import cluster_explained, is_chief
from monet.machine.devices import choose_strategy, devices_found, set_precision
from monet.machine.kaggle_machine import find_kaggle_mount
from monet.networks.build import build_generator, parameter_count
from monet.networks.generators import size_multiple
from monet.submission.check import check
from monet.submission.images_zip import generate_submission, rehearse_submission
from monet.submission.painter import make_painter
from monet.submission.pictures import paint_files
from monet.training.checkpoint import import_network, list_checkpoints, restore_network
from monet.training.deadline import Interrupted, signal_noted
from monet.training.run_files import RunFiles, open_run
from monet.training.selection import restore_best
from monet.training.trainer import Trainer

DIRECTIONS = ("photo_to_monet", "monet_to_photo")
TERMINATED = "Told to terminate: finishing what there is; the next signal kills"
LOCAL_DATA = os.path.join("data", "gan-getting-started")


def open_data(config: Config) -> Data:
    """The images that `config.data` names; empty: data/gan-getting-started, else Kaggle's mount.

    Raises:
        UserError: if there are none, or they cannot be used.
    """
    root = config.data or (LOCAL_DATA if os.path.isdir(LOCAL_DATA) else find_kaggle_mount())
    if not root:
        raise UserError(f"No images were named and {LOCAL_DATA} is not there. Give --data FOLDER, or use "
                        "`make local-train`, which downloads them or draws a sample.")
    data = find_data(root, config.swap_sides)
    LOG.info("Data: %s", data.describe())
    return data


def hand_in(paint, data: Data, config: Config) -> int:
    """Paints and zips the submission, checks it, and returns the exit status."""
    path = RunFiles(config.out).zip
    count = generate_submission(paint, data.photo, path, config)
    problems = check(path, fewest=min(count, FEWEST_IMAGES))
    for problem in problems:
        LOG.error("%s", problem)
    if count < FEWEST_IMAGES:
        LOG.warning("%s has %d images, for trying out: Kaggle refuses fewer than %d", path, count, FEWEST_IMAGES)
    LOG.info("Wrote %s with %d images, %.0f MB", path, count, os.path.getsize(path) / 1e6)
    return 2 if problems else 0


def train(config: Config, arguments: argparse.Namespace, rehearsal: Callable | None = None) -> Trainer:
    """Trains as the command line asks, and returns the trainer.

    Args:
        config: the run.
        arguments: of the command line.
        rehearsal: a function of (paint, photos, config) to the seconds that are needed after training.
    """
    deadline = arguments.started + 60 * config.max_minutes if config.max_minutes else None
    with cluster_explained():
        strategy = choose_strategy(config)
        trainer = Trainer(config, open_data(config), strategy, deadline, rehearsal, arguments.terminated)
        trainer.fit()
        return trainer


def run_command(config: Config, arguments: argparse.Namespace) -> int:
    """`run`: train, generate, check."""
    trainer = train(config, arguments, rehearse_submission)
    if not trainer.writes:
        LOG.info("Done: the chief of the cluster paints")
        return 0
    status = hand_in(trainer.paint, trainer.data, config)
    LOG.info("Photos beside their paintings: %s", trainer.files.preview)
    return status


def train_command(config: Config, arguments: argparse.Namespace) -> int:
    """`train`: checkpoints, history, preview and the exported generator, no submission."""
    trainer = train(config, arguments)
    LOG.info("Wrote %s and %s", trainer.files.generator, trainer.files.preview)
    return 0


def trained_generator(config: Config, weights: str, direction: str, strategy: tf.distribute.Strategy) -> keras.Model:
    """The generator `direction` with the weights of the file `weights`; if no file is named, of the best that the run
    in `config.out` kept, if it was to; else of its newest checkpoint; or of its exported generator, if it has none.

    Raises:
        UserError: if there is no such generator, file or run, or it does not fit the config.
    """
    if config.system == "cut" and direction != DIRECTIONS[0]:
        raise UserError(f"--direction {direction}: --system cut learns only the way from photos to paintings. Train "
                        "another --preset for the way back.")
    other = DIRECTIONS[direction == DIRECTIONS[0]]
    if os.path.basename(weights).startswith(other):
        raise UserError(f"--weights {weights} is by its name the generator {other}, but --direction says {direction}. "
                        "Give the other file, or the other direction.")
    set_precision(config, strategy)
    with strategy.scope():
        generator = build_generator(config, direction)
    files = RunFiles(config.out)
    if not weights and config.select_by != "last" and direction == DIRECTIONS[0] and os.path.exists(files.best):
        restore_best(generator, files.best)
        return generator
    exported = files.generator if direction == DIRECTIONS[0] and os.path.exists(files.generator) else ""
    if not weights and (list_checkpoints(files.checkpoints) or not exported):
        restore_network(files.checkpoints, generator)
        return generator
    import_network(generator, weights or exported)
    LOG.info("Painting with %s", weights or exported)
    return generator


def paint_back(paint, data: Data, config: Config) -> int:
    """Makes a photo of every painting, into photos.zip, and returns the exit status."""
    path = RunFiles(config.out).photos
    count = config.num_images or min(data.monet.count, MOST_IMAGES)
    generate_submission(paint, data.monet, path, dataclasses.replace(config, num_images=count))
    LOG.info("Wrote %s with %d images", path, count)
    return 0


def generate_command(config: Config, arguments: argparse.Namespace) -> int:
    """`generate`: the submission of a trained run, or any pictures painted."""
    strategy = choose_strategy(config, alone=True)
    generator = trained_generator(config, arguments.weights, arguments.direction, strategy)
    paint = make_painter(generator, config.paint_margin, strategy)
    if not arguments.images:
        use = hand_in if arguments.direction == DIRECTIONS[0] else paint_back
        return use(paint, open_data(config), config)
    folder = os.path.join(config.out, "painted" if arguments.direction == DIRECTIONS[0] else "painted-back")
    multiple = size_multiple(config)
    multiple *= 1 + config.paint_margin // multiple  # mirroring needs a picture larger than the margin
    painted = paint_files(paint, arguments.images, folder, config, multiple)
    LOG.info("Wrote %d picture(s) to %s", len(painted), folder)
    return 0


def check_command(config: Config, arguments: argparse.Namespace) -> int:
    """`check`: says what Kaggle would refuse about a zip or a folder."""
    problems = check(arguments.path)
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{arguments.path}: nothing that Kaggle is known to refuse")
    return 2 if problems else 0


def describe_command(config: Config, arguments: argparse.Namespace) -> int:
    """`describe`: the resolved config, the networks' sizes, the device and the data."""
    for name, value in dataclasses.asdict(config).items():
        mark = " " if value == FIELDS[name].default else "*"
        print(f"{mark} {name:22} {value!s:12} {FIELDS[name].metadata['help']}")
    print("(* not the tutorial's value)\n")
    strategy = choose_strategy(config, alone=True)
    precision = set_precision(config, strategy)
    for name, network in SYSTEMS[config.system](config).networks.items():
        print(f"{name:22} {parameter_count(network):>12,} parameters")
    print(f"device                 {strategy.num_replicas_in_sync} of {devices_found()}, {precision}")
    try:
        print(f"data                   {open_data(config).describe()}")
    except UserError as error:
        if config.data:
            raise
        print(f"data                   none: {error}")
    return 0


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
        for field, knob_field in FIELDS.items():
            sub.add_argument(f"--{field.replace('_', '-')}", dest=field, default=argparse.SUPPRESS, metavar="VALUE",
                             help=knob_field.metadata["help"].replace("%", "%%"))
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


def start_logging(arguments: argparse.Namespace, config: Config) -> None:
    """Logs to standard error and, for the commands that write to `out`, to out/run.log.

    Raises:
        UserError: if that folder cannot be written.
    """
    LOG.setLevel(logging.INFO)
    LOG.handlers.clear()
    logging.raiseExceptions = False  # a full disk ends the run with a sentence, not with tracebacks of the log
    LOG.addHandler(logging.StreamHandler())
    if arguments.command in ("run", "train", "generate") and is_chief():
        to_file = logging.FileHandler(open_run(config.out).log, encoding="utf-8")
        to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        LOG.addHandler(to_file)


def ended(message: str, status: int) -> int:
    """Says how the command ended, in the run's log too if it has one, and returns its exit status."""
    if LOG.handlers:
        LOG.error("%s", message)
    else:
        print(message, file=sys.stderr)
    return status


def main(argv: list[str] | None = None, started: float | None = None) -> int:
    """Runs the command that `argv` (default: the process's) names.

    Args:
        argv: the words after the program's name.
        started: `time.monotonic()` that --max-minutes counts from; default: now.

    Returns:
        The exit status: 0 done, 2 a mistake that the user can mend (said on standard error), 130 interrupted.
    """
    started = time.monotonic() if started is None else started
    LOG.handlers.clear()
    try:
        arguments, config = parse_command_line(sys.argv[1:] if argv is None else argv)
        arguments.started = started
        start_logging(arguments, config)
        trains = arguments.command in ("run", "train")
        noted = signal_noted(signal.SIGTERM, TERMINATED) if trains else contextlib.nullcontext(())
        with logging_redirect_tqdm([LOG]), noted as arguments.terminated:
            return COMMANDS[arguments.command](config, arguments)
    except UserError as error:
        return ended(f"error: {error}", 2)
    except tf.errors.ResourceExhaustedError:
        return ended("error: The device's memory is full. Give a smaller --batch-size, --image-pool or --nce-patches, "
                     "or fewer --generator-filters.", 2)
    except OSError as error:
        return ended(f"error: {error.filename or 'The system'}: {error.strerror or error}. Free some space or give a "
                     "folder that can be used, then start again: it goes on from the newest checkpoint.", 2)
    except Interrupted:
        return ended("Stopped and saved: the same command goes on from there.", 130)
    except KeyboardInterrupt:
        return ended("Interrupted.", 130)
