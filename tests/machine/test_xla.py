"""Every preset's step compiles under XLA, as it must for a TPU and does for GPUs, and computes the same."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from monet.core.presets import PRESETS, resolve_config
from monet.gan.systems import SYSTEMS
from monet.training.arrays import value_of
from monet.training.state import system_variables
from monet.training.train_step import make_gradients, train_step
from monet.training.trainer import Trainer

pytestmark = pytest.mark.lengthy

SEED, PROGRESS = tf.constant([1, 2]), tf.constant(0.5)
# The real step, but narrower and with fewer of the identical blocks.
SMALL = {"generator_filters": 2, "discriminator_filters": 2, "batch_size": 2}


def one_step(config, compiled):
    """Losses of a first step, optimizers included, and all variables after it."""
    tf.keras.utils.set_random_seed(0)
    system = SYSTEMS[config.system](config)
    photo, monet = (tf.random.stateless_uniform([2, config.image_size, config.image_size, 3], [0, side], -1, 1)
                    for side in (1, 2))
    step = tf.function(functools.partial(train_step, system, make_gradients(system, config)), jit_compile=compiled,
                       autograph=False)
    losses = {name: float(loss) for name, loss in step(photo, monet, SEED, PROGRESS).items()}
    return losses, {name: value_of(variable) for name, variable in system_variables(system).items()}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_presets_step_compiles_and_gives_the_same(preset):
    """On noise, to which untrained networks respond chaotically: only losses are compared, the rest is finite."""
    blocks = {"residual_blocks": 2} if PRESETS[preset].get("generator") else {}
    config = resolve_config({"preset": preset, **SMALL, **blocks})
    compiled, found = one_step(config, compiled=True)
    assert np.isfinite(list(compiled.values())).all()
    assert all(np.isfinite(value).all() for value in found.values())
    losses, _ = one_step(config, compiled=False)
    assert compiled == pytest.approx(losses, rel=1e-3, abs=1e-4)


def test_a_run_compiles_on_request(tiny, small_data):
    trainer = Trainer(tiny(xla="on", steps_per_call=3, image_pool=4, diffaugment="color,translation,cutout"),
                      small_data, tf.distribute.get_strategy())
    trainer.fit()
    assert trainer.state.step == 6
    engine = trainer.engine
    graph = engine.step_function.get_concrete_function(engine.batches, *map(tf.constant, (0, 0, 1))).graph
    functions = graph.as_graph_def().library.function
    assert any(function.attr["_XlaMustCompile"].b for function in functions)
