"""The last step of painting: curves that give the paintings, taken together, the colours of Monet's."""

import itertools

import numpy as np
import tensorflow as tf
from tensorflow import keras

CURVES = "color_curves"  # the layer's name
TAIL = (0.001, 0.01, 0.03, 0.06)  # the darkest shares of the pixels at which a curve has knots; the brightest likewise
SHARES = np.array([*TAIL, *np.linspace(0.1, 0.9, 11), *(1 - share for share in reversed(TAIL))])
KNOTS = len(SHARES)
NARROWEST = 1e-6  # distance of two knots


def quantile_curves(colors: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The curve of each channel that moves quantiles of `colors` to those of `targets`.

    This is histogram matching (Gonzalez & Woods, "Digital Image Processing", section 3.3) at the quantiles `SHARES`,
    straight between them.

    Args:
        colors: pixels, `[n, 3]`.
        targets: pixels to be like, `[m, 3]`.

    Returns:
        `(positions, values)`, float32 `[3, KNOTS]` each, increasing: a channel's colour at a position becomes its
        value.
    """
    positions, values = (rounded(np.quantile(pixels, SHARES, axis=0).T) for pixels in (colors, targets))
    return (positions + NARROWEST * np.arange(KNOTS)).astype(np.float32), values.astype(np.float32)


def straight_curves() -> tuple[np.ndarray, np.ndarray]:
    """Curves without effect on [-1, 1], as `quantile_curves` returns them."""
    line = np.tile(np.linspace(-1, 1, KNOTS, dtype=np.float32), (3, 1))
    return line, line


def straight_line(shape, dtype=None) -> tf.Tensor:
    """An initializer: `straight_curves`."""
    return tf.constant(straight_curves()[0], dtype)


def rounded(curves: np.ndarray) -> np.ndarray:
    """Rounds each to 1/16384 of its range, because painting twice on several cores may differ in the last bits."""
    step = 2.0**np.floor(np.log2(np.maximum(np.ptp(curves, axis=1, keepdims=True), NARROWEST))) / 16384
    return np.round(curves / step) * step


class ColorCurves(keras.layers.Layer):
    """Applies a curve to each channel of paintings, but not while they train: a discriminator judges what the generator
    painted by itself. The weights are what `quantile_curves` returns; at first straight lines, without effect."""

    def build(self, input_shape):
        """Creates the weights."""
        self.positions, self.values = (
            self.add_weight(name=name, shape=(3, KNOTS), trainable=False, initializer=straight_line)
            for name in ("positions", "values"))
        self.built = True

    def call(self, inputs, training=False):
        """Images `[batch, h, w, 3]` in [-1, 1], each channel by its curve; colours outside become the nearest end's."""
        if training:
            return inputs
        curves = zip(tf.unstack(inputs, axis=-1), tf.unstack(self.positions), tf.unstack(self.values), strict=True)
        return tf.stack([bent(*curve) for curve in curves], axis=-1)


def bent(channel: tf.Tensor, positions: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """One channel, `[batch, h, w]`, by its curve from `positions` to `values`, `[KNOTS]` each.

    With one channel and single numbers this is nine times as fast on a CPU as with all three channels at once. The
    pieces are added one after another, because all together would need 18 times the memory.
    """
    knots = list(zip(tf.unstack(positions), tf.unstack(values), strict=True))
    result = tf.fill(tf.shape(channel), knots[0][1])
    for (place, low), (end, high) in itertools.pairwise(knots):
        result += (high - low) * tf.clip_by_value((channel - place) / (end - place), 0.0, 1.0)
    return result


def distance_moved(painter: keras.Model) -> float | None:
    """How far the painter's curves move colours, on average over channels and `SHARES`, in units of [-1, 1]; None if it
    has no curves."""
    if CURVES not in [layer.name for layer in painter.layers]:
        return None
    layer = painter.get_layer(CURVES)
    return float(np.abs(np.asarray(layer.values) - np.asarray(layer.positions)).mean())
