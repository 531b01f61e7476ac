"""Gives a generator the curves that match its paintings' colours to those of Monet's: `--match-colors`."""

from collections.abc import Callable

import numpy as np

from monet.core.config import SUBMISSION_SIZE
from monet.data.pipeline import decode_example
from monet.data.records import Data, read_examples
from monet.networks.color_curves import quantile_curves
from monet.submission.images_zip import painted_batches
from monet.training.inception_scores import sample_photos

MATCHED_PHOTOS = 128  # photos painted to find the curves
STRIDE = 4  # every fourth pixel of every fourth row is looked at


def pixels_of(images: list) -> np.ndarray:
    """Some pixels of images `[height, width, 3]`: `[n, 3]`. None is a mean of others, whose colours would be paler."""
    return np.concatenate([np.asarray(image)[::STRIDE, ::STRIDE].reshape(-1, 3) for image in images])


class ColorMatch:
    """Finds the curves for a run's generator.

    Attributes:
        photos: those painted to find the curves, in batches.
        monet: the paintings' pixels, `[n, 3]`.
    """

    def __init__(self, data: Data, seed: int):
        """Reads the photos, which the seed chooses, and the paintings."""
        self.photos = list(sample_photos(data.photo, min(data.photo.count, MATCHED_PHOTOS), seed))
        self.monet = pixels_of([decode_example(example, SUBMISSION_SIZE) for example in read_examples(data.monet)])

    def curves(self, paint: Callable) -> tuple[np.ndarray, np.ndarray]:
        """The curves for a generator without any, which `paint` paints with: see `quantile_curves`."""
        painted = [image for batch in painted_batches(paint, self.photos) for image in batch]
        return quantile_curves(pixels_of(painted), self.monet)
