"""monet.core.pixels: the conversion between pixels and the networks' range, and pictures that EXIF data turn."""

import io
import itertools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from monet.core.pixels import ORIENTATION, decode_image, exif_orientation, float_to_pixels, pixels_to_float

NOISE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def test_pixels_survive_the_conversion_to_float_and_back():
    pixels = np.arange(256, dtype=np.uint8)
    images = pixels_to_float(pixels).numpy()
    assert images.dtype == np.float32 and (images[0], images[-1]) == (-1.0, 1.0)
    np.testing.assert_array_equal(float_to_pixels(images), pixels)


def test_pixels_are_rounded_and_clipped():
    np.testing.assert_array_equal(float_to_pixels([-2.0, -1.0, 0.0, 1.0, 2.0]), [0, 0, 128, 255, 255])


# EXIF


def encoded(picture: np.ndarray, form: str = "JPEG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, form, **options)
    return file.getvalue()


def exif_of(orientation: int, byte_order: str = "<") -> bytes:
    """EXIF data as a camera writes them: the orientation between other entries."""
    exif = Image.Exif()
    exif.endian = byte_order
    exif[0x010F], exif[ORIENTATION], exif[0x8298] = "Maker", orientation, "nobody"
    return exif.tobytes()


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_pictures_are_turned_upright_as_pillow_turns_them(form):
    for byte_order, orientation in itertools.product("<>", range(10)):
        data = encoded(NOISE, form, exif=exif_of(orientation, byte_order))
        with Image.open(io.BytesIO(data)) as image:
            expected = np.asarray(ImageOps.exif_transpose(image))
        np.testing.assert_array_equal(decode_image(tf.constant(data)), expected, f"{byte_order} {orientation}")


def test_exif_data_are_found_behind_other_segments_and_with_their_directory_anywhere():
    plain, profile = encoded(NOISE), b"ICC_PROFILE\0\1\1" + bytes(40_000)
    tiff = (b"MM\0*" + (108).to_bytes(4, "big") + bytes(100) + (1).to_bytes(2, "big")
            + bytes([1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0]) + bytes(4))
    segments = b"".join(marker + (len(data) + 2).to_bytes(2, "big") + data
                        for marker, data in ((b"\xff\xe2", profile), (b"\xff\xe1", b"Exif\0\0" + tiff)))
    data = plain[:20] + segments + plain[20:]
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(decode_image(tf.constant(data)), np.asarray(ImageOps.exif_transpose(image)))
    assert decode_image(tf.constant(data)).shape == (40, 24, 3)
    np.testing.assert_array_equal(decode_image(tf.constant(data), exif=False), decode_image(tf.constant(plain)))


def test_damaged_exif_data_never_make_a_picture_unreadable():
    data = encoded(NOISE, exif=exif_of(6))
    start = data.index(b"Exif") + 6
    random, orientations = np.random.default_rng(0), set()
    find = tf.function(exif_orientation, input_signature=[tf.TensorSpec([], tf.string)])
    for _ in range(300):
        damaged = bytearray(data)
        for position in random.integers(start + 4, start + 60, 3):
            damaged[position] = random.choice([0, 1, 127, 255, random.integers(256)])
        cut = random.integers(start + 4, len(data)) if random.random() < 0.3 else len(data)
        orientations.add(int(find(bytes(damaged[:cut]))))
    assert {1, 6} <= orientations <= set(range(1, 9))
