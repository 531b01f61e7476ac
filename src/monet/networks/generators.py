"""The generators: U-Net, U-Net with residual blocks, ResNet."""

import tensorflow as tf
from tensorflow import keras

from monet.core.config import Config
from monet.networks.color_curves import CURVES, ColorCurves
from monet.networks.detail_filter import DETAIL, DetailFilter
from monet.networks.layers import (
    SeededDropout,
    doubled,
    down_block,
    norm_layer,
    normal_initializer,
    reflected_conv,
    residual_block,
    up_block,
    width,
)
from monet.networks.space_to_depth import doubling_tile, tiles_by_level
from monet.networks.tiled_layers import enter_tiles, leave_tiles

DROPOUT_BLOCKS = 3  # up-blocks with dropout, from the innermost (tutorial)
KEPT = 0.97  # of the image's contrast with `global_residual`; the inverse of tanh is infinite at 1
MATCHING = {CURVES: ColorCurves, DETAIL: DetailFilter}
RESNET_LEVELS = 2  # times the ResNet generator halves the image (paper)


def generator_inputs() -> tuple:
    """Symbolic inputs of every generator: images `[batch, height, width, 3]` in [-1, 1] and an int32 seed `[2]`."""
    # Keras 2 divides a known first dimension by the number of devices, so the seed's must be unknown.
    return keras.Input((None, None, 3), name="image"), keras.Input((), dtype="int32", name="seed")


def last_activation(config: Config) -> str | None:
    """The activation of a generator's last convolution."""
    return None if config.global_residual else "tanh"


def added(change_and_image: tuple) -> tf.Tensor:
    """The image, changed: both `[batch, h, w, c]`, the image in [-1, 1]. Without a change, `KEPT` times the image."""
    change, image = change_and_image
    return tf.tanh(change + tf.atanh(tf.clip_by_value(KEPT * image, -KEPT, KEPT)))


def onto(image, x, config: Config):
    """A generator's output in [-1, 1], from that of its last convolution; `image`, its input, is of the same shape."""
    if not config.global_residual:
        return x
    return keras.layers.Lambda(added, name="global_residual", dtype="float32")((x, image))


def generator_model(image, seed, painted, config: Config, name: str, tile: int = 1) -> keras.Model:
    """The model from `generator_inputs` to `painted`, which is in tiles if `tile` is over 1."""
    # Keras 3 requires every input to be used, and not every network has dropout. float32 like the last layer.
    seed_used = SeededDropout(0.0, salt=0, name="seed_used", dtype="float32")
    painted = leave_tiles(seed_used(painted, seed=seed), tile)
    for layer in matching_layers(config) if name == "photo_to_monet" else ():
        painted = MATCHING[layer](name=layer, dtype="float32")(painted)
    return keras.Model([image, seed], painted, name=name)


def matching_layers(config: Config) -> list[str]:
    """Names of the painting generator's last layers, which act only when it paints, in order."""
    return [CURVES] * config.match_colors + [DETAIL] * config.match_detail


def without_matching(generator: keras.Model, config: Config) -> keras.Model:
    """The painting generator as it is in training, without `matching_layers`; the same weights."""
    layers = matching_layers(config)
    return keras.Model(generator.inputs, generator.get_layer(layers[0]).input) if layers else generator


def u_net(config: Config, name: str, bottom) -> keras.Model:
    """A U-Net with `bottom` between its halves: a function of the innermost tensor that keeps its shape."""
    image, seed = generator_inputs()
    widths = [width(config.generator_filters, level) for level in range(config.generator_levels)]
    tiles = tiles_by_level(config, config.generator_levels)
    x = entered = enter_tiles(image, tiles[0])
    skips = []
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
    x = doubled(parts, 3, config, "image", tile=doubling_tile(config, 0), activation=last_activation(config),
                dtype="float32")
    return generator_model(image, seed, onto(entered, x, config), config, name, tiles[0])


def unet_generator(config: Config, name: str) -> keras.Model:
    """The tutorials' U-Net (pix2pix, Isola et al. 2017): halve, then double, with a skip at every size.

    Args:
        config: gives filters, levels, dropout, normalization and upsampling.
        name: the model's name.

    Returns:
        A model from ([batch, height, width, 3] in [-1, 1], int32 seed [2]) to the same shape in [-1, 1]. Height and
        width must be multiples of `size_multiple(config)`.
    """
    return u_net(config, name, bottom=lambda x: x)


def residual_unet_generator(config: Config, name: str) -> keras.Model:
    """A U-Net with residual blocks of 1x1, 3x3 and 1x1 convolutions at its bottom; otherwise like `unet_generator`."""
    def bottom(x):
        for block in range(1, block_count(config) + 1):
            x = residual_block(x, (1, 3, 1), config, f"block{block}")
        return x

    return u_net(config, name, bottom)


def resnet_generator(config: Config, name: str) -> keras.Model:
    """The paper's generator (Zhu et al. 2017, after Johnson et al. 2016): two halvings, residual blocks, two doublings.

    Unlike the paper's, convolutions before normalization have no bias, which normalization would remove. There is no
    dropout. The interface is that of `unet_generator`.
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
    x = reflected_conv(x, 3, 7, "image", activation=last_activation(config), dtype="float32")
    return generator_model(image, seed, onto(image, x, config), config, name)


def block_count(config: Config) -> int:
    """Number of residual blocks in the config's generator (paper: 9 for 256x256 images, 6 for 128x128)."""
    usual = {"resnet": 9 if config.image_size >= 256 else 6, "residual_unet": 3}
    return config.residual_blocks or usual.get(config.generator, 0)


def size_multiple(config: Config) -> int:
    """The generator takes pictures whose height and width are multiples of this many pixels."""
    if config.generator == "resnet":
        return 2 * 2**RESNET_LEVELS  # reflection needs two pixels at the innermost level
    return 2**config.generator_levels * (2 if block_count(config) else 1)
