"""Small discriminators, and images to show them."""

import tensorflow as tf
from tensorflow import keras

from monet.core.config import make_config
from monet.gan.discriminator import Discriminator

SIZE = 32
SMALL_DISCRIMINATOR = {"image_size": SIZE, "jitter": 0, "discriminator_levels": 2, "gamma_mean": 1.0}


def images(seed, batch=2):
    return tf.random.stateless_uniform([batch, SIZE, SIZE, 3], [3, seed], -1, 1)


def make_discriminator(side, **values):
    keras.utils.set_random_seed(1)
    return Discriminator(make_config(**{**SMALL_DISCRIMINATOR, **values}), f"{side}_discriminator")
