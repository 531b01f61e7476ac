"""The bench's peers of the training step: the same step, the same networks."""

import json
import subprocess

from console import module_command, module_environment

import numpy as np
import pytest
import tensorflow as tf
from benchmark.equal import STEPS, differences
from benchmark.peers.plain_tensorflow import PlainCycleGan

from monet.core.config import make_config
from monet.core.presets import resolve_config
from monet.gan.cyclegan import CycleGan
from monet.machine.devices import Device
from monet.networks.build import build_discriminator, build_generator
from monet.training.describe import parameter_count
from monet.training.settled import settled

NARROW = {"generator_filters": 4, "discriminator_filters": 4}


def test_our_step_is_the_straightforward_one():
    """On random images, with half the tutorial's levels and a sixteenth of its width."""
    tf.keras.utils.set_random_seed(1)
    ours = CycleGan(settled(make_config(dropout=0.0, generator_levels=4, **NARROW), Device("CPU")))
    plain = PlainCycleGan(dropout=0.0, narrow=16, levels=4)
    photo, monet = (tf.random.stateless_uniform([1, 64, 64, 3], [0, side], -1, 1) for side in (1, 2))
    before = ours.networks["photo_to_monet"].get_weights()
    found = differences(ours, plain, photo, monet)
    assert found["losses"] < 1e-4
    assert found["weights"] < 1e-4
    changes = [np.abs(new - old).max() for new, old in zip(ours.networks["photo_to_monet"].get_weights(), before,
                                                           strict=True)]
    assert max(changes) > 0.7 * STEPS * 2e-4  # the weights have moved from where both started


@pytest.mark.parametrize("preset", ["tutorial", "paper"])
def test_pytorchs_networks_have_the_parameters_of_ours(peers, preset):
    config = resolve_config({"preset": preset, **NARROW})
    ours = {"photo_to_monet": build_generator(config, "photo_to_monet"),
            "photo_discriminator": build_discriminator(config, "photo_discriminator", config.discriminator)}
    process = subprocess.run(module_command("benchmark.peers.pytorch", preset, 16, python=peers), capture_output=True,
                             text=True, env=module_environment())
    assert process.returncode == 0, process.stderr
    pytorch = json.loads(process.stdout)
    for name, network in ours.items():
        assert pytorch["parameters"][name] == parameter_count(network), name
    assert set(pytorch["losses"]) == {"cycle", "identity", *pytorch["parameters"]}
    assert all(np.isfinite(loss) for loss in pytorch["losses"].values())
