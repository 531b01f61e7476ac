"""tools/bench_equal.py and the peers that tools/bench_step.py measures beside: the same step, the same networks."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from bench_equal import differences
from peer_tensorflow import Peer

from monet.config import make_config
from monet.cyclegan import CycleGan
from monet.networks import build_discriminator, build_generator, parameter_count
from monet.presets import resolve_config

TOOLS = Path(__file__).resolve().parents[1] / "tools"
NARROW = {"generator_filters": 4, "discriminator_filters": 4}


def test_our_step_is_the_straightforward_one():
    """On random pictures, at half the tutorial's depth and a sixteenth of its width."""
    tf.keras.utils.set_random_seed(1)
    ours = CycleGan(make_config(dropout=0.0, generator_levels=4, **NARROW))
    peer = Peer(dropout=0.0, narrow=16, levels=4)
    photo, monet = (tf.random.stateless_uniform([1, 64, 64, 3], [0, side], -1, 1) for side in (1, 2))
    before = ours.networks["photo_to_monet"].get_weights()
    found = differences(ours, peer, photo, monet)
    assert found["losses"] < 1e-4
    assert found["weights"] < 1e-4
    moved = [np.abs(new - old).max() for new, old in zip(ours.networks["photo_to_monet"].get_weights(), before,
                                                         strict=True)]
    assert max(moved) > 4e-4  # three steps of 2e-4: what is compared is not where both began


@pytest.mark.parametrize("preset", ["tutorial", "paper"])
def test_pytorchs_networks_have_the_parameters_of_ours(peers, preset):
    config = resolve_config({"preset": preset, **NARROW})
    ours = {"photo_to_monet": build_generator(config, "photo_to_monet"),
            "photo_discriminator": build_discriminator(config, "photo_discriminator", config.discriminator)}
    run = subprocess.run([peers, TOOLS / "peer_torch.py", preset, "16"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    theirs = json.loads(run.stdout)
    for name, network in ours.items():
        assert theirs["parameters"][name] == parameter_count(network), name
    assert set(theirs["losses"]) == {"cycle", "identity", *theirs["parameters"]}
    assert all(np.isfinite(loss) for loss in theirs["losses"].values())
