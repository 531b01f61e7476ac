"""monet.core.pixels: the conversion between pixels and the networks' range, in both directions."""

import numpy as np

from monet.core.pixels import float_to_pixels, pixels_to_float


def test_pixels_survive_the_conversion_to_float_and_back():
    pixels = np.arange(256, dtype=np.uint8)
    images = pixels_to_float(pixels).numpy()
    assert images.dtype == np.float32 and (images[0], images[-1]) == (-1.0, 1.0)
    np.testing.assert_array_equal(float_to_pixels(images), pixels)


def test_pixels_are_rounded_and_clipped():
    np.testing.assert_array_equal(float_to_pixels([-2.0, -1.0, 0.0, 1.0, 2.0]), [0, 0, 128, 255, 255])
