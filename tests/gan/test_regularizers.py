"""What keeps a discriminator in doubt, each by its formula: labels, noise, its own rate, adaptive augmentation."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf
from support.discriminators import SMALL_DISCRIMINATOR, images, make_discriminator
from tensorflow import keras

from monet.core.config import FIELDS, make_config
from monet.core.errors import UserError
from monet.core.random_numbers import normal
from monet.gan.adaptive import MOST, AugmentController
from monet.gan.diffaugment import make_augmentation
from monet.gan.discriminator import Discriminator
from monet.gan.systems import SYSTEMS
from monet.training.arrays import value_of
from monet.training.state import load_state, system_variables
from monet.training.train_step import make_gradients, train_step

SMALL = {**SMALL_DISCRIMINATOR, "generator_filters": 2, "generator_levels": 2, "discriminator_filters": 2}
CUT = {"system": "cut", "cycle_weight": 0.0, "identity_weight": 0.0}
EVERYTHING = {"gradient_penalty": 2.0, "penalty_every": 2, "discriminator_rate": 1e-3, "label_smoothing": 0.1,
              "instance_noise": 0.1, "diffaugment": "color,translation,cutout", "color_strength": 0.3,
              "augment_target": 0.6, "augment_start": 0.2, "augment_kimg": 0.1}
SEED = tf.constant([1, 2])


def make_player(side="monet", **values):
    return make_discriminator(side, **{**SMALL, **values})


def logits_of(player, shown):
    return player.judge(shown, training=True).numpy()


# --- Labels ---


def test_smoothed_cross_entropy_follows_its_formula():
    player = make_player(label_smoothing=0.1, discriminator_weight=1.0)
    real, fake = (1 / (1 + np.exp(-logits_of(player, images(side)))) for side in (0, 1))
    expected = -(0.9 * np.log(real) + 0.1 * np.log(1 - real)).mean() - np.log(1 - fake).mean()
    assert float(player.loss_and_gradients(images(0), images(1), SEED, 1.0)[0]) == pytest.approx(expected, rel=1e-4)
    assert float(player.generator_loss(images(1), SEED)) == pytest.approx(-np.log(fake).mean(), rel=1e-4)


@pytest.mark.parametrize("values", [{"adversarial_loss": "lsgan"}, {"discriminator_loss": "lsgan"}])
def test_smoothed_least_squares_follow_their_formula(values):
    player = make_player(label_smoothing=0.2, discriminator_weight=1.0, **values)
    real, fake = logits_of(player, images(0)), logits_of(player, images(1))
    expected = ((real - 0.8) ** 2).mean() + (fake**2).mean()
    assert float(player.loss_and_gradients(images(0), images(1), SEED, 1.0)[0]) == pytest.approx(expected, rel=1e-4)


# --- Noise ---


def test_normal_numbers_have_their_distribution_and_follow_the_seed():
    numbers = normal([200, 200], SEED).numpy()
    np.testing.assert_array_equal(numbers, normal([200, 200], SEED))
    assert abs(numbers.mean()) < 0.02 and abs(numbers.std() - 1) < 0.02
    shares = np.mean(np.abs(numbers)[..., None] < [1, 2, 3], (0, 1))
    np.testing.assert_allclose(shares, [0.683, 0.954, 0.997], atol=0.01)
    assert np.isfinite(numbers).all() and (numbers != normal([200, 200], tf.constant([1, 3])).numpy()).any()


@pytest.mark.parametrize("side", ["monet", "photo"])
def test_the_noise_fades_linearly_with_the_run(side):
    player, plain = make_player(side, instance_noise=0.4), images(0, batch=8)
    deviations = [float(tf.math.reduce_std(player.show(plain, SEED, progress) - plain)) for progress in (0, 0.5, 0.75)]
    np.testing.assert_allclose(deviations, [0.4, 0.2, 0.1], rtol=0.02)
    np.testing.assert_array_equal(player.show(plain, SEED, 1.0), plain)


def test_the_generator_is_judged_with_noise_too():
    player = make_player(instance_noise=0.4)
    assert float(player.generator_loss(images(0), SEED)) != float(player.generator_loss(images(0), SEED, 1.0))


def test_noise_on_tiles_is_that_on_pixels():
    plain, tiled = (make_player(instance_noise=0.4, generator_levels=3, space_to_depth=mode) for mode in ("off", "on"))
    shown = tiled.show(tf.nn.space_to_depth(images(0), 4), SEED, 0.0)
    np.testing.assert_allclose(tf.nn.depth_to_space(shown, 4), plain.show(images(0), SEED, 0.0), atol=1e-6)


# --- The rate ---


@pytest.mark.parametrize("system", [{}, CUT])
def test_discriminators_have_their_own_rate_which_falls_like_the_other(system):
    config = make_config(**SMALL, **system, learning_rate=2e-4, discriminator_rate=4e-4, decay_start=0.5, epochs=2,
                         steps_per_epoch=10)
    for name, optimizer in SYSTEMS[config.system](config).optimizers.items():
        rates = []
        for step in (0, 15):
            optimizer.iterations.assign(step)
            rates.append(float(tf.convert_to_tensor(optimizer.learning_rate)))
        first = 4e-4 if name.endswith("discriminator") else 2e-4
        if len(set(rates)) == 1:  # Keras 2 computes the rate as it applies gradients
            rates = [float(optimizer._learning_rate(step)) for step in (0, 15)]
        np.testing.assert_allclose(rates, [first, first / 2], rtol=1e-5, err_msg=name)


# --- Augmentation ---


def test_the_controller_follows_its_formula():
    """A running mean of the signs over 256 images, and steps of a fixed size per image."""
    controller = AugmentController(make_config(diffaugment="color", augment_target=0.6, augment_kimg=0.05, batch_size=8,
                                               augment_start=0.3))
    random, certainty, p = np.random.default_rng(0), 0.6, 0.3
    for step in range(60):
        heads = [random.normal(1.5 if step < 30 else -1.0, 1.0, (4, 3, 3, 1)).astype(np.float32) for _ in range(2)]
        controller.follow([tf.constant(head) for head in heads], [0.5, 0.0])
        signs = (np.sign(heads[0] - 0.5).mean() + np.sign(heads[1]).mean()) / 2
        certainty += 8 / 256 * (signs - certainty)
        p = np.clip(p + np.sign(certainty - 0.6) * 8 / 50, 0, MOST)
        assert float(controller.certainty) == pytest.approx(certainty, abs=1e-5)
        assert float(controller.probability) == pytest.approx(p, abs=1e-5), step
    assert p == 0


def test_a_discriminator_that_knows_the_paintings_is_shown_more_augmentation_up_to_the_limit():
    player = make_player(diffaugment="color", augment_target=0.6, augment_kimg=0.01, batch_size=2)
    bias = player.network.get_layer("logits").trainable_weights[1]
    for value, expected in ((9.0, MOST), (-9.0, 0.0)):
        bias.assign([value])
        logits = player.judge(images(0))
        for _ in range(20):
            player.controller.follow([logits], player.boundaries)
        assert float(player.controller.probability) == pytest.approx(expected)


@pytest.mark.parametrize(("values", "expected"), [
    ({"discriminator_loss": "lsgan"}, [0.5]), ({"adversarial_loss": "lsgan", "discriminator_loss": "bce"}, [0.0]),
    ({"discriminator": "two_objective", "adversarial_loss": "lsgan"}, [0.0, 0.0])])
def test_the_boundary_is_that_of_the_discriminators_loss(values, expected):
    assert make_player(**values).boundaries == expected


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_each_part_applies_to_each_image_with_the_probability(probability):
    """A translation leaves zeros at an edge, a cutout inside; recoloring leaves none."""
    change = make_augmentation(make_config(diffaugment="color,cutout"))
    plain = images(0, batch=400)
    result = change(plain, SEED, tf.constant(probability)).numpy()
    cut = (result == 0).all(-1).any((1, 2))
    corners = [(0, 0), (0, -1), (-1, 0), (-1, -1)]  # at most one of them is in a hole
    kept = np.stack([(result[:, row, column] == plain[:, row, column].numpy()).all(-1) for row, column in corners])
    recolored = kept.sum(0) < 3
    np.testing.assert_allclose([cut.mean(), recolored.mean()], probability, atol=0.08 if probability % 1 else 0)
    if probability % 1:
        assert abs(np.corrcoef(cut, recolored)[0, 1]) < 0.2


def test_reals_and_fakes_share_the_probability_and_photos_have_none():
    player = make_player(diffaugment="cutout", augment_target=0.6)
    np.testing.assert_array_equal(player.show(images(0), SEED, 0.0), images(0))
    player.controller.probability.assign(1.0)
    assert (player.show(images(0), SEED, 0.0).numpy() == 0).any()
    assert set(player.state) == {"augment/probability", "augment/certainty"}
    photo = make_player("photo", diffaugment="cutout", augment_target=0.6)
    assert photo.controller is None and not photo.state
    np.testing.assert_array_equal(photo.show(images(0), SEED, 0.0), images(0))


def test_without_a_target_every_image_is_augmented():
    player = make_player(diffaugment="cutout")
    assert player.controller is None
    assert (player.show(images(0, batch=8), SEED, 0.0).numpy() == 0).all(-1).any((1, 2)).all()


@pytest.mark.parametrize("strength", [0.0, 0.2, 1.0])
def test_the_strength_of_color_scales_its_ranges(strength):
    """In grey images, brightness moves the mean and contrast scales the deviation."""
    grey = tf.repeat(tf.random.stateless_uniform([400, 16, 16, 1], [0, 1], -1, 1), 3, -1)
    result = make_augmentation(make_config(diffaugment="color", color_strength=strength))(grey, SEED).numpy()
    moved = result.mean((1, 2, 3)) - grey.numpy().mean((1, 2, 3))
    scaled = result.std((1, 2, 3)) / grey.numpy().std((1, 2, 3))
    for found in (moved, scaled - 1):
        assert np.abs(found).max() <= 0.5 * strength + 1e-4
        assert np.abs(found).max() >= 0.45 * strength


# --- All of it, in a step ---


def make_system(**values):
    keras.utils.set_random_seed(1)
    config = make_config(**{**SMALL, **EVERYTHING, **values})
    return SYSTEMS[config.system](config)


def one_step(system, compiled):
    """Losses and gradients of a step, and the variables after it."""
    gradients = make_gradients(system, system.config, compiled)
    photo, monet = images(0), images(1)
    step = tf.function(functools.partial(train_step, system, gradients), autograph=False)
    losses = {name: float(loss) for name, loss in step(photo, monet, SEED, tf.constant(0.25)).items()}
    return losses, {name: value_of(variable) for name, variable in system_variables(system).items()}


@pytest.mark.parametrize("values", [{}, {**CUT, "discriminator_norm": "spectral"}], ids=["cyclegan", "cut"])
def test_a_step_with_everything_compiles_and_gives_the_same(values):
    found, state = one_step(make_system(**values), compiled=True)
    expected, expected_state = one_step(make_system(**values), compiled=False)
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)
    for name in ("augment/probability", "augment/certainty", "adam/m/down1_conv/kernel"):
        np.testing.assert_allclose(state[f"monet_discriminator/{name}"], expected_state[f"monet_discriminator/{name}"],
                                   rtol=1e-2, atol=1e-4)
    assert all(np.isfinite(value).all() for value in state.values())


def test_a_checkpoint_keeps_the_probability_and_one_without_it_starts_anew():
    off = {name: FIELDS[name].default for name in EVERYTHING}
    system, other, plain = make_system(), make_system(), make_system(**off)
    system.discriminators["monet"].controller.probability.assign(0.7)
    arrays = {name: value_of(variable) for name, variable in system_variables(system).items()}
    load_state(other, arrays, "a checkpoint")
    assert float(other.discriminators["monet"].controller.probability) == pytest.approx(0.7)
    load_state(plain, arrays, "a checkpoint")  # no longer wanted
    fresh = make_system()
    load_state(fresh, {name: value_of(variable) for name, variable in system_variables(plain).items()}, "a checkpoint")
    assert float(fresh.discriminators["monet"].controller.probability) == pytest.approx(0.2)


def test_a_set_too_large_to_augment_is_not_augmented_adaptively():
    config = dataclasses.replace(make_config(**SMALL, diffaugment="color", augment_target=0.6), diffaugment="")
    assert Discriminator(config, "monet_discriminator").controller is None


@pytest.mark.parametrize(("values", "words"), [
    ({"augment_target": 0.6}, ["--augment-target 0.6", "--diffaugment"]),
    ({"augment_target": 1.5, "diffaugment": "color"}, ["--augment-target 1.5", "at most 1.0"]),
    ({"augment_start": 0.5, "diffaugment": "color"}, ["--augment-start 0.5", "--augment-target 0"]),
    ({"augment_start": 0.9, "diffaugment": "color", "augment_target": 0.6}, ["--augment-start 0.9", "at most 0.8"]),
    ({"augment_kimg": 0.0}, ["--augment-kimg 0"]),
    ({"color_strength": 0.2, "diffaugment": "cutout"}, ["--color-strength 0.2", "--diffaugment"]),
    ({"label_smoothing": 0.1, "adversarial_loss": "hinge"}, ["--label-smoothing 0.1", "hinge"]),
    ({"label_smoothing": 0.1, "discriminator_loss": "hinge"}, ["--label-smoothing 0.1", "hinge"]),
    ({"label_smoothing": 0.1, "discriminator": "two_objective"}, ["--label-smoothing 0.1", "two_objective"]),
    ({"gradient_penalty": -1.0}, ["--gradient-penalty -1"]),
    ({"instance_noise": -0.1}, ["--instance-noise -0.1"]),
])
def test_settings_that_cannot_work_are_refused(values, words):
    with pytest.raises(UserError) as error:
        make_config(**values)
    assert all(word in str(error.value) for word in words)
