"""Finds what makes a generator's paintings like Monet's in colours and in fine detail: `--match-colors`,
`--match-detail`."""

from collections.abc import Callable

import numpy as np

from monet.core.config import SUBMISSION_SIZE, Config
from monet.data.pipeline import decode_example
from monet.data.records import Data, read_examples
from monet.networks.color_curves import CURVES, quantile_curves, straight_curves
from monet.networks.detail_filter import DETAIL, detail_kernel, no_filter, spectrum
from monet.networks.generators import matching_layers
from monet.submission.images_zip import painted_batches
from monet.training.inception_scores import sample_photos

MATCHED_PHOTOS = 128  # photos painted to find the curves
FILTERED_EVERY = 2  # of them, every second for the filter
STRIDE = 4  # every fourth pixel of every fourth row is looked at


def pixels_of(images: list) -> np.ndarray:
    """Some pixels of images `[height, width, 3]`: `[n, 3]`. None is a mean of others, whose colours would be paler."""
    return np.concatenate([np.asarray(image)[::STRIDE, ::STRIDE].reshape(-1, 3) for image in images])


class Matching:
    """Finds the weights of `matching_layers` for a run's generator.

    Attributes:
        layers: their names.
        photos: those painted to find the weights, in batches.
        monet: pixels of the paintings, `[n, 3]`.
        spectrum: that of the paintings; None if detail is not matched.
    """

    def __init__(self, config: Config, data: Data):
        """Reads the paintings, and the photos, which the config's seed chooses."""
        self.layers = matching_layers(config)
        self.photos = list(sample_photos(data.photo, min(data.photo.count, MATCHED_PHOTOS), config.seed))
        monet = [decode_example(example, SUBMISSION_SIZE).numpy() for example in read_examples(data.monet)]
        self.monet, self.spectrum = pixels_of(monet), spectrum(monet) if DETAIL in self.layers else None

    def without_effect(self) -> dict[str, list]:
        """Weights by layer with which the layers change nothing."""
        weights = {CURVES: list(straight_curves()), DETAIL: [no_filter().numpy()]}
        return {layer: weights[layer] for layer in self.layers}

    def found(self, paint: Callable) -> dict[str, list]:
        """Weights by layer for a generator that `paint` paints with, while the layers change nothing."""
        painted, weights = [image for batch in painted_batches(paint, self.photos) for image in batch], {}
        if CURVES in self.layers:
            weights[CURVES] = quantile_curves(pixels_of(painted), self.monet)
        if DETAIL in self.layers:
            painted = painted[::FILTERED_EVERY]
            if CURVES in self.layers:
                painted = [bent_image(image, *weights[CURVES]) for image in painted]
            weights[DETAIL] = [detail_kernel(spectrum(painted), self.spectrum)]
        return weights


def bent_image(image: np.ndarray, positions: np.ndarray, values: np.ndarray) -> np.ndarray:
    """An image `[h, w, 3]` as `ColorCurves` changes it."""
    return np.stack([np.interp(*curve) for curve in zip(np.moveaxis(image, -1, 0), positions, values, strict=True)], -1)
