"""What a run needs before it can begin: names and sizes checked, what the data decides, and a folder of its own."""

import dataclasses
import math

from monet.core.config import Config, look_up
from monet.data.records import Data
from monet.gan.cut import Cut
from monet.gan.cyclegan import CycleGan
from monet.gan.diffaugment import make_augmentation
from monet.gan.losses import ADVERSARIAL_LOSSES, DISTANCES
from monet.networks.build import check_networks
from monet.networks.generators import block_count

SYSTEMS = {"cyclegan": CycleGan, "cut": Cut}


def check_config(config: Config) -> None:
    """Raises UserError for names that there are not, and for networks that cannot be, before anything else is done."""
    look_up(SYSTEMS, config.system, "system")
    check_networks(config)
    look_up(ADVERSARIAL_LOSSES, config.adversarial_loss, "adversarial_loss")
    look_up(ADVERSARIAL_LOSSES, config.discriminator_loss or config.adversarial_loss, "discriminator_loss")
    look_up(DISTANCES, config.cycle_loss, "cycle_loss")
    make_augmentation(config)


def settled(config: Config, data: Data) -> Config:
    """The config with what it leaves to the data and to other settings: the steps of an epoch that shows each image of
    the larger set once, the residual blocks, and whether paintings are few enough to be augmented."""
    steps = math.ceil(max(data.monet.count, data.photo.count) / config.batch_size)
    many = config.augment_most and data.monet.count > config.augment_most
    return dataclasses.replace(config, steps_per_epoch=config.steps_per_epoch or steps,
                               residual_blocks=block_count(config), diffaugment="" if many else config.diffaugment)
