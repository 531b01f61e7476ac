"""monet.networks: parameter counts of the tutorial's networks, and configs that cannot be built."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from monet.core.config import Config, make_config
from monet.core.errors import UserError
from monet.gan.cut import encoder_layers
from monet.networks.build import GENERATORS, build_discriminator, build_generator
from monet.networks.generators import KEPT, block_count, size_multiple
from monet.training.describe import parameter_count

SMALL = {"generator_filters": 2, "discriminator_filters": 2, "generator_levels": 3}
SEED = tf.constant([1, 2])


def random_images(*shape):
    return tf.random.stateless_uniform([*shape, 3], [0, 1], -1, 1)


def discriminator(**values):
    config = make_config(**{**SMALL, **values})
    return build_discriminator(config, "d", config.discriminator)


def test_the_tutorials_generator_has_its_parameters():
    """By the tutorial's table of layers: 4x4 kernels without bias, gamma and beta, and a last layer with bias."""
    down = [3, 64, 128, 256, 512, 512, 512, 512, 512]
    up = [(512, 512), (1024, 512), (1024, 512), (1024, 512), (1024, 256), (512, 128), (256, 64)]
    kernels = sum(16 * a * b for a, b in [*itertools.pairwise(down), *up])
    norms = 2 * sum(down[2:]) + 2 * sum(b for _, b in up)
    last = 16 * 128 * 3 + 3
    assert parameter_count(build_generator(Config(), "g")) == kernels + norms + last == 54_414_979


def test_the_tutorials_discriminator_has_its_parameters():
    kernels = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512 * 1)
    assert parameter_count(build_discriminator(Config(), "d", "patch")) == kernels + 2 * (128 + 256 + 512) + 1


@pytest.mark.parametrize("settings", [
    {}, {"upsample": "resize"}, {"upsample": "nearest"}, {"generator_levels": 1}, {"generator": "resnet"},
    {"generator": "resnet", "upsample": "resize", "residual_blocks": 1, "norm": "batch"},
    {"generator": "residual_unet"}, {"generator_leak": 0.0, "norm_affine": False}])
def test_a_generator_keeps_the_shape_and_the_range(settings):
    generator = build_generator(make_config(**{**SMALL, **settings}), "g")
    painted = generator([3 * random_images(2, 64, 96), SEED]).numpy()
    assert painted.shape == (2, 64, 96, 3)
    assert np.abs(painted).max() <= 1.0
    assert painted.dtype == np.float32


@pytest.mark.parametrize("settings", [
    {}, {"generator": "resnet"}, {"generator": "residual_unet"}, {"space_to_depth": "on", "upsample": "resize"}])
def test_a_global_residual_is_added_to_the_image(settings):
    """Before tanh, so that black and white can be painted, and their pixels still learn."""
    config = make_config(**{**SMALL, **settings}, global_residual=True)
    generator, plain = (build_generator(make, "g") for make in (config, dataclasses.replace(config,
                                                                                            global_residual=False)))
    for one, other in zip(generator.weights, plain.weights, strict=True):
        other.assign(one)
    image = tf.Variable(tf.clip_by_value(2 * random_images(1, 32, 32), -1, 1))
    with tf.GradientTape() as tape:
        painted = generator([image, SEED])
    change = np.arctanh(plain([image, SEED]).numpy().astype(float))
    np.testing.assert_allclose(painted, np.tanh(change + np.arctanh(KEPT * image.numpy().astype(float))), atol=1e-5)
    assert np.isfinite(tape.gradient(painted, generator.trainable_weights[-1])).all()
    generator.trainable_weights[-2].assign(tf.zeros(generator.trainable_weights[-2].shape))
    np.testing.assert_allclose(generator([image, SEED]), KEPT * image, atol=1e-5)


@pytest.mark.parametrize(("settings", "patches"), [
    ({}, 30), ({"discriminator_levels": 2}, 62), ({"discriminator_levels": 4}, 14),
    ({"discriminator": "strided"}, 32), ({"discriminator": "strided", "discriminator_levels": 4}, 16)])
def test_a_discriminator_judges_patches(settings, patches):
    assert discriminator(**settings)(random_images(2, 256, 256)).shape == (2, patches, patches, 1)


def test_two_objectives_are_two_maps_from_one_body():
    network = discriminator(discriminator="two_objective")
    first, second = network(random_images(2, 256, 256))
    assert first.shape == second.shape == (2, 30, 30, 1)
    assert np.abs(first - second).max() > 0
    heads = 2 * (16 * 16 + 1)  # 4x4 kernels over 16 channels, and a bias
    assert parameter_count(network) == parameter_count(discriminator()) + heads // 2


def test_a_logit_sees_70_by_70_pixels():
    size, jump = 1, 1
    for layer in discriminator().layers:
        if isinstance(layer, tf.keras.layers.Conv2D):
            size, jump = size + (layer.kernel_size[0] - 1) * jump, jump * layer.strides[0]
    assert size == 70


def test_the_resnet_treats_its_border_like_its_middle():
    """Reflection padding leaves a uniform picture uniform; zero padding would not."""
    generator = build_generator(make_config(**SMALL, generator="resnet", upsample="nearest", residual_blocks=2), "g")
    stem = tf.keras.Model(generator.inputs[0], generator.get_layer("stem_conv").output)
    values = stem(tf.fill([1, 32, 32, 3], 0.5)).numpy()
    assert np.abs(values - values[:, :1, :1]).max() < 1e-6


def test_the_default_number_of_residual_blocks_is_the_papers():
    assert [block_count(make_config(generator="resnet", image_size=size)) for size in (128, 256)] == [6, 9]
    assert block_count(make_config(generator="residual_unet")) == 3
    assert block_count(make_config(generator="resnet", residual_blocks=4)) == 4


@pytest.mark.parametrize(("settings", "names"), [
    ({"generator": "resnet"}, ["image", "down1_conv", "down2_conv", "block1", "block5"]),
    ({"generator": "resnet", "residual_blocks": 1}, ["image", "down1_conv", "down2_conv", "block1"]),
    ({"generator_levels": 6}, ["image", "down1_conv", "down2_conv", "down3_conv", "down4_conv"]),
    ({"generator": "residual_unet"}, ["image", "down1_conv", "down2_conv", "down3_conv"]),
])
def test_the_layers_that_contrastive_learning_compares_exist(settings, names):
    config = make_config(**{**SMALL, **settings})
    assert encoder_layers(config) == names
    generator = build_generator(config, "g")
    assert [generator.get_layer(name).name for name in names] == names


@pytest.mark.parametrize("name", GENERATORS)
def test_the_last_layer_and_normalization_stay_in_float32(name):
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    generator = build_generator(make_config(**SMALL, generator=name), "g")
    assert generator([random_images(1, 64, 64), SEED]).dtype == tf.float32
    norms = [layer for layer in generator.layers if layer.name.endswith("_norm")]
    assert {layer.compute_dtype for layer in norms} == {"float32"}
    assert generator.get_layer("down1_conv").compute_dtype == "bfloat16"
    assert discriminator()(random_images(1, 64, 64)).dtype == tf.float32


def test_dropout_acts_in_training_only_and_follows_the_seed():
    generator = build_generator(make_config(**{**SMALL, "generator_levels": 5}, gamma_mean=1.0), "g")
    images = random_images(1, 64, 64)
    still = generator([images, SEED], training=False).numpy()
    np.testing.assert_array_equal(still, generator([images, SEED + 1], training=False))
    moving = generator([images, SEED], training=True).numpy()
    np.testing.assert_array_equal(moving, generator([images, SEED], training=True))
    assert np.abs(moving - generator([images, SEED + 1], training=True)).max() > 0
    assert np.abs(moving - still).max() > 0


def test_picture_sizes_must_suit_the_number_of_levels():
    assert size_multiple(make_config(generator_levels=3)) == 8
    with pytest.raises(UserError, match="--generator-levels 9 .*--image-size 256"):
        build_generator(make_config(generator_levels=9), "g")
    with pytest.raises(UserError, match="--generator-levels 3 .*256 .*--paint-margin 2:"):
        build_generator(make_config(generator_levels=3, paint_margin=2), "g")
    with pytest.raises(UserError, match="--image-size 100"):
        build_generator(make_config(image_size=100, jitter=0), "g")


def test_the_resnet_and_residual_blocks_need_room():
    assert size_multiple(make_config(generator="resnet")) == 8
    assert size_multiple(make_config(generator="residual_unet", generator_levels=4)) == 32
    with pytest.raises(UserError, match="--generator resnet .*--image-size 100: .* 8"):
        build_generator(make_config(generator="resnet", image_size=100, jitter=0), "g")
    with pytest.raises(UserError, match="--image-size 256: .* 7, .* 512"):
        build_generator(make_config(generator="residual_unet"), "g")


def test_networks_that_could_never_learn_are_refused():
    """Normalization turns a single pixel into 0, and without a learned shift it stays 0."""
    with pytest.raises(UserError, match="--generator-levels 8 .*single pixel.*--norm-affine false"):
        build_generator(make_config(norm_affine=False), "g")
    with pytest.raises(UserError, match="--discriminator-levels 6 .*--image-size 64"):
        build_generator(make_config(**SMALL, image_size=64, discriminator="strided", discriminator_levels=6), "g")


def test_a_discriminator_must_have_something_left_to_judge():
    with pytest.raises(UserError, match="--discriminator-levels 5 .*--image-size 64"):
        build_generator(make_config(image_size=64, generator_levels=3, discriminator_levels=5), "g")


def test_an_unknown_generator_is_refused():
    with pytest.raises(UserError, match="--generator resnets: .* mean resnet"):
        build_generator(make_config(generator="resnets"), "g")


def test_an_unknown_discriminator_is_refused():
    with pytest.raises(UserError, match="--discriminator pacth: .* mean patch"):
        discriminator(discriminator="pacth")


def test_an_unknown_normalization_is_refused():
    with pytest.raises(UserError, match="--norm instances: .* mean instance"):
        build_generator(make_config(norm="instances"), "g")
