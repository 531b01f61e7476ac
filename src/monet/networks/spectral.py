"""Spectral normalization (Miyato et al. 2018): a layer that can change its output by no more than its input changes."""

import tensorflow as tf
from tensorflow import keras


class SpectralConv2D(keras.layers.Layer):
    """A convolution whose kernel is divided by its largest singular value, as a matrix with a column for each filter.

    The value is estimated by a step of the power method in each call; a call in training keeps the step's vector. The
    gradient goes through the division, as in the paper. Keras's SpectralNormalization instead replaces the kernel in
    each call, behind the optimizer's back: that gradient is another, and a translated step would lose the new kernel.

    Args:
        filters: channels of the result.
        kernel_size: of the kernel, both sides.
        kernel_initializer: for the kernel.
        strides: of the convolution.
        padding: "valid" or "same".
        use_bias: add a bias.
    """

    def __init__(self, filters: int, kernel_size: int, kernel_initializer, strides: int = 1, padding: str = "valid",
                 use_bias: bool = True, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.filters, self.kernel_size, self.kernel_initializer = filters, kernel_size, kernel_initializer
        self.strides, self.padding, self.use_bias = strides, padding, use_bias

    def build(self, input_shape):
        """Creates the weights."""
        shape = (self.kernel_size, self.kernel_size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=self.kernel_initializer)
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")
        self.vector_u = self.add_weight(name="vector_u", shape=(1, self.filters), trainable=False,
                                        initializer=keras.initializers.RandomNormal())
        self.built = True

    def normalized_kernel(self, training: bool) -> tf.Tensor:
        """The kernel divided by its largest singular value, float32 under every precision."""
        # Keras 2 hands out weights in the layer's own precision.
        kernel, vector = (tf.cast(tf.convert_to_tensor(weight), tf.float32) for weight in (self.kernel, self.vector_u))
        matrix = tf.reshape(kernel, [-1, self.filters])
        v = tf.math.l2_normalize(tf.matmul(vector, matrix, transpose_b=True))
        v = tf.stop_gradient(v)
        u = tf.stop_gradient(tf.math.l2_normalize(tf.matmul(v, matrix)))
        if training:
            self.vector_u.assign(u)
        return kernel / tf.matmul(tf.matmul(v, matrix), u, transpose_b=True)

    def call(self, inputs, training=False):
        """`[batch, h, w, c]` to `[batch, h, w, filters]`, with h and w as padding and strides leave them."""
        kernel = tf.cast(self.normalized_kernel(training), self.compute_dtype)
        y = tf.nn.conv2d(tf.cast(inputs, self.compute_dtype), kernel, self.strides, self.padding.upper())
        return y + tf.cast(self.bias, y.dtype) if self.use_bias else y
