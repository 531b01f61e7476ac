"""What a run needs before it can begin: names and sizes checked, what the data decides, and a folder of its own."""

import dataclasses
import math
import tempfile

import tensorflow as tf

from monet.accelerator import is_chief, spans_machines
from monet.augment import make_augmentation
from monet.checkpoint import check_unchanged
from monet.config import Config, pick
from monet.cut import Cut
from monet.cyclegan import CycleGan
from monet.losses import ADVERSARIAL_LOSSES, DISTANCES
from monet.networks import block_count, check_networks
from monet.records import Data
from monet.reporting import RunFiles, open_run, set_aside

SYSTEMS = {"cyclegan": CycleGan, "cut": Cut}


def writes_files(strategy: tf.distribute.Strategy) -> bool:
    """Whether this machine writes the run's files: all do but those of a cluster that are not its chief."""
    return is_chief() or not spans_machines(strategy)


def identity_of(data: Data, config: Config) -> dict:
    """What a checkpoint remembers of the data it saw: the same data in another folder is no other data."""
    return {"monet": data.monet.count, "photo": data.photo.count, "swap_sides": config.swap_sides}


def check_config(config: Config) -> None:
    """Raises UserError for names that there are not, and for networks that cannot be, before anything else is done."""
    pick(SYSTEMS, config.system, "system")
    check_networks(config)
    pick(ADVERSARIAL_LOSSES, config.adversarial_loss, "adversarial_loss")
    pick(ADVERSARIAL_LOSSES, config.discriminator_loss or config.adversarial_loss, "discriminator_loss")
    pick(DISTANCES, config.cycle_loss, "cycle_loss")
    make_augmentation(config)


def settled(config: Config, data: Data) -> Config:
    """The config with what it leaves to the data and to other settings: the steps of an epoch that shows each image of
    the larger set once, the residual blocks, and whether paintings are few enough to be augmented."""
    steps = math.ceil(max(data.monet.count, data.photo.count) / config.batch_size)
    many = config.augment_most and data.monet.count > config.augment_most
    return dataclasses.replace(config, steps_per_epoch=config.steps_per_epoch or steps,
                               residual_blocks=block_count(config), diffaugment="" if many else config.diffaugment)


def prepare_out(config: Config, data: Data, strategy: tf.distribute.Strategy) -> RunFiles:
    """Makes the run's folder and, before anything expensive is done, refuses one that holds another run.

    Of a cluster's machines only the chief writes to it; what the others write goes to a folder that nobody needs. They
    read the checkpoints.

    Raises:
        UserError: if `out` is a file or cannot be written, or holds a run that this one cannot go on from.
    """
    files = open_run(config.out)
    if config.resume:
        check_unchanged(files.checkpoints, config, identity_of(data, config))
    elif writes_files(strategy):
        set_aside(files)
    if writes_files(strategy):
        return files
    own = RunFiles(tempfile.mkdtemp(prefix="monet-"))
    own.checkpoints = files.checkpoints
    return own
