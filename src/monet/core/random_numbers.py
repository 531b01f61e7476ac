"""Random numbers, all from seeds that are passed in: a resumed run repeats the numbers of an unbroken one."""

import contextlib
import math
from collections.abc import Iterator

import tensorflow as tf

AUTO_SELECT = 3  # tf.random.Algorithm's; compiled for a TPU or GPU, it is the device's own generator
drawing = {"by device": False}


@contextlib.contextmanager
def device_generator() -> Iterator[None]:
    """Graphs traced in this block draw by the device's own generator; only XLA can compile them.

    Otherwise TensorFlow writes out its generator, Philox, in hundreds of operations per draw, for which the TPU's
    compiler took over 22 GiB.
    """
    before, drawing["by device"] = drawing["by device"], True
    try:
        yield
    finally:
        drawing["by device"] = before


def random_bits(shape, seed: tf.Tensor) -> tf.Tensor:
    """32 random bits each, uint32, that depend on `shape` and on `seed`, int32 `[2]`, alone."""
    if not drawing["by device"]:
        return tf.random.stateless_uniform(shape, seed, minval=None, maxval=None, dtype=tf.uint32)
    from tensorflow.compiler.tf2xla.python.xla import rng_bit_generator

    state = tf.concat([tf.bitcast(tf.ensure_shape(seed, [2]), tf.uint64)[None], tf.zeros([1], tf.uint64)], 0)
    return rng_bit_generator(AUTO_SELECT, state, shape, tf.uint32)[1]


def uniform(shape, seed: tf.Tensor) -> tf.Tensor:
    """Numbers in [0, 1), float32, that depend on `shape` and on `seed`, int32 `[2]`, alone.

    They are made of bits here, because TensorFlow's own differ between compiled and other graphs.
    """
    one_to_two = tf.bitwise.bitwise_or(tf.bitwise.right_shift(random_bits(shape, seed), tf.constant(9, tf.uint32)),
                                       tf.constant(0x3F800000, tf.uint32))  # 23 random bits, the exponent of 1
    return tf.bitcast(one_to_two, tf.float32) - 1.0


def normal(shape, seed: tf.Tensor) -> tf.Tensor:
    """Numbers of a normal distribution with mean 0 and variance 1, float32, like `uniform` (Box and Muller 1958)."""
    distance, direction = tf.unstack(uniform(tf.concat([[2], shape], 0), seed))
    return tf.sqrt(-2.0 * tf.math.log1p(-distance)) * tf.cos(2.0 * math.pi * direction)


def split_seed(seed: tf.Tensor, count: int) -> list[tf.Tensor]:
    """`count` independent seeds, each int32 `[2]`, from one.

    They are never negative: of a negative seed, compiled graphs make other numbers than others.
    """
    if not count:
        return []
    return tf.unstack(tf.bitcast(tf.bitwise.right_shift(random_bits([count, 2], seed), tf.constant(1, tf.uint32)),
                                 tf.int32))


def named_seeds(seed: tf.Tensor, names: tuple[str, ...]) -> dict[str, tf.Tensor]:
    """An independent seed for each of `names`, from one."""
    return dict(zip(names, split_seed(seed, len(names)), strict=True))


def fold_in(seed, number) -> tf.Tensor:
    """The seed, int32 `[2]`, that belongs to the integer `number` under `seed`."""
    first, _ = tf.unstack(split_seed(tf.convert_to_tensor(seed, tf.int32), 1)[0])
    return tf.stack([first, tf.cast(number, tf.int32)])
