"""monet.core.presets: parameter counts, output shapes, and one training step of every preset."""

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf

from monet.core.config import ARCHITECTURE_FIELDS, Config
from monet.core.errors import UserError
from monet.core.presets import PRESETS, resolve_config
from monet.gan.systems import SYSTEMS
from monet.networks.build import build_discriminator, build_generator
from monet.training.describe import parameter_count

SEED = tf.constant([1, 2])
SMALL = {"generator_filters": 2, "discriminator_filters": 2, "batch_size": 2}


def convs(*layers):
    """Counts the weights of convolutions, each given as `(kernel size, input channels, output channels)`."""
    return sum(size * size * inputs * outputs for size, inputs, outputs in layers)


def resnet_count(filters, blocks, up=3):
    ends = convs((7, 3, filters), (7, filters, 3)) + 3
    halves = sum(convs((size, filters, 2 * filters), (size, 2 * filters, 4 * filters)) for size in (3, up))
    return ends + halves + blocks * 2 * convs((3, 4 * filters, 4 * filters))


def patch_count(filters, norm_affine, last=1):
    widths = [3, filters, 2 * filters, 4 * filters, 8 * filters]
    norms = 2 * sum(widths[2:]) if norm_affine else 0
    return (convs(*((4, before, after) for before, after in itertools.pairwise(widths)))
            + norms + last * (16 * widths[-1] + 1))


def unet_count(filters, levels, up, norm_affine=True, blocks=0):
    """Counts a U-Net's parameters; `up` is the kernel size in the up-blocks."""
    widths = [min(2**level, 8) * filters for level in range(levels)]
    down = [(4, before, after) for before, after in itertools.pairwise([3, *widths])]
    ups = widths[-2::-1]  # outputs of the up-blocks, innermost first; the skip connection doubles each
    inputs = [widths[-1], *(2 * width for width in ups)]
    up_convs = [(up, before, after) for before, after in zip(inputs, [*ups, 3], strict=True)]
    wide = widths[-1]
    bottom = [(size, wide, wide) for size in (1, 3, 1)] * blocks
    norms = 2 * (sum(widths[1:]) + sum(ups) + len(bottom) * wide) if norm_affine else 0
    return convs(*down, *up_convs, *bottom) + norms + 3


# Parameters of the generator and the Monet discriminator, from the layer tables in papers, tutorials and books.
COUNTS = {
    "tutorial": (54_414_979, patch_count(64, True)),
    "tf-tutorial": (54_414_979, patch_count(64, True)),
    # The paper's code has 11,378,179 parameters, including biases before normalization, which have no effect.
    "paper": (11_378_179 - (64 + 128 + 256 + 9 * 2 * 256 + 128 + 64), patch_count(64, False)),
    "unet-32": (unet_count(32, 4, up=4, norm_affine=False), patch_count(32, False)),
    "residual-unet": (unet_count(64, 4, up=4, blocks=3),
                      convs((4, 3, 64), (4, 64, 128), (4, 128, 256), (4, 256, 512)) + 2 * 896 + 16 * 512 + 1),
    "cut": (resnet_count(64, 9), patch_count(64, False)),
    "cpu": (unet_count(16, 3, up=3), patch_count(32, True)),
    "gpu": (unet_count(64, 5, up=3, blocks=3), patch_count(64, True, last=2)),
    "tpu": (unet_count(64, 5, up=3, blocks=3), patch_count(64, True, last=2)),
}
PATCHES = {"residual-unet": (16, 16, 1)}  # discriminator output for 256x256 pixels; all others 30x30


def test_unet_count_matches_the_tutorial():
    assert unet_count(64, 8, up=4) == COUNTS["tutorial"][0]


@functools.cache
def small_step(preset):
    """Returns the preset's system with two filters, and its losses and gradients on two images of each domain."""
    tf.keras.utils.set_random_seed(1)
    config = resolve_config({"preset": preset, **SMALL})
    system = SYSTEMS[config.system](config)
    side = config.image_size
    photo, monet = (tf.random.stateless_uniform([2, side, side, 3], [0, number], -1, 1) for number in range(2))
    return (system, *system.losses_and_gradients(photo, monet, SEED))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_has_its_parameters(preset):
    config = resolve_config({"preset": preset})
    networks = (build_generator(config, "g"), build_discriminator(config, "d", config.discriminator))
    assert tuple(parameter_count(network) for network in networks) == COUNTS[preset]


def test_the_books_resnet_has_its_parameters():
    for upsample, up in (("transpose", 3), ("nearest", 4)):
        config = resolve_config({"preset": "unet-32", "generator": "resnet", "upsample": upsample})
        assert parameter_count(build_generator(config, "g")) == resnet_count(32, 9, up)


def test_the_papers_resnet_has_six_blocks_for_smaller_images():
    config = resolve_config({"preset": "paper", "image_size": 128, "jitter": 143})
    assert parameter_count(build_generator(config, "g")) == resnet_count(64, 6)


@pytest.mark.parametrize("preset", PRESETS)
def test_shapes(preset):
    system, _, _ = small_step(preset)
    images = tf.zeros([1, 256, 256, 3])
    for name, network in system.networks.items():
        if name in ("photo_to_monet", "monet_to_photo"):
            assert network([images, SEED]).shape == (1, 256, 256, 3)
        elif name.endswith("discriminator"):
            heads = tf.nest.flatten(network(images))
            assert {tuple(head.shape[1:]) for head in heads} == {PATCHES.get(preset, (30, 30, 1))}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_variable_gets_a_gradient(preset):
    """Gradients are finite and not 0, with two exceptions. The tutorials' innermost layer has a single pixel, which
    instance normalization sets to 0 until it has learned a shift. And while a discriminator is undecided, reals and
    fakes cancel in the gradient of its last bias."""
    system, losses, gradients = small_step(preset)
    assert all(np.isfinite(loss) for loss in losses.values())
    assert set(gradients) == set(system.networks) == set(system.optimizers)
    config = system.config
    dead = {f"down{config.generator_levels}", "up1"} if config.image_size == 2**config.generator_levels else set()
    for name, network in system.networks.items():
        for layer in network.layers:
            for variable in layer.trainable_weights:
                index = [id(other) for other in network.trainable_variables].index(id(variable))
                gradient = gradients[name][index]
                assert gradient is not None and np.isfinite(gradient).all(), (name, layer.name)
                if layer.name.split("_")[0] not in dead and variable.shape != (1,):
                    assert np.abs(gradient).max() > 0, (name, layer.name, variable.name)


def test_presets_leave_out_default_values():
    """Except for a few that a reader expects to see."""
    allowed = {"cycle_weight", "keep_checkpoints"}
    for preset, values in PRESETS.items():
        redundant = [name for name, value in values.items() if value == getattr(Config(), name) and name not in allowed]
        assert not redundant, (preset, redundant)


def test_an_unknown_preset_is_rejected_with_similar_names():
    with pytest.raises(UserError, match="--preset resnet-unet: .* Did you mean residual-unet"):
        resolve_config({"preset": "resnet-unet"})


def test_architecture_fields_are_fields():
    assert set(ARCHITECTURE_FIELDS) <= set(vars(Config()))
