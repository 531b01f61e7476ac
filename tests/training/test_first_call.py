"""monet.training.first_call: a step that XLA cannot compile, under --xla auto and --xla on."""

import dataclasses
import re

import numpy as np
import pytest
import tensorflow as tf

from monet.gan.cyclegan import CycleGan
from monet.training import trainer as trainer_module
from monet.training.arrays import value_of
from monet.training.settled import settled
from monet.training.state import system_variables
from monet.training.trainer import Trainer


@pytest.fixture
def gpu_choices(monkeypatch):
    """A machine where `--xla auto` means on, as on GPUs."""
    def choose(config, device, data):
        run = settled(config, device, data)
        return dataclasses.replace(run, xla="on" if config.xla == "auto" else run.xla)

    monkeypatch.setattr(trainer_module, "settled", choose)


@pytest.fixture
def uncompilable(monkeypatch):
    """Steps with an operation that XLA does not have."""
    losses_and_gradients = CycleGan.losses_and_gradients

    def through_python(self, photo, monet, *others):
        shape = photo.shape
        photo = tf.numpy_function(lambda array: array, [photo], tf.float32, stateful=False)
        return losses_and_gradients(self, tf.ensure_shape(photo, shape), monet, *others)

    monkeypatch.setattr(CycleGan, "losses_and_gradients", through_python)


def trained(config, data):
    trainer = Trainer(config, data, tf.distribute.get_strategy())
    trainer.fit()
    return trainer


@pytest.mark.lengthy
@pytest.mark.keras_2
def test_a_run_goes_on_without_xla_if_it_cannot_compile_and_was_not_asked_for(tiny, small_data, tmp_path, gpu_choices,
                                                                              uncompilable, caplog):
    with caplog.at_level("INFO", "monet"):
        auto = trained(tiny(out=str(tmp_path / "auto"), gamma_mean=1.0), small_data)
    assert re.search(r"XLA cannot compile the step.*PyFunc", caplog.text)
    assert re.search(r"The first call, of 1 step\(s\), took [\d.]+ s", caplog.text)
    assert auto.state.step == 6
    off = trained(tiny(out=str(tmp_path / "off"), gamma_mean=1.0, xla="off"), small_data)
    for name, variable in system_variables(off.engine.system).items():
        np.testing.assert_allclose(value_of(system_variables(auto.engine.system)[name]), value_of(variable), atol=1e-5,
                                   err_msg=name)


def test_xla_that_was_asked_for_and_fails_is_an_error(tiny, small_data, gpu_choices, uncompilable):
    with pytest.raises(tf.errors.OpError, match="PyFunc"):
        trained(tiny(xla="on"), small_data)


def test_unreadable_data_is_not_taken_for_xlas_fault(tiny, small_data, gpu_choices, caplog, monkeypatch):
    def broken(*_):
        raise tf.errors.DataLossError(None, None, "truncated record [[{{node IteratorGetNext}}]]")

    monkeypatch.setattr("monet.training.engine.make_steps", lambda *_: broken)
    with pytest.raises(Exception, match="truncated"):
        trained(tiny(), small_data)
    assert "XLA" not in caplog.text
