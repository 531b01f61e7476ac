"""tools/bench_equal.py and the peers that tools/bench_step.py measures beside: the same step, the same networks."""

import numpy as np
import pytest
import tensorflow as tf
from bench_equal import differences
from peer_tensorflow import Peer

from monet.config import make_config
from monet.cyclegan import CycleGan
from monet.networks import build_discriminator, build_generator, parameter_count
from monet.presets import resolve_config

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
def test_pytorchs_networks_have_the_parameters_of_ours(preset):
    pytest.importorskip("torch", reason="PyTorch is for the bench only")
    import peer_torch

    config = resolve_config({"preset": preset, **NARROW})
    ours = {"photo_to_monet": build_generator(config, "photo_to_monet"),
            "photo_discriminator": build_discriminator(config, "photo_discriminator", config.discriminator)}
    peer = peer_torch.Peer(preset, narrow=16)
    for name, network in ours.items():
        parameters = peer.networks[name].parameters()
        assert sum(part.numel() for part in parameters) == parameter_count(network), name
    draw = np.random.default_rng(0).uniform(-1, 1, [1, 256, 256, 3]).astype(np.float32)
    losses = peer.step(*(peer_torch.prepared(images, peer) for images in (draw, -draw)))
    assert set(losses) == {"cycle", "identity", *peer.networks}
    assert all(np.isfinite(loss) for loss in losses.values())
