"""monet.networks: the tutorial's networks, counted, and what cannot be built."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from monet.config import Config, UserError, make_config
from monet.networks import build_discriminator, build_generator, parameter_count, size_multiple

SMALL = {"generator_filters": 2, "discriminator_filters": 2, "generator_levels": 3}
SEED = tf.constant([1, 2])


def random_images(*shape):
    return tf.random.stateless_uniform([*shape, 3], [0, 1], -1, 1)


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
    assert parameter_count(build_discriminator(Config(), "d")) == kernels + 2 * (128 + 256 + 512) + 1


@pytest.mark.parametrize("settings", [{}, {"upsample": "resize"}, {"generator_levels": 1}])
def test_a_generator_keeps_the_shape_and_the_range(settings):
    generator = build_generator(make_config(**{**SMALL, **settings}), "g")
    painted = generator([3 * random_images(2, 64, 96), SEED]).numpy()
    assert painted.shape == (2, 64, 96, 3)
    assert np.abs(painted).max() <= 1.0
    assert painted.dtype == np.float32


def test_the_discriminator_judges_30_by_30_patches():
    logits = build_discriminator(make_config(**SMALL), "d")(random_images(2, 256, 256))
    assert logits.shape == (2, 30, 30, 1)


def test_a_logit_sees_70_by_70_pixels():
    discriminator = build_discriminator(make_config(**SMALL), "d")
    size, jump = 1, 1
    for layer in discriminator.layers:
        if isinstance(layer, tf.keras.layers.Conv2D):
            size, jump = size + (layer.kernel_size[0] - 1) * jump, jump * layer.strides[0]
    assert size == 70


def test_dropout_acts_in_training_only_and_follows_the_seed():
    generator = build_generator(make_config(**{**SMALL, "generator_levels": 5}, gamma_mean=1.0), "g")
    images = random_images(1, 64, 64)
    still = generator([images, SEED], training=False).numpy()
    np.testing.assert_array_equal(still, generator([images, SEED + 1], training=False))
    moving = generator([images, SEED], training=True).numpy()
    np.testing.assert_array_equal(moving, generator([images, SEED], training=True))
    assert np.abs(moving - generator([images, SEED + 1], training=True)).max() > 0
    assert np.abs(moving - still).max() > 0


def test_pictures_must_be_multiples_of_what_the_levels_halve():
    assert size_multiple(make_config(generator_levels=3)) == 8
    with pytest.raises(UserError, match=r"--generator-levels 9 halves .* too often for --image-size 256"):
        build_generator(make_config(generator_levels=9), "g")
    with pytest.raises(UserError, match="pictures of 256 with --paint-margin 2:"):
        build_generator(make_config(generator_levels=3, paint_margin=2), "g")
    with pytest.raises(UserError, match="--image-size 100"):
        build_generator(make_config(image_size=100, jitter_size=0), "g")


@pytest.mark.parametrize(("build", "option"), [(build_generator, "generator"), (build_discriminator, "discriminator")])
def test_an_unknown_network_is_refused(build, option):
    with pytest.raises(UserError, match=f"--{option} pacth: there is no such {option}"):
        build(make_config(**{option: "pacth"}), "n")


def test_an_unknown_normalization_is_refused():
    with pytest.raises(UserError, match="--norm instances: there is no such norm. Did you mean instance"):
        build_generator(make_config(norm="instances"), "g")
