"""The training images as an endless, seeded, resumable stream of batches."""

import os

import tensorflow as tf

from monet.core.config import Config
from monet.core.pixels import decode_image, pixels_to_float, resize
from monet.data.read_errors import explain_read_errors
from monet.data.records import Data, ImageSet, read_examples
from monet.data.storage import file_size

CACHE_BYTES = 1 << 30  # cache encoded images up to this total size in memory; the competition's are 0.16 GB
MONET = 1  # the paintings' number as a domain; the photos' is 0
SHUFFLE_UNCACHED = 512  # size of the shuffle buffer for a larger set, in images


def jittered(image: tf.Tensor, seed: tf.Tensor, config: Config) -> tf.Tensor:
    """Crops and mirrors one training image at random.

    Args:
        image: uint8 `[height, width, 3]`.
        seed: int32 `[2]`; the same seed gives the same crop and mirroring.
        config: gives image_size, jitter and mirror.

    Returns:
        float32 `[image_size, image_size, 3]` in [-1, 1].
    """
    top, left, mirror = tf.unstack(tf.random.stateless_uniform([3], seed))
    if config.mirror:  # while it is uint8, which TensorFlow reverses row by row; floats it reverses one by one
        image = tf.cond(mirror < 0.5, lambda: tf.reverse(image, [1]), lambda: image)
    size, margin = config.image_size, config.jitter - config.image_size
    if margin <= 0:
        return pixels_to_float(resize(image, size))
    larger = resize(image, config.jitter)
    corner = tf.cast(tf.stack([top, left, 0.0]) * (margin + 1), tf.int32)
    return pixels_to_float(tf.slice(larger, corner, [size, size, 3]))


def turned(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """A square image turned by a random multiple of 90 degrees and, half of the time, upside down (ADA, appendix B)."""
    quarters, flip = tf.unstack(tf.random.stateless_uniform([2], seed))
    image = tf.image.rot90(image, tf.cast(4 * quarters, tf.int32))
    return tf.cond(flip < 0.5, lambda: tf.reverse(image, [0]), lambda: image)


def encoded_bytes(image_set: ImageSet) -> int:
    """Returns the total size of the set's files in bytes."""
    with explain_read_errors(os.path.dirname(image_set.files[0])):
        return sum(map(file_size, image_set.files))


def training_images(image_set: ImageSet, config: Config, domain: int, first: int,
                    context: tf.distribute.InputContext) -> tf.data.Dataset:
    """Endless augmented images of one domain: every image once per pass, in a new order each time.

    Args:
        image_set: the images.
        config: gives the augmentation, the seed and the global batch size.
        domain: 0 or 1; each has its own random numbers.
        first: position in the stream to start at.
        context: this machine among those that share each global batch.

    Returns:
        A dataset of float32 `[image_size, image_size, 3]` in [-1, 1].
    """
    images = read_examples(image_set).map(lambda example: example["image"])
    in_memory = encoded_bytes(image_set) <= CACHE_BYTES
    images = images.cache() if in_memory else images
    buffer = image_set.count if in_memory else min(image_set.count, SHUFFLE_UNCACHED)
    images = images.shuffle(buffer, seed=2 * config.seed + domain, reshuffle_each_iteration=True).repeat()

    def augment(position, encoded):
        seed = tf.random.experimental.stateless_fold_in([config.seed, domain], position)
        image = jittered(decode_image(encoded, exif=image_set.turned > 0), seed, config)
        turn = config.monet_turns and domain == MONET
        return turned(image, tf.random.experimental.stateless_fold_in(seed, 0)) if turn else image

    # Skipped before decoding: resuming at position 100,000 takes less than a second.
    images = images.enumerate().skip(first)
    if context.num_input_pipelines > 1:
        share = config.batch_size // context.num_input_pipelines
        images = images.filter(
            lambda position, _: position % config.batch_size // share == context.input_pipeline_id)
        images = images.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    return images.map(augment, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def training_pairs(data: Data, config: Config, first_step: int = 0,
                   context: tf.distribute.InputContext | None = None) -> tf.data.Dataset:
    """Endless batches of unpaired photos and paintings, the same for the same seed.

    Each set repeats by itself: zipped before repeating, every epoch would end after the competition's 300 paintings.

    Args:
        data: both domains.
        config: gives the global batch size, the augmentation and the seed.
        first_step: step to start at; the batches from there on equal those of an uninterrupted run.
        context: this machine among those that share each global batch, and the number of replicas; None: all batches
            are this machine's.

    Returns:
        A dataset of `(photo, monet)`, each float32 `[batch_size / replicas, image_size, image_size, 3]` in [-1, 1].
        The batches of all replicas of all machines, in order, form the global batch.
    """
    context = context or tf.distribute.InputContext()
    first, batch = first_step * config.batch_size, context.get_per_replica_batch_size(config.batch_size)
    streams = [training_images(image_set, config, domain, first, context).batch(batch, drop_remainder=True)
               for domain, image_set in enumerate((data.photo, data.monet))]
    return tf.data.Dataset.zip(tuple(streams)).prefetch(2)


def decode_example(example: dict, size: int) -> tf.Tensor:
    """Decodes and resizes the image of an example, not augmented: float32 `[size, size, 3]` in [-1, 1]."""
    return pixels_to_float(resize(decode_image(example["image"]), size))


def first_images(image_set: ImageSet, count: int, size: int) -> tf.Tensor:
    """Returns the set's first `count` images, not augmented: float32 `[count, size, size, 3]` in [-1, 1]."""
    return tf.stack([decode_example(example, size) for example in read_examples(image_set).take(count)])
