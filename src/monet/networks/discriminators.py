"""The discriminators: PatchGANs with one head or two, and a strided one."""

from tensorflow import keras

from monet.core.config import Config, look_up
from monet.core.keras_compat import instance_norm
from monet.networks.layers import (
    Halving,
    batch_norm,
    down_block,
    leaky_relu,
    norm_layer,
    normal_initializer,
    width,
)
from monet.networks.space_to_depth import tiles_by_level
from monet.networks.spectral import SpectralConv2D
from monet.networks.tiled_layers import enter_tiles

FEATURES = "features"  # name of the last layer before the logits, which the cycle loss may compare
DISCRIMINATOR_NORMS = {"instance": Halving(keras.layers.Conv2D, instance_norm),
                       "batch": Halving(keras.layers.Conv2D, batch_norm),
                       "none": Halving(keras.layers.Conv2D, None),
                       "spectral": Halving(SpectralConv2D, None)}


def discriminator_halving(config: Config) -> Halving:
    """The convolutions and the normalization of the config's discriminators.

    Raises:
        UserError: for an unknown `config.discriminator_norm`.
    """
    return look_up(DISCRIMINATOR_NORMS, config.discriminator_norm or config.norm, "discriminator_norm")


def last_conv(filters: int, config: Config, name: str, **options) -> keras.layers.Layer:
    """A 4x4 convolution that does not halve."""
    return discriminator_halving(config).conv(filters, 4, kernel_initializer=normal_initializer(), name=name, **options)


def discriminator_down(config: Config):
    """A discriminator's input, and the input halved n times: `[batch, h / 2**n, w / 2**n, filters]`."""
    image = keras.Input((None, None, 3), name="image")
    tiles = tiles_by_level(config, config.discriminator_levels)
    x = enter_tiles(image, tiles[0])
    for level in range(config.discriminator_levels):
        x = down_block(x, width(config.discriminator_filters, level), config, f"down{level + 1}",
                       config.discriminator_leak, level > 0, tiles[level], discriminator_halving(config))
    return image, x


def patch_heads(config: Config, name: str, heads: tuple[str, ...]) -> keras.Model:
    """A PatchGAN with one last convolution for each of `heads`; see `patch_discriminator`."""
    image, x = discriminator_down(config)
    x = keras.layers.ZeroPadding2D(name="pad4")(x)
    norm = discriminator_halving(config).norm
    x = last_conv(width(config.discriminator_filters, config.discriminator_levels), config, "conv4",
                  use_bias=norm is None)(x)
    x = norm_layer(config, "norm4", make=norm)(x) if norm else x
    x = leaky_relu(config.discriminator_leak, FEATURES)(x)
    x = keras.layers.ZeroPadding2D(name="pad5")(x)
    logits = [last_conv(1, config, head, dtype="float32")(x) for head in heads]
    return keras.Model(image, logits[0] if len(logits) == 1 else logits, name=name)


def patch_discriminator(config: Config, name: str) -> keras.Model:
    """The 70x70 PatchGAN of paper and tutorials: one logit for each overlapping 70x70 patch.

    Returns:
        A model from `[batch, height, width, 3]` in [-1, 1] to logits `[batch, height/8 - 2, width/8 - 2, 1]`
        (30 x 30 for 256 x 256), in float32.
    """
    return patch_heads(config, name, ("logits",))


def two_objective_discriminator(config: Config, name: str) -> keras.Model:
    """A PatchGAN with two heads: its output is a list of two maps of logits."""
    return patch_heads(config, name, ("first_logits", "second_logits"))


def strided_discriminator(config: Config, name: str) -> keras.Model:
    """A discriminator that only halves: `discriminator_levels` times, then one convolution to the logits.

    Returns:
        A model from `[batch, height, width, 3]` in [-1, 1] to float32 logits `[batch, height / 2**levels,
        width / 2**levels, 1]` (16 x 16 for 256 x 256 and 4 levels).
    """
    image, x = discriminator_down(config)
    x = keras.layers.Activation("linear", name=FEATURES)(x)
    x = last_conv(1, config, "logits", padding="same", dtype="float32")(x)
    return keras.Model(image, x, name=name)
