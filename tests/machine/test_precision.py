"""Mixed precision: networks in bfloat16 or float16; normalization, last layers and losses in float32; a loss scale."""

import numpy as np
import pytest
import tensorflow as tf

from monet.core.errors import UserError
from monet.gan.loss_scale import DOUBLED_AFTER, FIRST_SCALE, LossScale
from monet.gan.systems import SYSTEMS
from monet.machine.devices import Device, precision_for, set_precision
from monet.networks.layers import NORMS
from monet.training.arrays import value_of
from monet.training.state import system_variables
from monet.training.train_step import make_gradients, train_step
from monet.training.trainer import Trainer

CUT = {"system": "cut", "cycle_weight": 0.0, "identity_weight": 0.0}
T4, A100, P100 = (7, 5), (8, 0), (6, 0)


@pytest.mark.parametrize(("asked", "kind", "capability", "expected"), [
    ("auto", "TPU", (0, 0), "bfloat16"),
    ("auto", "GPU", A100, "bfloat16"),
    ("auto", "GPU", T4, "float16"),
    ("auto", "GPU", P100, "float32"),
    ("auto", "CPU", (0, 0), "float32"),
    ("float32", "TPU", (0, 0), "float32"),
    ("float16", "GPU", A100, "float16"),
    ("bfloat16", "CPU", (0, 0), "bfloat16"),
])
def test_each_device_gets_its_format(asked, kind, capability, expected):
    assert precision_for(asked, Device(kind, capability=capability)) == expected


@pytest.mark.parametrize(("asked", "kind", "capability", "instead"), [
    ("float16", "TPU", (0, 0), "bfloat16"), ("bfloat16", "GPU", T4, "float16"), ("bfloat16", "GPU", P100, "float32")])
def test_a_format_that_the_device_does_not_support_is_refused(asked, kind, capability, instead):
    with pytest.raises(UserError, match=f"--precision {asked}: .*{kind} .* auto, .*{instead} here"):
        precision_for(asked, Device(kind, capability=capability))


def layer_dtypes(network):
    """The number formats that the layers compute in, by layer name."""
    return {layer.name: layer.compute_dtype for layer in network.layers}


@pytest.mark.lengthy
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("settings", [
    {"diffaugment": "color,translation,cutout", "image_pool": 4, "ema_decay": 0.9, "feature_cycle": 0.5},
    {"norm": "batch", "discriminator": "two_objective", "adversarial_loss": "hinge"}, CUT])
def test_twenty_steps_without_a_nan(tiny, small_data, precision, settings):
    trainer = Trainer(tiny(precision=precision, gamma_mean=1.0, epochs=1, steps_per_epoch=20, **settings), small_data,
                      tf.distribute.get_strategy())
    before = {name: value_of(variable) for name, variable in system_variables(trainer.engine.system).items()}
    trainer.fit()
    assert (trainer.state.step, trainer.state.skipped) == (20, 0)
    for name, variable in system_variables(trainer.engine.system).items():
        assert np.isfinite(value_of(variable)).all(), name
    for network in trainer.engine.system.networks.values():
        for kernel in network.trainable_variables:
            assert kernel.dtype in ("float32", tf.float32)
    kernel = "photo_to_monet/down2_conv/kernel"
    assert np.abs(value_of(system_variables(trainer.engine.system)[kernel]) - before[kernel]).max() > 1e-3


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("norm", NORMS)
def test_normalization_and_last_layers_are_in_float32_and_convolutions_are_not(tiny, precision, norm):
    set_precision(precision)
    system = SYSTEMS["cyclegan"](tiny(norm=norm, precision=precision))
    for name in ("photo_to_monet", "monet_discriminator"):
        formats = layer_dtypes(system.networks[name])
        norms = [layer for layer in formats if "norm" in layer]
        assert norms and all(formats[layer] == "float32" for layer in norms)
        assert formats["down2_conv"] == precision
        assert formats["image_conv" if name == "photo_to_monet" else "logits"] == "float32"
    images = tf.random.stateless_uniform([2, 64, 64, 3], [0, 1], -1, 1)
    losses, gradients = system.losses_and_gradients(images, images, tf.constant([1, 2]))
    assert {loss.dtype for loss in losses.values()} == {tf.float32}
    assert {gradient.dtype for gradient in tf.nest.flatten(gradients)} == {tf.float32}


def gradients_of(value):
    return {"a": [tf.constant([1.0, value]), tf.constant([[2.0]])], "b": [tf.constant(3.0)]}


def test_gradients_are_divided_by_the_scale():
    scale = LossScale()
    result = scale.unscale(gradients_of(4.0))
    np.testing.assert_allclose(result["a"][0], np.array([1.0, 4.0]) / FIRST_SCALE)
    np.testing.assert_allclose(result["b"][0], 3.0 / FIRST_SCALE)
    assert (float(scale.scale), int(scale.good_steps)) == (FIRST_SCALE, 1)


@pytest.mark.parametrize("broken", [np.inf, -np.inf, np.nan])
def test_an_overflow_halves_the_scale_and_counts_as_no_gradient(broken):
    scale = LossScale()
    scale.unscale(gradients_of(4.0))
    for gradient in tf.nest.flatten(scale.unscale(gradients_of(broken))):
        np.testing.assert_array_equal(gradient, np.zeros(gradient.shape))
    assert (float(scale.scale), int(scale.good_steps)) == (FIRST_SCALE / 2, 0)


def test_the_scale_doubles_after_many_good_steps_and_is_never_less_than_1():
    scale = LossScale()
    scale.good_steps.assign(DOUBLED_AFTER - 1)
    scale.unscale(gradients_of(4.0))
    assert (float(scale.scale), int(scale.good_steps)) == (2 * FIRST_SCALE, 0)
    for _ in range(40):
        scale.unscale(gradients_of(np.inf))
    assert float(scale.scale) == 1.0


@pytest.mark.lengthy
@pytest.mark.keras_2
def test_the_scale_changes_no_gradient(tiny):
    """Two equal steps in float16 whose scales differ by a power of two end alike."""
    set_precision("float16")
    images = tf.random.stateless_uniform([2, 64, 64, 3], [0, 1], -1, 1)
    ends = []
    for first in (2.0**12, 2.0**13):
        tf.keras.utils.set_random_seed(0)
        config = tiny(gamma_mean=1.0, dropout=0.0, precision="float16")
        system = SYSTEMS["cyclegan"](config)
        system.loss_scale.scale.assign(first)
        before = system.networks["photo_to_monet"].get_layer("down2_conv").get_weights()[0]
        train_step(system, make_gradients(system, config), images, images, tf.constant([1, 2]))
        ends.append(system.networks["photo_to_monet"].get_layer("down2_conv").get_weights()[0] - before)
    assert np.abs(ends[0]).max() > 1e-4
    np.testing.assert_allclose(ends[0], ends[1], atol=2e-5)


@pytest.mark.lengthy
def test_a_resumed_run_keeps_its_scale_and_another_precision_drops_it(tiny, small_data):
    first = Trainer(tiny(precision="float16"), small_data, tf.distribute.get_strategy())
    first.engine.system.loss_scale.scale.assign(128.0)
    first.fit()
    resumed = Trainer(tiny(precision="float16"), small_data, tf.distribute.get_strategy())
    assert float(resumed.engine.system.loss_scale.scale) == 128.0
    assert int(resumed.engine.system.loss_scale.good_steps) == 6
    assert Trainer(tiny(precision="float32"), small_data, tf.distribute.get_strategy()).engine.system.loss_scale is None
    again = Trainer(tiny(precision="float32", epochs=3), small_data, tf.distribute.get_strategy())
    again.fit()
    assert float(Trainer(tiny(precision="float16", epochs=3), small_data,
                         tf.distribute.get_strategy()).engine.system.loss_scale.scale) == FIRST_SCALE
