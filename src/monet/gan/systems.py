"""The systems by name, and the check of a config's names before anything is built."""

from monet.core.config import Config, look_up
from monet.gan.adaptive import make_controller
from monet.gan.cut import Cut
from monet.gan.cyclegan import CycleGan
from monet.gan.diffaugment import make_augmentation
from monet.gan.gradient_penalty import make_penalty
from monet.gan.image_pool import POOLS
from monet.gan.instance_noise import make_noise
from monet.gan.loss_scale import LOSS_SCALES
from monet.gan.losses import ADVERSARIAL_LOSSES, DISTANCES
from monet.networks.build import check_networks

SYSTEMS = {"cyclegan": CycleGan, "cut": Cut}


def check_config(config: Config) -> None:
    """Raises UserError for unknown names and for networks that cannot be built; builds nothing."""
    look_up(SYSTEMS, config.system, "system")
    check_networks(config)
    look_up(ADVERSARIAL_LOSSES, config.adversarial_loss, "adversarial_loss")
    look_up(ADVERSARIAL_LOSSES, config.discriminator_loss or config.adversarial_loss, "discriminator_loss")
    look_up(DISTANCES, config.cycle_loss, "cycle_loss")
    look_up(POOLS, config.image_pool > 0, "image_pool")
    look_up(LOSS_SCALES, config.precision == "float16", "precision")
    make_augmentation(config)
    make_controller(config)
    make_noise(config)
    make_penalty(config)


def build_system(config: Config):
    """The system that the settled `config` names; build it inside the scope of the strategy that trains it.

    Raises:
        UserError: for an unknown name, or a size that a network cannot take.
    """
    return look_up(SYSTEMS, config.system, "system")(config)
