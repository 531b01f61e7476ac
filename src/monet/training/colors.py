"""Gives a generator the curves that match its paintings' colours to those of Monet's: `--match-colors`."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from monet.core.config import SUBMISSION_SIZE
from monet.data.pipeline import decode_example
from monet.data.records import Data, ImageSet, read_examples
from monet.networks.color_curves import quantile_curves
from monet.submission.images_zip import PAINT_BATCH, painted_batches

MATCHED_PHOTOS = 128  # photos painted to find the curves
STRIDE = 4  # every fourth pixel of every fourth row is looked at


def spread_examples(images: ImageSet, count: int) -> tf.data.Dataset:
    """Up to `count` examples at equal distances."""
    return read_examples(images).shard(max(images.count // count, 1), 0).take(count)


def pixels_of(images: list) -> np.ndarray:
    """Some pixels of images `[height, width, 3]`: `[n, 3]`. None is a mean of others, whose colours would be paler."""
    return np.concatenate([np.asarray(image)[::STRIDE, ::STRIDE].reshape(-1, 3) for image in images])


class ColorMatch:
    """Finds the curves for a run's generator.

    Attributes:
        photos: those painted to find the curves, in batches.
        monet: the paintings' pixels, `[n, 3]`.
    """

    def __init__(self, data: Data):
        """Reads the photos and the paintings."""
        photos = spread_examples(data.photo, MATCHED_PHOTOS)
        photos = photos.map(lambda example: decode_example(example, SUBMISSION_SIZE))
        self.photos = list(photos.batch(PAINT_BATCH))
        self.monet = pixels_of([decode_example(example, SUBMISSION_SIZE)
                                for example in spread_examples(data.monet, data.monet.count)])

    def curves(self, paint: Callable) -> tuple[np.ndarray, np.ndarray]:
        """The curves for a generator without any, which `paint` paints with: see `quantile_curves`."""
        painted = [image for batch in painted_batches(paint, self.photos) for image in batch]
        return quantile_curves(pixels_of(painted), self.monet)
