"""Random numbers, all from seeds that are passed in: a resumed run repeats the numbers of an unbroken one."""

import tensorflow as tf


def uniform(shape, seed: tf.Tensor) -> tf.Tensor:
    """Numbers in [0, 1), float32, that depend on `shape` and on `seed`, int32 `[2]`, alone."""
    return tf.random.stateless_uniform(shape, seed)


def split_seed(seed: tf.Tensor, count: int) -> list[tf.Tensor]:
    """`count` independent seeds, each int32 `[2]`, from one."""
    return tf.unstack(tf.random.experimental.stateless_split(seed, count)) if count else []


def named_seeds(seed: tf.Tensor, names: tuple[str, ...]) -> dict[str, tf.Tensor]:
    """An independent seed for each of `names`, from one."""
    return dict(zip(names, split_seed(seed, len(names)), strict=True))


def fold_in(seed, number) -> tf.Tensor:
    """The seed, int32 `[2]`, that belongs to the integer `number` under `seed`."""
    return tf.random.experimental.stateless_fold_in(seed, number)
