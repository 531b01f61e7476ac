"""The CycleGAN tutorials' input pipeline and painting loop, which `make bench` compares ours with."""

import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from monet.core.pixels import decode_image, pixels_to_float
from monet.data.records import Data, ImageSet, read_examples


def jittered(image: tf.Tensor) -> tf.Tensor:
    """Returns the image resized to 286 x 286, cropped to 256 x 256 and mirrored or not."""
    image = tf.image.resize(image, [286, 286], method=tf.image.ResizeMethod.NEAREST_NEIGHBOR)
    return tf.image.random_flip_left_right(tf.image.random_crop(image, [256, 256, 3]))


def endless_images(images: ImageSet) -> tf.data.Dataset:
    """Returns endless batches of one image, float32 `[1, 256, 256, 3]` in [-1, 1]."""
    decoded = read_examples(images).map(lambda example: pixels_to_float(decode_image(example["image"], exif=False)))
    return decoded.cache().map(jittered).shuffle(1000).batch(1).repeat()


def tutorial_input(data: Data) -> tf.data.Dataset:
    """Returns endless pairs (photo, painting), each decoded once and then cached."""
    return tf.data.Dataset.zip((endless_images(data.photo), endless_images(data.monet)))


def tutorial_generate(generator, data: Data, count: int, folder: Path) -> None:
    """Paints `count` photos one at a time, saves each with PIL, and packs the folder into images.zip."""
    images = folder / "images"
    images.mkdir()
    photos = read_examples(data.photo).map(lambda example: pixels_to_float(decode_image(example["image"]))).batch(1)
    for number, photo in enumerate(photos.take(count), start=1):
        painted = generator([photo, tf.zeros([2], tf.int32)], training=False)[0].numpy()
        Image.fromarray((painted * 127.5 + 127.5).astype(np.uint8)).save(images / f"{number}.jpg")
    shutil.make_archive(str(folder / "images"), "zip", images)
