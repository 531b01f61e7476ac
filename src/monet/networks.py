"""Generators and discriminators, by name."""

import dataclasses

import tensorflow as tf
from tensorflow import keras

from monet.config import SUBMISSION_SIZE, Config, UserError, pick
from monet.folding import doubling_tile, entered, left, tiles_by_level
from monet.layers import (
    NORMS,
    SeededDropout,
    doubled,
    down_block,
    leaky_relu,
    norm_layer,
    normal_initializer,
    reflected_conv,
    residual_block,
    up_block,
)

WIDEST = 8  # a network's widest layer has this many times the filters of its first (tutorial: 512 to 64)
DROPOUT_BLOCKS = 3  # up-blocks with dropout, from the innermost (tutorial)
RESNET_LEVELS = 2  # times the ResNet generator halves the image (paper)
FEATURES = "features"  # the discriminators' layer that the cycle loss may look at: their last before the logits


def generator_inputs() -> tuple:
    """Symbolic inputs of every generator: images `[batch, height, width, 3]` in [-1, 1] and an int32 seed `[2]`."""
    # Keras 2 divides an input's known batch by the number of devices: the seed's two numbers must be unknown to it.
    return keras.Input((None, None, 3), name="image"), keras.Input((), dtype="int32", name="seed")


def generator_model(image, seed, painted, name: str, tile: int = 1) -> keras.Model:
    """The model from `generator_inputs` to `painted`, which may be in tiles.

    Keras 3 wants every input used, and not all networks drop out.
    """
    seed_used = SeededDropout(0.0, salt=0, name="seed_used", dtype="float32")  # as the last layer is
    return keras.Model([image, seed], left(seed_used(painted, seed=seed), tile), name=name)


def width(filters: int, level: int) -> int:
    """Filters at `level`, 0 for a network's first layer: doubled at each level up to `WIDEST` times the first's."""
    return min(2**level, WIDEST) * filters


def u_net(config: Config, name: str, bottom) -> keras.Model:
    """Halve, `bottom`, double, with a skip connection at every size; see `unet_generator`.

    Args:
        config: gives filters, levels, dropout, normalization and the way of doubling.
        name: the model's name.
        bottom: a function of the innermost tensor that keeps its shape.
    """
    image, seed = generator_inputs()
    widths = [width(config.generator_filters, level) for level in range(config.generator_levels)]
    tiles = tiles_by_level(config, config.generator_levels)
    x, skips = entered(image, tiles[0]), []
    for level, filters in enumerate(widths, start=1):
        x = down_block(x, filters, config, f"down{level}", config.generator_leak, level > 1, tiles[level - 1])
        skips.append(x)
    parts = [bottom(x)]
    inner = zip(reversed(widths[:-1]), reversed(skips[:-1]), strict=True)
    for block, (filters, skip) in enumerate(inner, start=1):
        x = up_block(parts, filters, config, f"up{block}", tile=doubling_tile(config, config.generator_levels - block))
        if block <= DROPOUT_BLOCKS:
            x = SeededDropout(config.dropout, salt=block, name=f"up{block}_dropout")(x, seed=seed)
        parts = [keras.layers.ReLU(name=f"up{block}_relu")(x), skip]
    x = doubled(parts, 3, config, "image", tile=doubling_tile(config, 0), activation="tanh", dtype="float32")
    return generator_model(image, seed, x, name, tiles[0])


def unet_generator(config: Config, name: str) -> keras.Model:
    """The tutorials' U-Net (pix2pix, Isola et al. 2017): halve, then double, with a skip at every size.

    Args:
        config: gives filters, levels, dropout, normalization and the way of doubling.
        name: the model's name.

    Returns:
        A model from ([batch, height, width, 3] in [-1, 1], int32 seed [2]) to the same shape in [-1, 1]. Height and
        width must be multiples of `size_multiple(config)`.
    """
    return u_net(config, name, bottom=lambda x: x)


def residual_unet_generator(config: Config, name: str) -> keras.Model:
    """A U-Net with residual blocks of 1x1, 3x3 and 1x1 convolutions at its bottom; as `unet_generator` otherwise."""
    def bottom(x):
        for block in range(1, block_count(config) + 1):
            x = residual_block(x, (1, 3, 1), config, f"block{block}")
        return x

    return u_net(config, name, bottom)


def resnet_generator(config: Config, name: str) -> keras.Model:
    """The paper's generator (Zhu et al. 2017, after Johnson et al. 2016): two halvings, residual blocks, two doublings.

    As the paper's but for the biases before normalization, which it takes away again. No dropout; the interface is
    that of `unet_generator`.
    """
    image, seed = generator_inputs()
    filters = config.generator_filters

    def normalized(x, layer):
        return keras.layers.ReLU(name=f"{layer}_relu")(norm_layer(config, f"{layer}_norm")(x))

    x = normalized(reflected_conv(image, filters, 7, "stem", use_bias=False), "stem")
    for level in range(1, RESNET_LEVELS + 1):
        x = keras.layers.Conv2D(filters * 2**level, 3, strides=2, padding="same", use_bias=False,
                                kernel_initializer=normal_initializer(), name=f"down{level}_conv")(x)
        x = normalized(x, f"down{level}")
    for block in range(1, block_count(config) + 1):
        x = residual_block(x, (3, 3), config, f"block{block}")
    for block in range(1, RESNET_LEVELS + 1):
        x = up_block([x], filters * 2**(RESNET_LEVELS - block), config, f"up{block}", kernel_size=3)
        x = keras.layers.ReLU(name=f"up{block}_relu")(x)
    return generator_model(image, seed, reflected_conv(x, 3, 7, "image", activation="tanh", dtype="float32"), name)


def block_count(config: Config) -> int:
    """Residual blocks of the config's generator (paper: 9 for 256x256 images, 6 for 128x128)."""
    usual = {"resnet": 9 if config.image_size >= 256 else 6, "residual_unet": 3}
    return config.residual_blocks or usual.get(config.generator, 0)


def encoder_layers(config: Config) -> list[str]:
    """Names of the five layers of the config's generator that contrastive learning compares (Park et al. 2020).

    The image itself, the convolutions that halve it, and for the ResNet the first and the middle residual block.
    """
    if config.generator == "resnet":
        blocks = dict.fromkeys((1, (block_count(config) + 1) // 2))  # of a single block, that one
        return ["image", "down1_conv", "down2_conv", *(f"block{block}" for block in blocks)]
    return ["image", *(f"down{level}_conv" for level in range(1, min(config.generator_levels, 4) + 1))]


def discriminator_down(config: Config):
    """The discriminators' input, and what their halvings make of it: `[batch, h / 2**n, w / 2**n, filters]`."""
    image = keras.Input((None, None, 3), name="image")
    tiles = tiles_by_level(config, config.discriminator_levels)
    x = entered(image, tiles[0])
    for level in range(config.discriminator_levels):
        x = down_block(x, width(config.discriminator_filters, level), config, f"down{level + 1}",
                       config.discriminator_leak, level > 0, tiles[level])
    return image, x


def patch_heads(config: Config, name: str, heads: tuple[str, ...]) -> keras.Model:
    """A PatchGAN with a last convolution for each of `heads`; see `patch_discriminator`."""
    image, x = discriminator_down(config)
    x = keras.layers.ZeroPadding2D(name="pad4")(x)
    x = keras.layers.Conv2D(width(config.discriminator_filters, config.discriminator_levels), 4, use_bias=False,
                            kernel_initializer=normal_initializer(), name="conv4")(x)
    x = norm_layer(config, "norm4")(x)
    x = leaky_relu(config.discriminator_leak, FEATURES)(x)
    x = keras.layers.ZeroPadding2D(name="pad5")(x)
    logits = [keras.layers.Conv2D(1, 4, kernel_initializer=normal_initializer(), name=head, dtype="float32")(x)
              for head in heads]
    return keras.Model(image, logits[0] if len(logits) == 1 else logits, name=name)


def patch_discriminator(config: Config, name: str) -> keras.Model:
    """The 70x70 PatchGAN of paper and tutorials: one logit for each overlapping 70x70 patch.

    Returns:
        A model from `[batch, height, width, 3]` in [-1, 1] to logits `[batch, height/8 - 2, width/8 - 2, 1]`
        (30 x 30 for 256 x 256), in float32.
    """
    return patch_heads(config, name, ("logits",))


def two_objective_discriminator(config: Config, name: str) -> keras.Model:
    """A PatchGAN whose body feeds two heads: a list of two maps of logits, for `HEADS` of `monet.players`."""
    return patch_heads(config, name, ("first_logits", "second_logits"))


def strided_discriminator(config: Config, name: str) -> keras.Model:
    """A discriminator that only halves: `discriminator_levels` times, then one convolution to the logits.

    Returns:
        A model from `[batch, height, width, 3]` in [-1, 1] to float32 logits `[batch, height / 2**levels,
        width / 2**levels, 1]` (16 x 16 for 256 x 256 and 4 levels).
    """
    image, x = discriminator_down(config)
    x = keras.layers.Activation("linear", name=FEATURES)(x)
    x = keras.layers.Conv2D(1, 4, padding="same", kernel_initializer=normal_initializer(), name="logits",
                            dtype="float32")(x)
    return keras.Model(image, x, name=name)


GENERATORS = {"unet": unet_generator, "resnet": resnet_generator, "residual_unet": residual_unet_generator}
DISCRIMINATORS = {"patch": patch_discriminator, "strided": strided_discriminator,
                  "two_objective": two_objective_discriminator}


def size_multiple(config: Config) -> int:
    """Pixels that the generator needs the height and the width of a picture to be a multiple of."""
    if config.generator == "resnet":
        return 2 * 2**RESNET_LEVELS  # reflection needs two pixels at the innermost
    return 2**config.generator_levels * (2 if block_count(config) else 1)


def most_levels(config: Config, size: int) -> int:
    """How often the config's U-Net can halve pictures of `size` pixels a side."""
    levels = range(1, config.generator_levels)
    fits = [level for level in levels if size % size_multiple(dataclasses.replace(config, generator_levels=level)) == 0]
    return max(fits, default=0)


def check_networks(config: Config) -> None:
    """Raises UserError for names of networks that there are not, and for sizes that they cannot take or learn from."""
    for registry, option in ((GENERATORS, "generator"), (DISCRIMINATORS, "discriminator"), (NORMS, "norm")):
        pick(registry, getattr(config, option), option)
    multiple, painted = size_multiple(config), SUBMISSION_SIZE + 2 * config.paint_margin
    for size, what in ((config.image_size, f"--image-size {config.image_size}"),
                       (painted, f"pictures of {SUBMISSION_SIZE} with --paint-margin {config.paint_margin}")):
        if size % multiple and config.generator == "resnet":
            raise UserError(f"--generator resnet cannot take {what}: give sizes that {multiple} divides.")
        if size % multiple:
            raise UserError(f"--generator-levels {config.generator_levels} halves the picture too often for {what}: "
                            f"give at most {most_levels(config, size)}, or sizes that {multiple} divides.")
    if config.image_size == 2**config.generator_levels and config.generator == "unet" and not config.norm_affine:
        raise UserError(f"--generator-levels {config.generator_levels} leaves a single pixel, which normalization with "
                        "--norm-affine false makes 0 for ever. Give fewer levels, or --norm-affine true.")
    strided = config.discriminator == "strided"
    if config.image_size // 2**config.discriminator_levels < (2 if strided else 3):
        raise UserError(f"--discriminator-levels {config.discriminator_levels} leaves nothing to judge of --image-size "
                        f"{config.image_size}: give fewer levels or larger images.")


def build_generator(config: Config, name: str) -> keras.Model:
    """The generator that the config names; see `unet_generator` for the interface.

    Raises:
        UserError: as `check_networks`.
    """
    check_networks(config)
    return GENERATORS[config.generator](config, name)


def build_discriminator(config: Config, name: str, kind: str) -> keras.Model:
    """The discriminator network `kind`; see `patch_discriminator` for the interface.

    Raises:
        UserError: for an unknown kind.
    """
    return pick(DISCRIMINATORS, kind, "discriminator")(config, name)


def parameter_count(model: keras.Model) -> int:
    """Numbers that training learns."""
    return sum(int(tf.size(variable)) for variable in model.trainable_variables)
