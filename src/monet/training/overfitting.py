"""Signals of overfitting: what the Monet discriminator makes of paintings that it knows, of others and of fakes.

The two signals are those of Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data",
equation 1. A PatchGAN gives a picture one output per patch, so the means here are over patches, too.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from monet.core.config import Config
from monet.core.line_plot import OUTPUTS, SIGNALS
from monet.core.pixels import decode_image
from monet.core.random_numbers import fold_in
from monet.data.hold_out import part_of, shuffled_positions
from monet.data.pipeline import jittered
from monet.data.records import Data, ImageSet, read_examples
from monet.gan.discriminator import head_boundaries, network_kind
from monet.networks.generators import without_matching

SAMPLE = 16  # pictures of each kind
SEED_OF_SAMPLE = 3  # separates their crops from the random numbers of training
HOW_TO_READ = (
    "r_t is 0 while the Monet discriminator guesses, and 1 when it is sure of all paintings that it was trained on. "
    "r_v, which needs --hold-out, is 0 while it judges held-out paintings like those, and 1 when it takes them for "
    "fakes. r_v rising towards 1, or r_t near 1 while its loss falls to a third of what it was, means that it knows "
    "its paintings by heart: end the run earlier, augment what it sees (--diffaugment), or penalize its gradients "
    "(--gradient-penalty).")
OVERFITTING = (*OUTPUTS, *SIGNALS)  # columns of history.csv


def sample_pictures(images: ImageSet, config: Config) -> tf.Tensor:
    """`SAMPLE` of the images, or all if there are fewer, as training would show them, but always the same.

    Returns:
        float32 `[n, image_size, image_size, 3]` in [-1, 1].
    """
    sample = part_of(images, shuffled_positions(images.count, config.seed)[:SAMPLE])
    seed = [config.seed, SEED_OF_SAMPLE]
    return tf.stack([jittered(decode_image(example["image"]), fold_in(seed, number), config)
                     for number, example in enumerate(read_examples(sample))])


def sample_of(data: Data, config: Config) -> list[tf.Tensor]:
    """The samples that `judging` takes: of the photos, of the paintings trained on, and of those held out, if any."""
    sets = [data.photo, data.monet, *([data.held_out] if data.held_out else [])]
    return [sample_pictures(images, config) for images in sets]


def judging(system, config: Config) -> Callable:
    """A function of (photos, a batch of paintings, …) to what the Monet discriminator makes of them, without dropout
    and augmentation.

    Its result is float32 `[batches, 2]`: the mean output, over patches and heads, and the mean of its sign as seen from
    the boundary between real and fake; first for the photos as the generator now paints them, then for the paintings.
    """
    generator, discriminator = (system.networks[name] for name in ("photo_to_monet", "monet_discriminator"))
    generator = without_matching(generator, config)
    boundaries = head_boundaries(network_kind(config, discriminator.name), config)
    unused_seed = tf.zeros([2], tf.int32)  # of dropout

    def outputs(images):
        logits = tf.nest.flatten(discriminator(images, training=False))
        means = [tf.stack([tf.reduce_mean(output), tf.reduce_mean(tf.sign(output - boundary))])
                 for output, boundary in zip(logits, boundaries, strict=True)]
        return tf.add_n(means) / len(means)

    def judge(photos, *paintings):
        fakes = generator([photos, unused_seed], training=False)
        return tf.stack([outputs(images) for images in (fakes, *paintings)])

    return judge


def signals_of(outputs) -> dict[str, float | None]:
    """The numbers called `OVERFITTING` by name, from the result of `judging`'s function; None for what has no value.

    r_t is the mean sign for paintings trained on: 0 for a discriminator that guesses, 1 for one that is sure of all of
    them. r_v says where between those and the fakes the held-out paintings are: 0 if they are judged like those trained
    on, 1 if like fakes.
    """
    (d_fake, _), (d_trained, r_t), *held_out = np.asarray(outputs, np.float64).tolist()
    d_held_out, gap = held_out[0][0] if held_out else None, d_trained - d_fake
    r_v = (d_trained - d_held_out) / gap if held_out and gap else None
    return dict(zip(OVERFITTING, (d_trained, d_held_out, d_fake, r_t, r_v), strict=True))


def signals_in_words(signals: dict[str, float | None]) -> str:
    """The two signals, for the progress bar; what has no value is left out."""
    return " ".join(f"{name} {signals[name]:.2f}" for name in SIGNALS if signals.get(name) is not None)
