"""monet.gan: learning rates and averages, the pool of past fakes, and what discriminators see."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from monet.core.config import make_config
from monet.core.errors import UserError
from monet.gan.discriminator import Discriminator
from monet.gan.image_pool import ImagePool
from monet.gan.optimizers import ENDLESS, LinearDecay, averages, copy_averaged, make_optimizer, run_length
from monet.networks.build import build_generator

SIZE = 32
SMALL = {"image_size": SIZE, "jitter": 0, "generator_filters": 2, "generator_levels": 2, "discriminator_filters": 2,
         "discriminator_levels": 2, "gamma_mean": 1.0}
SEED = tf.constant([1, 2])


def seeds(count):
    return [tf.constant([9, number]) for number in range(count)]


def noise(seed, batch=2):
    return tf.random.stateless_uniform([batch, SIZE, SIZE, 3], [3, seed], -1, 1)


def softplus(x):
    return np.log1p(np.exp(x))


# --- Optimizers ---


def one_weight(**values):
    """A network of one weight, and its optimizer."""
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    config = make_config(**values)
    return network, make_optimizer(config, network, run_length(config))


def rates_in_use(network, optimizer, steps):
    """How far each step moves the weight under a constant gradient of 1: Adam's moments cancel, leaving the rate."""
    [weight] = network.trainable_variables
    weight.assign([[0.0]])
    places = [0.0]
    for _ in range(steps):
        optimizer.apply_gradients([(tf.constant([[1.0]]), weight)])
        places.append(float(weight.numpy()[0, 0]))
    return -np.diff(places)


@pytest.mark.parametrize(("decay_start", "expected"), [
    (0.5, [1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0, 0]),
    (0.0, [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0, 0]),
    (1.0, [1] * 12),
])
def test_the_rate_is_constant_and_then_falls_linearly_to_0(decay_start, expected):
    network, optimizer = one_weight(epochs=5, steps_per_epoch=2, learning_rate=0.1, decay_start=decay_start)
    np.testing.assert_allclose(rates_in_use(network, optimizer, 12), 0.1 * np.array(expected), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("decay_start", [0.0, 0.5, 0.99])
def test_a_length_that_is_found_late_moves_the_rate_without_a_new_graph(decay_start):
    """In one graph: full until the length is known, then as that of a run of so many steps from the start, and 0 at its
    end."""
    config = make_config(minutes=1.0, decay_start=decay_start, learning_rate=0.1)
    length, traces = run_length(config), []
    schedule = LinearDecay(config, length)

    @tf.function
    def rate(step):
        traces.append(step)
        return schedule(step)

    known = LinearDecay(make_config(epochs=1, steps_per_epoch=200, decay_start=decay_start, learning_rate=0.1), 200)
    assert length.numpy() == np.float32(ENDLESS)
    assert {rate(tf.constant(step)).numpy() for step in (0, 1, 10**6)} == {np.float32(0.1)}
    length.assign(200)
    for step in (0, 99, 100, 150, 199):
        assert rate(tf.constant(step)).numpy() == pytest.approx(known(step).numpy(), rel=1e-6)
    assert rate(tf.constant(199)) > rate(tf.constant(200)) == 0
    assert len(traces) == 1


@pytest.mark.parametrize("values", [{"epochs": 24, "steps_per_epoch": 300, "decay_start": 0.5},
                                    {"epochs": 1, "steps_per_epoch": 7, "decay_start": 0.95},
                                    {"epochs": 3, "steps_per_epoch": 11, "decay_start": 0.0}])
def test_rates_by_epochs_are_to_the_bit_those_of_the_formula_with_constants(values):
    config = make_config(**values)
    total = config.total_steps
    rate = tf.function(LinearDecay(config, run_length(config)))

    @tf.function
    def expected(step):
        remaining = (total - tf.cast(step, tf.float32)) / max(total - config.decay_start * total, 1.0)
        return config.learning_rate * tf.clip_by_value(remaining, 0.0, 1.0)

    for step in tf.range(0, total + 1, 1 + total // 50):
        assert rate(step).numpy() == expected(step).numpy()


def test_a_resumed_run_continues_with_the_right_rate():
    network, optimizer = one_weight(epochs=5, steps_per_epoch=2, learning_rate=0.1, decay_start=0.5)
    optimizer.iterations.assign(7)
    for moments, decay in ((optimizer._momentums, 0.5), (optimizer._velocities, 0.999)):
        moments[0].assign([[1 - decay**7]])  # as after 7 steps under a gradient of 1
    np.testing.assert_allclose(rates_in_use(network, optimizer, 3), [0.06, 0.04, 0.02], rtol=1e-3)


def averaged_generator(decay=0.9, norm="instance", **values):
    """A generator, its averaging optimizer, and a painter of the same kind with its own weights."""
    config = make_config(**{**SMALL, "ema_decay": decay, "norm": norm, "learning_rate": 0.05, **values})
    network, painter = build_generator(config, "photo_to_monet"), build_generator(config, "photo_to_monet")
    return network, make_optimizer(config, network, run_length(config), average=True), painter


def random_steps_one_by_one(network, optimizer, count):
    """Applies random gradients; yields the weights after each step."""
    generator = np.random.default_rng(0)
    for _ in range(count):
        gradients = [tf.constant(generator.normal(size=variable.shape), tf.float32)
                     for variable in network.trainable_variables]
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        yield [variable.numpy() for variable in network.trainable_variables]


def random_steps(network, optimizer, count):
    """Makes all of these steps."""
    return list(random_steps_one_by_one(network, optimizer, count))


def test_the_moving_average_follows_its_formula():
    """a_t = d_t a_(t-1) + (1 - d_t) w_t with d_t rising to the decay. The versions of Keras differ only in the first
    step, after which Keras 3 takes the weights as they are."""
    decay = 0.4
    network, optimizer, _ = averaged_generator(decay, epochs=1, steps_per_epoch=8, decay_start=0.25)
    expected = [variable.numpy() for variable in network.trainable_variables]
    assert_averages(network, optimizer, expected)
    for step, weights in enumerate(random_steps_one_by_one(network, optimizer, 8)):
        now = min(decay, (1 + step) / (10 + step))
        if step == 0 and np.allclose(averages(network, optimizer)[0][1].numpy(), weights[0]):
            now = 0.0  # Keras 3
        expected = [now * mean + (1 - now) * weight for mean, weight in zip(expected, weights, strict=True)]
        assert_averages(network, optimizer, expected)
    for variable, mean in averages(network, optimizer):
        assert np.abs(mean.numpy() - variable.numpy()).max() > 1e-4


def assert_averages(network, optimizer, expected):
    for (_, mean), value in zip(averages(network, optimizer), expected, strict=True):
        np.testing.assert_allclose(mean.numpy(), value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("average", "decay"), [(False, 0.9), (True, 0.0)])
def test_weights_are_averaged_only_on_request(average, decay):
    config = make_config(**SMALL, ema_decay=decay)
    network = build_generator(config, "photo_to_monet")
    assert averages(network, make_optimizer(config, network, run_length(config), average=average)) == []


def weights_by_layer(network):
    return {(layer.name, number): weight for layer in network.layers
            for number, weight in enumerate(layer.get_weights())}


def test_the_painter_gets_the_averages_and_the_weights_that_are_not_trained():
    network, optimizer, painter = averaged_generator(norm="batch")
    random_steps(network, optimizer, 3)
    network([noise(0), SEED], training=True)  # moves the batch normalization's statistics
    copy_averaged(network, optimizer, painter)
    means = {id(variable): mean.numpy() for variable, mean in averages(network, optimizer)}
    pairs = list(zip(painter.weights, network.weights, strict=True))
    assert 0 < len(means) < len(pairs)
    for target, source in pairs:
        np.testing.assert_array_equal(target.numpy(), means.get(id(source), source.numpy()))
        if "moving" not in source.name:
            assert (target.numpy() != source.numpy()).any(), source.name
    statistics = weights_by_layer(painter)["down2_norm", 2]  # gamma, beta, moving mean, moving variance
    assert (statistics != 0).any()


def test_the_painter_without_averages_is_a_copy_that_does_not_follow_training():
    network, optimizer, painter = averaged_generator(decay=0.0)
    random_steps(network, optimizer, 1)
    copy_averaged(network, optimizer, painter)
    expected = network([noise(0), SEED]).numpy()
    random_steps(network, optimizer, 1)
    np.testing.assert_allclose(painter([noise(0), SEED]), expected, atol=1e-6)
    assert np.abs(network([noise(0), SEED]).numpy() - expected).max() > 1e-3


# --- The pool ---


def make_pool(size, batch):
    return ImagePool(make_config(**SMALL, image_pool=size, batch_size=batch))


def numbered(first, batch):
    """Images filled with one number each: `first`, `first` + 1, ..."""
    return tf.ones([batch, SIZE, SIZE, 3]) * tf.range(first, first + batch, dtype=tf.float32)[:, None, None, None]


def numbers_of(images):
    """The numbers of such images; fails if one is a mixture."""
    flat = np.reshape(images, [len(images), -1])
    assert (flat == flat[:, :1]).all()
    return flat[:, 0].astype(int).tolist()


def feed(pool, batch, steps):
    """What the pool returns, step by step, for images 1, 2, 3, ..."""
    swapped = tf.function(pool.exchange, autograph=False)
    return [numbers_of(swapped(numbered(1 + batch * step, batch), seed).numpy())
            for step, seed in enumerate(seeds(steps))]


def test_a_filling_pool_shows_new_images_and_keeps_them():
    pool = make_pool(6, 2)
    assert feed(pool, 2, 3) == [[1, 2], [3, 4], [5, 6]]
    assert sorted(numbers_of(pool.images.numpy())) == [1, 2, 3, 4, 5, 6]
    assert int(pool.count.numpy()) == 6


def test_a_full_pool_shows_as_many_old_images_as_new_ones_each_once():
    """After filling, a new image is shown or goes into the pool, and leaves it only to be shown."""
    pool = make_pool(6, 2)
    steps = 200
    shown = [number for step in feed(pool, 2, steps)[3:] for number in step]
    new = [number in (7 + 2 * (place // 2), 8 + 2 * (place // 2)) for place, number in enumerate(shown)]
    assert 0.4 < np.mean(new) < 0.6
    pairs = np.reshape(new, [-1, 2])
    assert 0.3 < (pairs[:, 0] != pairs[:, 1]).mean() < 0.7  # independently for each image of a batch
    assert sorted(shown + numbers_of(pool.images.numpy())) == list(range(1, 2 * steps + 1))


def test_old_images_come_from_anywhere_in_the_pool():
    pool = make_pool(4, 1)
    ages = {place + 1 - number for place, [number] in enumerate(feed(pool, 1, 300))}
    assert ages >= {0, 1, 2, 3, 4, 5, 6, 7}  # first in, first out would give 0 and one other


def test_a_batch_that_does_not_divide_the_pool_still_fills_it():
    pool = make_pool(5, 2)
    assert feed(pool, 2, 3) == [[1, 2], [3, 4], [5, 6]]
    assert int(pool.count.numpy()) == 5
    assert set(numbers_of(pool.images.numpy())) <= {1, 2, 3, 4, 5, 6}  # and no 0, which was not a fake


def test_the_seed_decides_what_the_pool_shows():
    assert feed(make_pool(4, 2), 2, 20) == feed(make_pool(4, 2), 2, 20)


def test_each_device_has_its_own_pool():
    """In its own process: logical devices must be configured before TensorFlow's first use."""
    code = """
        import tensorflow as tf
        [cpu] = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        from monet.core.config import make_config
        from monet.gan.image_pool import ImagePool
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        with strategy.scope():
            pool = ImagePool(make_config(image_size=32, image_pool=1, batch_size=2))
        def step():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            return pool.exchange(tf.ones([1, 32, 32, 3]) * tf.cast(replica + 1, tf.float32), tf.constant([1, 2]))
        shown = strategy.experimental_local_results(tf.function(lambda: strategy.run(step))())
        print([float(tf.reduce_mean(images)) for images in shown],
              [float(tf.reduce_mean(images)) for images in strategy.experimental_local_results(pool.images)],
              float(tf.reduce_mean(tf.convert_to_tensor(pool.images))), int(tf.convert_to_tensor(pool.count)))
        """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split("\n")[-2] == "[1.0, 2.0] [1.0, 2.0] 1.0 1"


# --- Discriminators ---


def make_discriminator(side="monet", **values):
    keras.utils.set_random_seed(1)
    return Discriminator(make_config(**{**SMALL, **values}), f"{side}_discriminator")


def judged(discriminator, images):
    """The network's logits, by head."""
    return [head.numpy() for head in tf.nest.flatten(discriminator.network(images, training=True))]


def losses_by_seed(discriminator, real, fake, count=20):
    """The discriminator's loss under several seeds."""
    return [float(discriminator.loss_and_gradients(real, fake, seed, 1.0)[0]) for seed in seeds(count)]


def test_mixed_losses_are_least_squares_for_the_generator_and_cross_entropy_for_the_discriminator():
    player = make_discriminator(adversarial_loss="lsgan", discriminator_loss="bce", discriminator_weight=0.25)
    real, fake = noise(0), noise(1)
    [real_logits], [fake_logits] = judged(player, real), judged(player, fake)
    assert float(player.generator_loss(fake, SEED)) == pytest.approx(((fake_logits - 1) ** 2).mean(), rel=1e-4)
    loss, _ = player.loss_and_gradients(real, fake, SEED, 1.0)
    expected = 0.25 * (softplus(-real_logits).mean() + softplus(fake_logits).mean())
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_two_objectives_are_hinge_and_cross_entropy_on_separate_heads():
    player = make_discriminator(discriminator="two_objective", discriminator_weight=1.0)
    real, fake = noise(0), noise(1)
    (real_hinge, real_bce), (fake_hinge, fake_bce) = judged(player, real), judged(player, fake)
    assert real_hinge.shape == real_bce.shape
    assert (real_hinge != real_bce).all()
    fooling = (-fake_hinge.mean() + softplus(-fake_bce).mean()) / 2
    assert float(player.generator_loss(fake, SEED)) == pytest.approx(fooling, rel=1e-4)
    hinge = np.maximum(0, 1 - real_hinge).mean() + np.maximum(0, 1 + fake_hinge).mean()
    bce = softplus(-real_bce).mean() + softplus(fake_bce).mean()
    loss, gradients = player.loss_and_gradients(real, fake, SEED, 1.0)
    assert float(loss) == pytest.approx((hinge + bce) / 2, rel=1e-4)
    # Undecided reals and fakes cancel in the gradient of the hinge head's bias.
    assert all(np.abs(gradient).max() > 0 for gradient in gradients if gradient.shape != (1,))


def test_only_the_monet_discriminator_has_two_objectives():
    player = make_discriminator("photo", discriminator="two_objective", adversarial_loss="lsgan")
    [logits] = judged(player, noise(0))
    assert float(player.generator_loss(noise(0), SEED)) == pytest.approx(((logits - 1) ** 2).mean(), rel=1e-4)


def test_the_gradients_are_scaled_by_the_share_and_the_loss_is_not():
    player = make_discriminator()
    whole, of_whole = player.loss_and_gradients(noise(0), noise(1), SEED, 1.0)
    half, of_half = player.loss_and_gradients(noise(0), noise(1), SEED, 0.5)
    assert float(half) == pytest.approx(float(whole))
    for one, other in zip(of_whole, of_half, strict=True):
        np.testing.assert_allclose(other, 0.5 * one, rtol=1e-3, atol=1e-7)


def test_the_discriminators_loss_has_no_gradient_for_the_generator():
    player, fake = make_discriminator(), noise(1)
    with tf.GradientTape() as tape:
        tape.watch(fake)
        loss, _ = player.loss_and_gradients(noise(0), fake, SEED, 1.0)
    assert tape.gradient(loss, fake) is None


@pytest.mark.parametrize("side", ["monet", "photo"])
def test_diffaugment_changes_reals_and_fakes_for_the_monet_discriminator_only(side):
    """A shifted image of zeros is still zeros, so differences between seeds come from the other image."""
    player = make_discriminator(side, diffaugment="translation")
    plain, black = noise(0), tf.zeros([2, SIZE, SIZE, 3])
    varied = {
        "generator": [float(player.generator_loss(plain, seed)) for seed in seeds(20)],
        "real": losses_by_seed(player, plain, black),
        "fake": losses_by_seed(player, black, plain),
    }
    for name, losses in varied.items():
        assert (np.ptp(losses) > 1e-5) == (side == "monet"), (name, losses)
    assert np.ptp(losses_by_seed(player, black, black)) < 1e-6


def test_diffaugment_passes_the_generators_gradient_on():
    """The gradient is 0 in a cutout's hole, and not around it."""
    player, fake = make_discriminator(diffaugment="cutout"), noise(0, batch=1)
    with tf.GradientTape() as tape:
        tape.watch(fake)
        loss = player.generator_loss(fake, SEED)
    reached = (tape.gradient(loss, fake).numpy() != 0).mean()
    assert 0.7 < reached < 0.97  # the hole is a sixteenth to a quarter of it


def pooled_losses(**values):
    """The loss on noise 1, and by seed the loss on noise 2 with a pool of one, if any, that holds noise 1."""
    player = make_discriminator(batch_size=1, **values)
    real, old, new = (noise(number, batch=1) for number in range(3))
    by_old, by_new = losses_by_seed(player, real, old, 1), []
    for seed in seeds(40):
        if player.pool:
            player.pool.images.assign(old)
        by_new.append(float(player.loss_and_gradients(real, new, seed, 1.0)[0]))
    return by_old[0], by_new


def test_the_discriminator_sees_what_the_pool_returns():
    by_old, [by_new, *_] = pooled_losses(image_pool=0)
    assert abs(by_old - by_new) > 1e-5
    _, found = pooled_losses(image_pool=1)
    of_old, of_new = (np.isclose(found, loss, rtol=1e-5, atol=0) for loss in (by_old, by_new))
    assert (of_old ^ of_new).all()
    assert 8 < of_old.sum() < 32


def test_without_a_pool_the_discriminator_sees_only_new_images():
    assert make_discriminator(image_pool=0).pool is None
    _, found = pooled_losses(image_pool=0)
    assert np.ptp(found) < 1e-6


def test_the_generator_is_judged_by_its_new_images_only():
    player = make_discriminator(batch_size=1, image_pool=1)
    player.loss_and_gradients(noise(0, batch=1), noise(1, batch=1), SEED, 1.0)
    assert np.ptp([float(player.generator_loss(noise(2, batch=1), seed)) for seed in seeds(10)]) == 0.0
    np.testing.assert_array_equal(player.pool.images, noise(1, batch=1))


@pytest.mark.parametrize(("values", "pattern"), [
    ({"discriminator_loss": "hing"}, "--discriminator-loss hing: .* mean hinge"),
    ({"adversarial_loss": "lsgna"}, "--adversarial-loss lsgna: .* mean lsgan"),
    ({"discriminator": "strid"}, "--discriminator strid: .* mean strided"),
    ({"diffaugment": "colour"}, "--diffaugment colour: .* mean color"),
])
def test_unknown_names_are_refused(values, pattern):
    with pytest.raises(UserError, match=pattern):
        make_discriminator(**values)
