"""A convolution of a picture doubled bilinearly, without making the doubled picture.

The doubled picture is the largest thing a generator would keep: four times the pixels, in all the channels that go into
the convolution. But each of its pixels is a sum of a few of the picture's, so that the convolution is one of the
picture itself, with a kernel of its own for each of the four pixels that one becomes. Only at the border, where one
repeats the last pixel and the other sees zeros, is there a difference; it is taken away again.
"""

import numpy as np
import tensorflow as tf
from tensorflow import keras

# How much of the pixels before, at and after one goes into the pixels -1 to 2 of the two (0 and 1) that it becomes.
SHARES = np.array([[0.75, 0.25, 0.0], [0.25, 0.75, 0.0], [0.0, 0.75, 0.25], [0.0, 0.25, 0.75]], np.float32)
# The same for the taps of a kernel of 3, at each of the two: [pixel, picture's pixel, tap].
TAPS = np.stack([SHARES[0:3].T, SHARES[1:4].T])


def doubled_along(x: tf.Tensor, axis: int) -> tf.Tensor:
    """`x` with twice the pixels along `axis`, interpolated; beyond its border its last pixel repeats."""
    size = tf.shape(x)[axis]
    sources = tf.clip_by_value(tf.range(2 * size) / 2 - 0.25, 0, tf.cast(size - 1, tf.float64))
    shares = tf.nn.relu(1 - tf.abs(sources[:, None] - tf.cast(tf.range(size), tf.float64)))
    letters = "bhwc"[:len(x.shape)]
    result = letters.replace(letters[axis], "i")
    return tf.einsum(f"i{letters[axis]},{letters}->{result}", tf.cast(shares, x.dtype), x)


def border_excess(x: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What a convolution of the doubled picture, were it continued by its last pixels, would add at its border.

    Args:
        x: the picture, `[batch, height, width, channels]`.
        kernel: `[3, 3, channels, filters]`.

    Returns:
        Of the first and last row, `[2, batch, 2 width, filters]`, and column, `[2, batch, 2 height, filters]`. The
        corners are in the rows.
    """
    rows = doubled_along(tf.stack([x[:, 0], x[:, -1]]), 2)
    columns = doubled_along(tf.stack([x[:, :, 0], x[:, :, -1]]), 2)
    rows = tf.pad(rows, [[0, 0], [0, 0], [1, 1], [0, 0]], "SYMMETRIC")
    columns = tf.pad(columns, [[0, 0], [0, 0], [1, 1], [0, 0]])

    def filtered(sides, kernels):
        length = tf.shape(sides)[2] - 2
        return tf.add_n([tf.einsum("sblc,sco->sblo", sides[:, :, tap:tap + length], kernels[:, tap])
                         for tap in range(3)])

    return filtered(rows, tf.stack([kernel[0], kernel[2]])), filtered(columns, tf.stack([kernel[:, 0], kernel[:, 2]]))


def conv_of_doubled(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """The convolution with `kernel` `[3, 3, channels, filters]`, padded by zeros, of the doubled picture.

    Args:
        x: `[batch, height, width, channels]`.
        kernel: in the format of `x`.

    Returns:
        `[batch, 2 height, 2 width, filters]`.
    """
    channels, filters = kernel.shape[2:]
    four = tf.einsum("atk,bul,klio->tuiabo", TAPS, TAPS, tf.cast(kernel, tf.float32))
    four = tf.cast(tf.reshape(four, [3, 3, channels, 4 * filters]), x.dtype)
    around = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
    y = tf.nn.depth_to_space(tf.nn.conv2d(around, four, 1, "VALID"), 2)
    rows, columns = border_excess(x, kernel)
    height, width = tf.shape(y)[1], tf.shape(y)[2]
    below, beside = [[0, 0], [0, height - 1], [0, 0], [0, 0]], [[0, 0], [0, 0], [0, width - 1], [0, 0]]
    above, before = [pair[::-1] for pair in below], [pair[::-1] for pair in beside]
    return y - (tf.pad(rows[0][:, None], below) + tf.pad(rows[1][:, None], above)
                + tf.pad(columns[0][:, :, None], beside) + tf.pad(columns[1][:, :, None], before))


class DoublingConv2D(keras.layers.Conv2D):
    """A 3x3 convolution, padded by zeros, of its input doubled bilinearly (half-pixel centres).

    `[batch, height, width, channels]` to `[batch, 2 height, 2 width, filters]`. The kernel is that of the convolution,
    as if a layer before it had doubled.
    """

    def __init__(self, filters: int, **options):
        """As Keras's Conv2D without kernel size, strides and padding."""
        super().__init__(filters, 3, padding="same", **options)

    def convolution_op(self, inputs, kernel):
        """What both versions of Keras convolve with."""
        pictures, height, width = inputs.shape[:3]
        pixels = (pictures or 1) * (height or 0) * (width or 0)
        if pixels < 9 * self.filters:  # four kernels are more than the doubled picture
            return tf.nn.conv2d(doubled_along(doubled_along(inputs, 1), 2), kernel, 1, "SAME")
        return conv_of_doubled(inputs, kernel)

    def compute_output_shape(self, input_shape):
        """The shape of `inputs`, doubled, with the filters as channels."""
        sides = [side and 2 * side for side in input_shape[1:3]]
        return (input_shape[0], *sides, self.filters)
