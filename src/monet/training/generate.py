"""The command `generate`: a trained generator paints the submission, or any pictures."""

import contextlib
import dataclasses
import os
from collections.abc import Sequence

from tensorflow import keras

from monet.core.array_files import UNREADABLE, read_arrays
from monet.core.config import MAX_IMAGES, Config
from monet.core.errors import LOG, UserError
from monet.core.keras_compat import weight_names
from monet.data.records import Data
from monet.machine.devices import device_of, set_precision
from monet.networks.build import build_generator
from monet.networks.generators import size_multiple
from monet.submission.images_zip import generate_submission
from monet.submission.pictures import paint_files
from monet.training.arrays import assign_arrays
from monet.training.best_generator import BEST_META, restore_best
from monet.training.checkpoint import META_NAME, list_checkpoints, painting_weights, restore_network
from monet.training.engines import choose_devices, make_device_painter, own_strategy
from monet.training.run import hand_in, open_data
from monet.training.run_files import RunFiles
from monet.training.run_lock import only_writer
from monet.training.settled import settled

DIRECTIONS = ("photo_to_monet", "monet_to_photo")


def trained_generator(config: Config, weights: str, direction: str, devices) -> keras.Model:
    """The trained generator `direction`, from the first of these that exists:

    the file `weights`, if one is named, here or in the run's folder; the best generator that the run in `config.out`
    kept, if it selects; its newest checkpoint; its exported generator.

    Raises:
        UserError: if there is no such generator, file or run, or it does not fit the config.
    """
    forward = direction == DIRECTIONS[0]
    check_direction(config, weights, direction)
    set_precision(config.precision)
    with own_strategy(devices).scope():
        generator = build_generator(config, direction)
    files, inside = RunFiles(config.out), os.path.join(config.out, weights)
    if not os.path.exists(weights) and os.path.isfile(inside):
        weights = inside
    if not weights and forward and config.select_by != "last" and os.path.exists(files.best):
        restore_best(generator, files.best)
        return generator
    exported = files.generator if forward and os.path.exists(files.generator) else ""
    if not weights and (list_checkpoints(files.checkpoints) or not exported):
        restore_network(files.checkpoints, generator)
        return generator
    import_network(generator, weights or exported)
    LOG.info("Painting with %s", weights or exported)
    return generator


def check_direction(config: Config, weights: str, direction: str) -> None:
    """Raises UserError if the system has no generator `direction`, or `weights` is named like the other one."""
    if config.system == "cut" and direction != DIRECTIONS[0]:
        raise UserError(f"--direction {direction}: --system cut learns only to paint photos. Train another "
                        "--preset for the way back.")
    other = DIRECTIONS[direction == DIRECTIONS[0]]
    if os.path.basename(weights).startswith(other):
        raise UserError(f"--weights {weights} is named like the generator {other}, but --direction is {direction}. "
                        "Give the other file, or the other direction.")


def paint_photos(paint, data: Data, config: Config) -> int:
    """Paints a photo of every painting into photos.zip, and returns the exit status."""
    path = RunFiles(config.out).photos
    count = config.num_images or min(data.monet.count, MAX_IMAGES)
    generate_submission(paint, data.monet, path, dataclasses.replace(config, num_images=count))
    LOG.info("Wrote %s with %d images", path, count)
    return 0


def generate_command(config: Config, images: Sequence[str] = (), weights: str = "",
                     direction: str = DIRECTIONS[0]) -> int:
    """`generate`: paint the submission with a trained generator, or paint any pictures.

    A zip is not written while a run writes into the same folder, which will write its own. Pictures are painted.

    Args:
        config: gives the network, the data and the run's folder.
        images: pictures, and folders of pictures, to paint; empty: the submission.
        weights: an exported generator, a run's best.npz or a checkpoint; empty: the newest of the run in `config.out`.
        direction: one of `DIRECTIONS`; monet_to_photo writes photos.zip.
    """
    with contextlib.nullcontext() if images else only_writer(config.out):
        devices = choose_devices(config)
        config = settled(config, device_of(devices))
        generator = trained_generator(config, weights, direction, devices)
        paint = make_device_painter(generator, config, devices, any_size=bool(images))
        forward = direction == DIRECTIONS[0]
        if not images:
            data = open_data(dataclasses.replace(config, hold_out=0.0))  # every painting can be made a photo
            return (hand_in if forward else paint_photos)(paint, data, config)
        folder = os.path.join(config.out, "painted" if forward else "painted-back")
        multiple = size_multiple(config)
        multiple *= 1 + config.paint_margin // multiple  # mirroring needs a picture larger than the margin
        painted = paint_files(paint, images, folder, config, multiple)
        LOG.info("Wrote %d picture(s) to %s", len(painted), folder)
        return 0


def import_network(network: keras.Model, path: str) -> None:
    """Loads into `network` what `export_network` or a `Selection` wrote, or the network of that name in a checkpoint,
    under either version of Keras.

    Raises:
        UserError: if the file cannot be read, or does not fit; the first array that differs is named.
    """
    try:
        arrays = read_arrays(path)
    except UNREADABLE as error:
        raise UserError(f"{path} is no generator and no checkpoint ({error}). Give an .npz file that a run "
                        "wrote.") from None
    if META_NAME in arrays:
        prefix = f"{network.name}/"
        arrays = painting_weights({name.removeprefix(prefix): array for name, array in arrays.items()
                                   if name.startswith(prefix)})
    arrays.pop(BEST_META, None)
    assign_arrays(weight_names(network), arrays, path)
