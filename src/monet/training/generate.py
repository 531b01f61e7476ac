"""The command `generate`: a trained generator paints the submission, or any pictures."""

import dataclasses
import os

import tensorflow as tf
from tensorflow import keras

from monet.core.config import MAX_IMAGES, Config
from monet.core.errors import LOG, UserError
from monet.data.records import Data
from monet.machine.devices import choose_strategy, set_precision
from monet.networks.build import build_generator
from monet.networks.generators import size_multiple
from monet.submission.images_zip import generate_submission
from monet.submission.painter import make_painter
from monet.submission.pictures import paint_files
from monet.training.checkpoint import import_network, list_checkpoints, restore_network
from monet.training.run import hand_in, open_data
from monet.training.run_files import RunFiles
from monet.training.selection import restore_best

DIRECTIONS = ("photo_to_monet", "monet_to_photo")


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
    count = config.num_images or min(data.monet.count, MAX_IMAGES)
    generate_submission(paint, data.monet, path, dataclasses.replace(config, num_images=count))
    LOG.info("Wrote %s with %d images", path, count)
    return 0


def generate_command(config: Config, images: str = "", weights: str = "", direction: str = DIRECTIONS[0]) -> int:
    """`generate`: the submission of a trained run, or any pictures painted."""
    strategy = choose_strategy(config, alone=True)
    generator = trained_generator(config, weights, direction, strategy)
    paint = make_painter(generator, config.paint_margin, strategy)
    if not images:
        use = hand_in if direction == DIRECTIONS[0] else paint_back
        return use(paint, open_data(config), config)
    folder = os.path.join(config.out, "painted" if direction == DIRECTIONS[0] else "painted-back")
    multiple = size_multiple(config)
    multiple *= 1 + config.paint_margin // multiple  # mirroring needs a picture larger than the margin
    painted = paint_files(paint, images, folder, config, multiple)
    LOG.info("Wrote %d picture(s) to %s", len(painted), folder)
    return 0
