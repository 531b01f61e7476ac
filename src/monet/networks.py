"""Generators and discriminators, by name."""

import tensorflow as tf
from tensorflow import keras

from monet.config import SUBMISSION_SIZE, Config, UserError, pick
from monet.layers import SeededDropout, doubled, down_block, norm_layer, normal_initializer, up_block

WIDEST = 8  # a network's widest layer has this many times the filters of its first (tutorial: 512 to 64)
DROPOUT_BLOCKS = 3  # up-blocks with dropout, from the innermost (tutorial)


def generator_inputs() -> tuple:
    """Symbolic inputs of every generator: images `[batch, height, width, 3]` in [-1, 1] and an int32 seed `[2]`."""
    return (keras.Input((None, None, 3), name="image"),
            keras.Input((), batch_size=2, dtype="int32", name="seed"))


def generator_model(image, seed, painted, name: str) -> keras.Model:
    """The model from `generator_inputs` to `painted`; Keras 3 wants every input used, and not all networks drop out."""
    return keras.Model([image, seed], SeededDropout(0.0, salt=0, name="seed_used")(painted, seed=seed), name=name)


def unet_generator(config: Config, name: str) -> keras.Model:
    """The tutorials' U-Net (pix2pix, Isola et al. 2017): halve, then double, with a skip at every size.

    Args:
        config: gives filters, levels, dropout, normalization and the way of doubling.
        name: the model's name.

    Returns:
        A model from ([batch, height, width, 3] in [-1, 1], int32 seed [2]) to the same shape in [-1, 1]. Height and
        width must be multiples of 2 ** generator_levels.
    """
    image, seed = generator_inputs()
    widths = [min(2**level, WIDEST) * config.generator_filters for level in range(config.generator_levels)]
    x, skips = image, []
    for level, filters in enumerate(widths, start=1):
        x = down_block(x, filters, config, f"down{level}", normalize=level > 1)
        skips.append(x)
    inner = zip(reversed(widths[:-1]), reversed(skips[:-1]), strict=True)
    for block, (filters, skip) in enumerate(inner, start=1):
        x = up_block(x, filters, config, f"up{block}")
        if block <= DROPOUT_BLOCKS:
            x = SeededDropout(config.dropout, salt=block, name=f"up{block}_dropout")(x, seed=seed)
        x = keras.layers.ReLU(name=f"up{block}_relu")(x)
        x = keras.layers.Concatenate(name=f"up{block}_skip")([x, skip])
    x = doubled(x, 3, config, "image", activation="tanh", dtype="float32")
    return generator_model(image, seed, x, name)


def patch_discriminator(config: Config, name: str) -> keras.Model:
    """The 70x70 PatchGAN of the tutorials: one logit for each overlapping 70x70 patch.

    Returns:
        A model from `[batch, height, width, 3]` in [-1, 1] to logits `[batch, height/8 - 2, width/8 - 2, 1]`
        (30 x 30 for 256 x 256), in float32.
    """
    image = keras.Input((None, None, 3), name="image")
    x = image
    for level in range(3):
        x = down_block(x, config.discriminator_filters * 2**level, config, f"down{level + 1}", normalize=level > 0)
    x = keras.layers.ZeroPadding2D(name="pad4")(x)
    x = keras.layers.Conv2D(config.discriminator_filters * WIDEST, 4, use_bias=False,
                            kernel_initializer=normal_initializer(), name="conv4")(x)
    x = norm_layer(config, "norm4")(x)
    x = keras.layers.LeakyReLU(0.3, name="relu4")(x)
    x = keras.layers.ZeroPadding2D(name="pad5")(x)
    x = keras.layers.Conv2D(1, 4, kernel_initializer=normal_initializer(), name="logits", dtype="float32")(x)
    return keras.Model(image, x, name=name)


GENERATORS = {"unet": unet_generator}
DISCRIMINATORS = {"patch": patch_discriminator}


def size_multiple(config: Config) -> int:
    """Pixels that the generator needs the height and the width of a picture to be a multiple of."""
    return 2**config.generator_levels


def check_sizes(config: Config) -> None:
    """Raises UserError if the generator cannot halve the training or the submission's images often enough."""
    multiple = size_multiple(config)
    painted = SUBMISSION_SIZE + 2 * config.paint_margin
    for size, what in ((config.image_size, f"--image-size {config.image_size}"),
                       (painted, f"pictures of {SUBMISSION_SIZE} with --paint-margin {config.paint_margin}")):
        if size % multiple:
            raise UserError(f"--generator-levels {config.generator_levels} halves the picture too often for {what}: "
                            f"give fewer levels, or a size that {multiple} divides.")


def build_generator(config: Config, name: str) -> keras.Model:
    """The generator that the config names; see `unet_generator` for the interface.

    Raises:
        UserError: for an unknown name, or a size that cannot be halved often enough.
    """
    check_sizes(config)
    return pick(GENERATORS, config.generator, "generator")(config, name)


def build_discriminator(config: Config, name: str) -> keras.Model:
    """The discriminator that the config names; see `patch_discriminator` for the interface.

    Raises:
        UserError: for an unknown name.
    """
    return pick(DISCRIMINATORS, config.discriminator, "discriminator")(config, name)


def parameter_count(model: keras.Model) -> int:
    """Numbers that training learns."""
    return sum(int(tf.size(variable)) for variable in model.trainable_variables)
