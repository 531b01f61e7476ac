"""Generators and discriminators by name, and checks that they can be built."""

import dataclasses

from tensorflow import keras

from monet.core.config import SUBMISSION_SIZE, Config, look_up
from monet.core.errors import UserError
from monet.core.keras_compat import reset_keras
from monet.networks.discriminators import (
    discriminator_halving,
    patch_discriminator,
    strided_discriminator,
    two_objective_discriminator,
)
from monet.networks.generators import residual_unet_generator, resnet_generator, size_multiple, unet_generator
from monet.networks.layers import DOUBLINGS, NORMS
from monet.networks.tiled_layers import tiled_layers

GENERATORS = {"unet": unet_generator, "resnet": resnet_generator, "residual_unet": residual_unet_generator}
DISCRIMINATORS = {"patch": patch_discriminator, "strided": strided_discriminator,
                  "two_objective": two_objective_discriminator}


def most_levels(config: Config, size: int) -> int:
    """How often the config's U-Net can halve a picture of `size` pixels a side."""
    levels = range(1, config.generator_levels)
    fits = [level for level in levels if size % size_multiple(dataclasses.replace(config, generator_levels=level)) == 0]
    return max(fits, default=0)


def check_networks(config: Config) -> None:
    """Raises UserError for unknown networks, and for sizes that a network cannot take or learn from."""
    look_up(GENERATORS, config.generator, "generator")
    look_up(DISCRIMINATORS, config.discriminator, "discriminator")
    look_up(NORMS, config.norm, "norm")
    discriminator_halving(config)
    look_up(DOUBLINGS, config.upsample, "upsample")
    tiled_layers(config)
    multiple, painted = size_multiple(config), SUBMISSION_SIZE + 2 * config.paint_margin
    for size, what in ((config.image_size, f"--image-size {config.image_size}"),
                       (painted, f"pictures of {SUBMISSION_SIZE} with --paint-margin {config.paint_margin}")):
        if size % multiple and config.generator == "resnet":
            raise UserError(f"--generator resnet cannot take {what}: give multiples of {multiple}.")
        if size % multiple:
            raise UserError(f"--generator-levels {config.generator_levels} halves the picture too often for {what}: "
                            f"give at most {most_levels(config, size)}, or multiples of {multiple}.")
    if config.image_size == 2**config.generator_levels and config.generator == "unet" and not config.norm_affine:
        raise UserError(f"--generator-levels {config.generator_levels} leaves a single pixel, which normalization with "
                        "--norm-affine false always sets to 0. Give fewer levels, or --norm-affine true.")
    strided = config.discriminator == "strided"
    if config.image_size // 2**config.discriminator_levels < (2 if strided else 3):
        raise UserError(f"--discriminator-levels {config.discriminator_levels} leaves nothing to judge of "
                        f"--image-size {config.image_size}: give fewer levels or larger images.")


def build_generator(config: Config, name: str) -> keras.Model:
    """The generator that the config names; see `unet_generator` for the interface.

    Raises:
        UserError: as `check_networks`.
    """
    check_networks(config)
    reset_keras()
    return GENERATORS[config.generator](config, name)


def build_discriminator(config: Config, name: str, kind: str) -> keras.Model:
    """The discriminator network `kind`; see `patch_discriminator` for the interface.

    Raises:
        UserError: for an unknown kind.
    """
    reset_keras()
    return look_up(DISCRIMINATORS, kind, "discriminator")(config, name)
