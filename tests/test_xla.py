"""Every preset's step compiles under XLA, as it must for a TPU and does for GPUs, and computes the same."""

import numpy as np
import pytest
import tensorflow as tf

from monet.preparing import SYSTEMS
from monet.presets import PRESETS, resolve_config
from monet.trainer import Trainer

SEED, PROGRESS = tf.constant([1, 2]), tf.constant(0.5)
# The step as it is but for widths, and blocks of which all are alike.
SMALL = {"generator_filters": 2, "discriminator_filters": 2, "dropout": 0.0, "learning_rate": 1e-3}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_presets_step_compiles_and_gives_the_same(preset):
    blocks = {"residual_blocks": 2} if PRESETS[preset].get("generator") else {}
    config = resolve_config({"preset": preset, **SMALL, **blocks, "batch_size": 2})
    tf.keras.utils.set_random_seed(0)
    system = SYSTEMS[config.system](config)
    photo, monet = (tf.random.stateless_uniform([2, config.image_size, config.image_size, 3], [0, side], -1, 1)
                    for side in (1, 2))
    arguments = (photo, monet, SEED, PROGRESS)
    saved = [[tf.identity(variable) for variable in network.variables] for network in system.networks.values()]
    plain, _ = tf.function(system.losses_and_gradients, autograph=False)(*arguments)
    for network, values in zip(system.networks.values(), saved, strict=True):  # the statistics of normalization moved
        for variable, value in zip(network.variables, values, strict=True):
            variable.assign(value)
    for state in system.states.values():
        for variable in state.values():
            variable.assign(tf.zeros_like(variable))
    compiled, gradients = tf.function(system.losses_and_gradients, jit_compile=True, autograph=False)(*arguments)
    assert {name: float(loss) for name, loss in compiled.items()} == pytest.approx(
        {name: float(loss) for name, loss in plain.items()}, rel=1e-3, abs=1e-4)
    assert all(np.isfinite(gradient).all() for gradient in tf.nest.flatten(gradients))


def test_a_run_compiles_when_it_is_told_to(tiny, small_data):
    trainer = Trainer(tiny(xla="on", steps_per_call=3, image_pool=4, diffaugment="color,translation,cutout"),
                      small_data, tf.distribute.get_strategy())
    trainer.fit()
    assert trainer.step == 6
    graph = trainer.call(trainer.steps_function.get_concrete_function, 1).graph
    functions = graph.as_graph_def().library.function
    assert any(function.attr["_XlaMustCompile"].b for function in functions)
