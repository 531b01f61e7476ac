"""The training images as an endless, seeded, resumable stream of batches."""

import tensorflow as tf

from monet.core.config import Config
from monet.core.pixels import decode_image, pixels_to_float, resize
from monet.data.records import Data, ImageSet, read_examples

CACHE_BYTES = 1 << 30  # encoded images up to this size in all stay in memory: the competition's are 0.16 GB
SHUFFLE_UNCACHED = 512  # images in the shuffle buffer of a larger set


def jittered(image: tf.Tensor, seed: tf.Tensor, config: Config) -> tf.Tensor:
    """One training image, as the config augments it.

    Args:
        image: uint8 `[height, width, 3]`.
        seed: int32 `[2]`; the same seed gives the same crop and mirroring.
        config: gives image_size, jitter and mirror.

    Returns:
        float32 `[image_size, image_size, 3]` in [-1, 1].
    """
    top, left, mirrored = tf.unstack(tf.random.stateless_uniform([3], seed))
    if config.mirror:  # as uint8, which TensorFlow reverses by rows; floats it reverses one by one
        image = tf.cond(mirrored < 0.5, lambda: tf.reverse(image, [1]), lambda: image)
    size, room = config.image_size, config.jitter - config.image_size
    if room <= 0:
        return pixels_to_float(resize(image, size))
    larger = resize(image, config.jitter)
    corner = tf.cast(tf.stack([top, left, 0.0]) * (room + 1), tf.int32)
    return pixels_to_float(tf.slice(larger, corner, [size, size, 3]))


def encoded_bytes(image_set: ImageSet) -> int:
    """Bytes of the set's files."""
    return sum(tf.io.gfile.stat(file).length for file in image_set.files)


def training_side(image_set: ImageSet, config: Config, side: int, first: int,
                  context: tf.distribute.InputContext) -> tf.data.Dataset:
    """Endless augmented images of one set: every image once before any comes again, in a new order each time.

    Args:
        image_set: where the images are.
        config: gives the augmentation, the seed and the global batch.
        side: 0 or 1; the two sets of a run draw different random numbers.
        first: position in the stream to begin at.
        context: which of the machines that share each global batch this is.

    Returns:
        A dataset of float32 `[image_size, image_size, 3]` in [-1, 1].
    """
    images = read_examples(image_set).map(lambda example: example["image"])
    in_memory = encoded_bytes(image_set) <= CACHE_BYTES
    images = images.cache() if in_memory else images
    buffer = image_set.count if in_memory else min(image_set.count, SHUFFLE_UNCACHED)
    images = images.shuffle(buffer, seed=2 * config.seed + side, reshuffle_each_iteration=True).repeat()

    def augmented(position, encoded):
        seed = tf.random.experimental.stateless_fold_in([config.seed, side], position)
        return jittered(decode_image(encoded), seed, config)

    # Skipped before anything is decoded: resuming at position 100,000 takes less than a second.
    images = images.enumerate().skip(first)
    if context.num_input_pipelines > 1:
        part = config.batch_size // context.num_input_pipelines
        images = images.filter(
            lambda position, _: position % config.batch_size // part == context.input_pipeline_id)
        images = images.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    return images.map(augmented, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def training_pairs(data: Data, config: Config, first_step: int = 0,
                   context: tf.distribute.InputContext | None = None) -> tf.data.Dataset:
    """Endless batches of unpaired photos and paintings, the same for the same seed.

    Both sets repeat by themselves: zipping them finite would end, with the competition's data, after 300 photos.

    Args:
        data: the two sets.
        config: gives the global batch, the augmentation and the seed.
        first_step: the step to begin at; the batches are those that an unbroken run sees from there on.
        context: which of the machines that share each global batch this is, and the number of replicas; None: the
            batch is not shared.

    Returns:
        A dataset of `(photo, monet)`, each float32 `[batch_size / replicas, image_size, image_size, 3]` in [-1, 1].
        The batches of all replicas of all machines, in their order, make up the global one.
    """
    context = context or tf.distribute.InputContext()
    first, batch = first_step * config.batch_size, context.get_per_replica_batch_size(config.batch_size)
    sides = [training_side(image_set, config, side, first, context).batch(batch, drop_remainder=True)
             for side, image_set in enumerate((data.photo, data.monet))]
    return tf.data.Dataset.zip(tuple(sides)).prefetch(2)


def first_images(image_set: ImageSet, count: int, size: int) -> tf.Tensor:
    """The set's first `count` images, not augmented, float32 `[count, size, size, 3]` in [-1, 1]."""
    examples = read_examples(image_set).take(count)
    return tf.stack([pixels_to_float(resize(decode_image(example["image"]), size)) for example in examples])
