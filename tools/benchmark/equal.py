"""Whether our training step is the straightforward form's, for tools/benchmark/step.py: python -m benchmark.equal DATA.

Prints JSON: by how much losses and weights differ at the tutorial's full size, dropout off. A process of its own,
because it holds eight networks.
"""

import functools
import json
import sys

import numpy as np
import tensorflow as tf
from benchmark.peers.plain_tensorflow import Peer

from monet.core.presets import resolve_config
from monet.data.pipeline import first_images
from monet.data.validation import find_data
from monet.gan.cyclegan import CycleGan
from monet.training.train_step import train_step

STEPS = 3


def differences(ours: CycleGan, peer: Peer, photo: tf.Tensor, monet: tf.Tensor) -> dict:
    """How far `STEPS` steps of a system and of the straightforward form come apart.

    Args:
        ours: a system without dropout.
        peer: the straightforward form in the same sizes; it is given the same weights.
        photo: float32 `[batch, height, width, 3]` in [-1, 1].
        monet: the same for paintings.

    Returns:
        `losses`, the largest relative difference of a loss of a step, and `weights`, the largest difference of a weight
        at the end.
    """
    for name, network in ours.networks.items():
        peer.networks[name].set_weights(network.get_weights())
    step, seed = tf.function(functools.partial(train_step, ours), autograph=False), tf.zeros([2], tf.int32)
    losses = []
    for _ in range(STEPS):
        mine, theirs = step(photo, monet, seed), peer.step(photo, monet)
        losses += [abs(float(mine[name]) / float(theirs[name]) - 1) for name in theirs]
    weights = [float(np.abs(a - b).max()) for name, network in ours.networks.items()
               for a, b in zip(network.get_weights(), peer.networks[name].get_weights(), strict=True)]
    return {"losses": max(losses), "weights": max(weights)}


def main() -> None:
    """The program."""
    data = find_data(sys.argv[1])
    config = resolve_config({"preset": "tutorial", "dropout": 0.0})
    photo, monet = (first_images(side, 1, config.image_size) for side in (data.photo, data.monet))
    tf.keras.utils.set_random_seed(0)
    print(json.dumps(differences(CycleGan(config), Peer(dropout=0.0), photo, monet)))


if __name__ == "__main__":
    main()
