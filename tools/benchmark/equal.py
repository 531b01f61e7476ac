"""Compares our training step with the straightforward form's: python -m benchmark.equal DATA.

Prints as JSON how far losses and weights differ at the tutorial's full size, without dropout. It is a process of its
own because it holds eight networks.
"""

import functools
import json
import sys

from console import run_tool

import numpy as np
import tensorflow as tf
from benchmark.peers.plain_tensorflow import PlainCycleGan

from monet.core.presets import resolve_config
from monet.data.pipeline import first_images
from monet.data.validation import find_data
from monet.gan.cyclegan import CycleGan
from monet.machine.devices import Device
from monet.training.settled import settled
from monet.training.train_step import make_gradients, train_step

STEPS = 3


def differences(ours: CycleGan, plain: PlainCycleGan, photo: tf.Tensor, monet: tf.Tensor) -> dict:
    """Makes `STEPS` steps of our system and of the straightforward form, and compares them.

    Args:
        ours: a system without dropout.
        plain: the straightforward form in the same sizes; it gets the same weights first.
        photo: float32 `[batch, height, width, 3]` in [-1, 1].
        monet: the same for paintings.

    Returns:
        `losses`, the largest relative difference of any step's loss, and `weights`, the largest absolute difference of
        any weight after the last step.
    """
    for name, network in ours.networks.items():
        plain.networks[name].set_weights(network.get_weights())
    gradients_of_batch, seed = make_gradients(ours, ours.config), tf.zeros([2], tf.int32)
    step = tf.function(functools.partial(train_step, ours, gradients_of_batch), autograph=False)
    losses = []
    for _ in range(STEPS):
        our_losses, plain_losses = step(photo, monet, seed), plain.step(photo, monet)
        losses += [abs(float(our_losses[name]) / float(plain_losses[name]) - 1) for name in plain_losses]
    weights = [float(np.abs(a - b).max()) for name, network in ours.networks.items()
               for a, b in zip(network.get_weights(), plain.networks[name].get_weights(), strict=True)]
    return {"losses": max(losses), "weights": max(weights)}


def main() -> None:
    """Compares the two on the first photo and the first painting of the data, and prints the differences."""
    data = find_data(sys.argv[1])
    config = settled(resolve_config({"preset": "tutorial", "dropout": 0.0}), Device("CPU"))
    photo, monet = (first_images(images, 1, config.image_size) for images in (data.photo, data.monet))
    tf.keras.utils.set_random_seed(0)
    print(json.dumps(differences(CycleGan(config), PlainCycleGan(dropout=0.0), photo, monet)))


if __name__ == "__main__":
    sys.exit(run_tool(main))
