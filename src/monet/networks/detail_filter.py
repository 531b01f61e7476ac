"""The very last step of painting: a filter that gives the paintings, taken together, as much fine detail as Monet's.

Networks that enlarge their features paint too little of the finest detail (Durall et al. 2020, "Watch Your
Up-Convolution: CNN Based Generative Deep Neural Networks Are Failing to Reproduce Spectral Distributions").
"""

import numpy as np
import tensorflow as tf
from tensorflow import keras

from monet.core.pixels import LUMINANCE

DETAIL = "detail_filter"  # the layer's name
FILTER_SIZE = 11  # pixels a side of the filter; with 7, it makes coarser detail too strong, and halos with it
FINE_FROM = 0.22  # cycles per pixel, from which on detail is fine; what is coarser depends on what the pictures show
BAND_WIDTH = 1 / 32  # cycles per pixel, of a band of frequencies
BANDS = int(np.ceil(np.sqrt(0.5) / BAND_WIDTH))  # up to the highest frequency, along the diagonal
MOST_GAIN = 10.0  # times that a filter makes detail stronger, at most, or weaker
FITTED_POINTS = 33  # frequencies along a side, at which a filter is fitted
COARSE_WEIGHT = 3.0  # of frequencies that are to stay
FLAT_WEIGHT = 1000.0  # of frequency 0, so that flat colours stay
FILTER_STEP = 2.0**-14  # to which filters are rounded: painting twice on several cores may differ in the last bits


def frequencies(size: int) -> np.ndarray:
    """Cycles per pixel of the discrete Fourier transform of `[size, size]` pixels, whatever their direction."""
    along = np.fft.fftfreq(size)
    return np.hypot(along[:, None], along)


def spectrum(images) -> np.ndarray:
    """How strong detail of each size is: the power of the images' brightness in bands of frequencies.

    Args:
        images: square and of one size, `[size, size, 3]` each.

    Returns:
        The natural logarithm of the power in the band from `BAND_WIDTH * b` to `BAND_WIDTH * (b + 1)` cycles per
        pixel, the median over the images: float64 `[BANDS]`.
    """
    size = len(images[0])
    band = (frequencies(size) / BAND_WIDTH).astype(int).ravel()
    counts = np.maximum(np.bincount(band, minlength=BANDS), 1)
    window = np.outer(np.hanning(size), np.hanning(size))  # an image's left border does not go on at its right one
    powers = []
    for image in images:
        luma = np.asarray(image) @ LUMINANCE
        power = np.abs(np.fft.fft2((luma - luma.mean()) * window))**2
        powers.append(np.bincount(band, power.ravel(), BANDS) / counts)
    return np.log(np.median(powers, axis=0) + np.finfo(np.float32).tiny)


def detail_kernel(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """A filter that changes fine detail of the spectrum `found` to that `wanted`, both from `spectrum`.

    Among the filters of `FILTER_SIZE` pixels that are the same in all directions, it is the one whose response has the
    smallest relative error in the mean square over all frequencies, of which coarse ones weigh more (weighted least
    squares: Parks & Burrus 1987, "Digital Filter Design", chapter 3).

    Returns:
        Float32 `[FILTER_SIZE, FILTER_SIZE]`, symmetric, with a sum of nearly 1. Without effect if a spectrum is NaN, as
        that of a broken generator is.
    """
    centres = BAND_WIDTH * (np.arange(BANDS) + 0.5)
    gains = np.clip(np.nan_to_num((wanted - found) / 2), -np.log(MOST_GAIN), np.log(MOST_GAIN))
    gains = np.where(centres > FINE_FROM, gains, 0.0)
    along = np.linspace(0, 0.5, FITTED_POINTS)
    away = np.hypot(along[:, None], along)
    target = np.exp(np.interp(away, centres, gains))
    weights = np.where(away < FINE_FROM, COARSE_WEIGHT, 1.0) / target
    weights[0, 0] = FLAT_WEIGHT
    offsets = np.abs(np.arange(FILTER_SIZE) - FILTER_SIZE // 2)
    rings = np.sort(np.stack(np.meshgrid(offsets, offsets)), axis=0)  # pixels with the same pair have the same value
    pairs, ring = np.unique(rings.reshape(2, -1), axis=1, return_inverse=True)
    waves = np.cos(2 * np.pi * along[:, None] * offsets)
    ring = ring.reshape(FILTER_SIZE, FILTER_SIZE)
    responses = np.einsum("fx,gy,xyr->fgr", waves, waves, np.eye(pairs.shape[1])[ring])
    values = np.linalg.lstsq((weights[..., None] * responses).reshape(target.size, -1), (weights * target).ravel(),
                             rcond=None)[0]
    return (np.round(values[ring] / FILTER_STEP) * FILTER_STEP).astype(np.float32)


def no_filter(shape=(FILTER_SIZE, FILTER_SIZE), dtype=None) -> tf.Tensor:
    """The filter without effect; also an initializer."""
    return tf.pad(tf.ones([1, 1], dtype or tf.float32), [[FILTER_SIZE // 2, FILTER_SIZE // 2]] * 2)


class DetailFilter(keras.layers.Layer):
    """Filters the brightness of paintings, but not while they train: a discriminator judges what the generator painted
    by itself. It has no effect until its kernel, from `detail_kernel`, is set."""

    def build(self, input_shape):
        """Creates the weight."""
        self.kernel = self.add_weight(name="kernel", shape=(FILTER_SIZE, FILTER_SIZE), trainable=False,
                                      initializer=no_filter)
        self.built = True

    def call(self, inputs, training=False):
        """Images `[batch, h, w, 3]` in [-1, 1], filtered, and clipped to that range."""
        if training:
            return inputs
        luma = tf.reduce_sum(tf.constant(LUMINANCE, tf.float32) * inputs, axis=-1)
        padded = tf.pad(luma, [[0, 0], [FILTER_SIZE // 2] * 2, [FILTER_SIZE // 2] * 2], "SYMMETRIC")
        # The images become the channels of one: convolutions of a single channel are slow on CPUs.
        channels = tf.transpose(padded, [1, 2, 0])[None]
        kernels = tf.repeat((self.kernel - no_filter())[:, :, None, None], tf.shape(inputs)[0], axis=2)
        change = tf.nn.depthwise_conv2d(channels, kernels, [1, 1, 1, 1], "VALID")
        change = tf.transpose(change[0], [2, 0, 1])[..., None]
        return tf.clip_by_value(inputs + change, -1.0, 1.0)
