"""Noise on all that a discriminator sees (Sonderby et al. 2017)."""

from collections.abc import Callable

import tensorflow as tf

from monet.core.config import Config, look_up
from monet.core.random_numbers import fold_in, normal
from monet.networks.space_to_depth import on_pixels

OWN_SEED = 1  # apart from the seeds of augmentation, which split the same one


def instance_noise(config: Config) -> Callable[[tf.Tensor, tf.Tensor, float], tf.Tensor]:
    """A function that adds noise to images, given a seed and the fraction of the run completed.

    The noise blurs the difference between reals and fakes. Its standard deviation falls linearly to 0.
    """
    def add_noise(images: tf.Tensor, seed: tf.Tensor, progress: float) -> tf.Tensor:
        deviation = config.instance_noise * (1.0 - progress)
        return on_pixels(lambda pictures, own_seed: pictures + deviation * normal(tf.shape(pictures), own_seed),
                         config)(images, fold_in(seed, OWN_SEED))

    return add_noise


def no_noise(config: Config) -> Callable[[tf.Tensor, tf.Tensor, float], tf.Tensor]:
    """The same without noise."""
    return lambda images, seed, progress: images


NOISES = {False: no_noise, True: instance_noise}  # by whether the config asks for it


def make_noise(config: Config) -> Callable[[tf.Tensor, tf.Tensor, float], tf.Tensor]:
    """The function that adds the config's noise, if any, to images."""
    return look_up(NOISES, config.instance_noise > 0, "instance_noise")(config)
