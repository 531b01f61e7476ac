"""CUT: the compared layers and places, its losses in straightforward form, and a step that trains every player."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

from monet.core.config import make_config
from monet.core.errors import UserError
from monet.gan.cut import EMBEDDING, Cut, encoder_layers, patch_nce, projection_network
from monet.training.train_step import make_gradients, train_step

SEED = tf.constant([3, 4])
CONFIG = make_config(
    system="cut", generator="resnet", residual_blocks=3, image_size=32, jitter=0, generator_filters=2,
    discriminator_filters=2, discriminator_levels=2, gamma_mean=1.0, cycle_weight=0.0, identity_weight=0.0,
    adversarial_loss="lsgan", nce_patches=16)
UNET = {"generator": "unet", "residual_blocks": 0, "generator_levels": 4, "dropout": 0.0, "image_size": 64}


def make_cut(**values):
    tf.keras.utils.set_random_seed(1)
    return Cut(dataclasses.replace(CONFIG, **values))


@pytest.fixture(scope="module")
def system():
    return make_cut()


def smooth_batch(size=32):
    """Photos and paintings `[2, size, size, 3]` of soft blobs."""
    return tuple(tf.image.resize(tf.random.stateless_uniform([2, 8, 8, 3], [0, side], -1, 1), [size, size])
                 for side in (1, 2))


def test_the_projection_gives_unit_vectors_for_each_layer():
    projection = projection_network([3, 2, 8], "projection")
    features = [np.random.default_rng(0).normal(size=(2, 5, width)).astype(np.float32) for width in (3, 2, 8)]
    embedded = projection(features)
    assert [vectors.shape for vectors in embedded] == [(2, 5, EMBEDDING)] * 3
    for vectors in embedded:
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1.0, atol=1e-4)
    assert not np.allclose(embedded[0][:, 0], embedded[0][:, 1])


def test_each_place_is_embedded_independently():
    projection = projection_network([4, 4], "projection")
    features = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    together, alone = projection([features, features]), projection([features[:1, 3:4], features[1:, :2]])
    np.testing.assert_allclose(together[0][:1, 3:4], alone[0], atol=1e-6)
    np.testing.assert_allclose(together[1][1:, :2], alone[1], atol=1e-6)


@pytest.mark.parametrize(("values", "sides", "widths"), [
    ({"residual_blocks": 9}, [32, 16, 8, 8, 8], [3, 4, 8, 8, 8]),
    (UNET, [64, 32, 16, 8, 4], [3, 2, 4, 8, 16]),
])
def test_five_layers_are_compared(values, sides, widths):
    system = make_cut(**values)
    features = system.encoder(smooth_batch(sides[0])[0])
    assert [layer.shape for layer in features] == [
        (2, side, side, width) for side, width in zip(sides, widths, strict=True)]
    assert len(system.networks["projection"].outputs) == 5
    np.testing.assert_array_equal(features[0], smooth_batch(sides[0])[0])  # the first is the image itself


def test_the_first_and_the_middle_of_9_residual_blocks_are_compared():
    """The paper's layers, numbered 0, 4, 8, 12 and 16 in its code."""
    assert encoder_layers(make_config(generator="resnet")) == ["image", "down1_conv", "down2_conv", "block1", "block5"]


def test_the_encoder_is_part_of_the_painting_network():
    system, (photo, _) = make_cut(), smooth_batch()
    painted, *layers = system.painting_encoder([photo, SEED], training=True)
    np.testing.assert_allclose(painted, system.networks["photo_to_monet"]([photo, SEED], training=True), atol=1e-6)
    for one, other in zip(layers, system.encoder(photo, training=True), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    own = {id(variable) for variable in system.networks["photo_to_monet"].variables}
    assert {id(variable) for variable in system.painting_encoder.variables} == own


def test_drawn_places_are_distinct_and_cover_the_layer(system):
    layers = [tf.zeros([2, 8, 6, 3]), tf.zeros([2, 4, 4, 5]), tf.zeros([2, 3, 3, 5])]
    drawn = [[places.numpy() for places in system.draw_places(layers, tf.constant([1, number]))]
             for number in range(40)]
    for of_first, of_second, of_third in drawn:
        assert (len(of_first), len(set(of_first))) == (16, 16)
        assert sorted(of_second) == list(range(16))
        assert sorted(of_third) == list(range(9))  # fewer than requested
    assert set(np.concatenate([of_first for of_first, _, _ in drawn])) == set(range(48))
    np.testing.assert_array_equal(drawn[0][0], system.draw_places(layers, tf.constant([1, 0]))[0])


def test_the_embedding_of_a_place_is_that_of_its_pixel(system):
    """Places are numbered along rows: with 8 columns, number 21 is row 2, column 5."""
    features = system.encoder(smooth_batch()[0])
    embedded = system.embed(features, [tf.constant([0, layer.shape[2] * 2 + 5]) for layer in features])
    pixels = [tf.stack([layer[:, 0, 0], layer[:, 2, 5]], axis=1) for layer in features]
    for found, expected in zip(embedded, system.networks["projection"](pixels), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_contrastive_loss_is_lower_for_images_of_the_same_places(system):
    photo, other = smooth_batch()
    sources = system.encoder(photo, training=True)
    same, turned, different = (float(system.nce_loss(sources, painted, SEED))
                               for painted in (photo, tf.reverse(photo, [1]), other))
    assert same < min(turned, different) - 0.1


def straightforward(system, photo, monet, places):
    """The paper's form: separate network calls, every loss by its definition, one tape for all."""
    config, generator, critic = system.config, system.networks["photo_to_monet"], system.networks["monet_discriminator"]

    def nce(source, painted, drawn):
        costs = []
        compared = system.embed(system.encoder(painted), drawn), system.embed(system.encoder(source), drawn)
        for queries, keys in zip(*compared, strict=True):
            costs.append(patch_nce(queries, keys, config.nce_temperature))
        return sum(costs) / 5

    with tf.GradientTape(persistent=True) as tape:
        fake, same = generator([photo, SEED], training=True), generator([monet, SEED], training=True)
        losses = {"nce": 0.5 * nce(photo, fake, places[0]), "nce_identity": 0.5 * nce(monet, same, places[1]),
                  "photo_to_monet": tf.reduce_mean((critic(fake) - 1) ** 2)}
        total = sum(losses.values())
        losses["monet_discriminator"] = 0.5 * (tf.reduce_mean((critic(monet) - 1) ** 2)
                                               + tf.reduce_mean(critic(fake) ** 2))
    totals = {"photo_to_monet": total, "projection": total, "monet_discriminator": losses["monet_discriminator"]}
    return losses, {name: tape.gradient(loss, system.networks[name].trainable_variables)
                    for name, loss in totals.items()}


def test_the_step_has_the_losses_and_gradients_of_the_straightforward_form():
    """Every place is compared, so the draw does not matter."""
    system, batch = make_cut(nce_patches=32 * 32), smooth_batch()
    places = [tf.range(layer.shape[1] * layer.shape[2]) for layer in system.encoder(batch[0])]
    losses, gradients = system.losses_and_gradients(*batch, SEED)
    expected_losses, expected_gradients = straightforward(system, *batch, [places, places])
    assert {name: float(loss) for name, loss in losses.items()} == pytest.approx(
        {name: float(loss) for name, loss in expected_losses.items()}, rel=1e-4)
    assert set(gradients) == set(expected_gradients) == set(system.networks)
    for name, expected in expected_gradients.items():
        scale = max(float(tf.reduce_max(tf.abs(gradient))) for gradient in expected)
        for ours, theirs in zip(gradients[name], expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-3 * scale, err_msg=name)


@pytest.mark.parametrize("values", [{}, {"norm": "batch"}, UNET, {"discriminator": "two_objective", "image_pool": 4,
                                                                  "diffaugment": "color,translation,cutout"}])
def test_every_trainable_variable_gets_a_finite_gradient(values):
    system = make_cut(**values)
    losses, gradients = system.losses_and_gradients(*smooth_batch(system.config.image_size), SEED)
    assert all(np.isfinite(loss) for loss in losses.values())
    assert set(gradients) == set(system.networks) == set(system.optimizers)
    for name, network in system.networks.items():
        for variable, gradient in zip(network.trainable_variables, gradients[name], strict=True):
            assert np.isfinite(gradient).all(), (name, variable.name)
            # Under hinge loss, undecided reals and fakes cancel in the gradient of the last bias.
            assert np.abs(gradient).max() > 0 or gradient.shape == (1,), (name, variable.name)


def test_without_identity_the_contrastive_loss_on_photos_counts_in_full(system):
    both, _ = system.losses_and_gradients(*smooth_batch(), SEED)
    photos, _ = make_cut(nce_identity=False).losses_and_gradients(*smooth_batch(), SEED)
    assert set(both) - set(photos) == {"nce_identity"}
    assert float(photos["nce"]) == pytest.approx(2 * float(both["nce"]), rel=1e-4)


def test_gradients_scale_with_the_share_of_the_global_batch(system):
    _, whole = system.losses_and_gradients(*smooth_batch(), SEED)
    _, half = system.losses_and_gradients(*smooth_batch(), SEED, share=0.5)
    for name in whole:
        np.testing.assert_allclose(half[name][0], 0.5 * whole[name][0], rtol=1e-2, atol=1e-6)


def test_steps_move_every_player_and_teach_what_belongs_together():
    """Down to what undecided players pay is easy: all places alike. Below it, they must have learned to tell places."""
    small = {**UNET, "generator_levels": 2, "image_size": 32}
    system, batch = make_cut(**small, learning_rate=1e-2), smooth_batch()
    before = {name: network.get_weights() for name, network in system.networks.items()}
    step = tf.function(functools.partial(train_step, system, make_gradients(system, system.config)), autograph=False)
    costs = [float(step(*batch, SEED)["nce"]) for _ in range(30)]
    for name, network in system.networks.items():
        assert all((new != old).any() for new, old in zip(network.get_weights(), before[name], strict=True)), name
    assert costs[-1] < 0.9 * 0.5 * np.log(system.config.nce_patches) < costs[0]


def test_there_is_no_way_back(system):
    assert set(system.networks) == {"photo_to_monet", "monet_discriminator", "projection"}


@pytest.mark.parametrize("weights", [{"cycle_weight": 10.0, "identity_weight": 0.0},
                                     {"cycle_weight": 0.0, "identity_weight": 5.0}, {}])
def test_cycle_and_identity_weights_are_refused(weights):
    with pytest.raises(UserError, match="--system cut .*--cycle-weight .*--preset cut"):
        make_config(system="cut", **weights)


def test_a_place_without_features_has_a_finite_gradient():
    """Such as a grey pixel: its colors are 0, and so are all biases at first."""
    projection = projection_network([3], "projection")
    with tf.GradientTape() as tape:
        embedded = projection([tf.zeros([1, 4, 3])])
        total = tf.add_n([tf.reduce_sum(part) for part in tf.nest.flatten(embedded)])
    for gradient in tape.gradient(total, projection.trainable_variables):
        assert np.isfinite(gradient).all()
