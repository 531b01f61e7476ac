"""What the FID Inception says about a generator during training: the photos that it paints, and their features."""

from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from monet.core.config import SUBMISSION_SIZE, Config
from monet.core.pixels import decode_image
from monet.data.pipeline import decode_example
from monet.data.records import Data, ImageSet, read_examples
from monet.data.torch_file import read_state_dict
from monet.machine.cluster import spans_machines
from monet.scoring.inception import build_inception, extract_features, make_extractor
from monet.scoring.inception_weights import WeightsFile
from monet.scoring.mifid import apply_penalty, frechet_distance, kernel_distance, memorization_distance
from monet.submission.images_zip import PAINT_BATCH, painted_batches
from monet.submission.jpegs import JpegEncoder


def sample_photos(photos: ImageSet, count: int, seed: int) -> tf.data.Dataset:
    """`count` of the photos, determined by the seed, in batches: float32 `[n, 256, 256, 3]` in [-1, 1]."""
    mask = np.zeros(photos.count, bool)
    mask[np.random.default_rng(seed).choice(photos.count, count, replace=False)] = True
    examples = read_examples(photos).enumerate().filter(lambda index, _: tf.gather(tf.constant(mask), index))
    images = examples.map(lambda _, example: decode_example(example, SUBMISSION_SIZE),
                          num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return images.batch(PAINT_BATCH).prefetch(2)


def painted_jpegs(paint: Callable, photos: tf.data.Dataset, encoder: JpegEncoder) -> Iterator[bytes]:
    """Paints and encodes the photos as a submission would."""
    for batch in painted_batches(paint, photos):
        for image in batch:
            yield encoder.encode(image)


class InceptionScores:
    """Scores generators by the features of what they paint.

    Attributes:
        count: number of photos painted for a score.
        weights: the Inception's.
    """

    def __init__(self, config: Config, data: Data, strategy: tf.distribute.Strategy, weights: WeightsFile):
        """Builds the Inception on the strategy's devices; if it spans a cluster, on the chief's first device.

        Raises:
            UserError: if the weights are not the Inception's.
        """
        own = tf.distribute.get_strategy() if spans_machines(strategy) else strategy
        with own.scope():
            self.extract = make_extractor(build_inception(read_state_dict(weights.path)), own)
        self.data, self.weights, self.encoder = data, weights, JpegEncoder(config, data.monet)
        self.count = min(data.photo.count, config.select_photos)
        self.photos = sample_photos(data.photo, self.count, config.seed)
        self.trained, self.held_out = None, None

    def prepare(self) -> None:
        """Computes the features of the paintings, once; this also traces the network."""
        if self.trained is None:
            self.trained = self.paintings_features(self.data.monet)
            self.held_out = self.paintings_features(self.data.held_out) if self.data.held_out else self.trained[:0]

    def paintings_features(self, paintings: ImageSet) -> np.ndarray:
        """Features of a set: float32 `[images, 2048]`."""
        images = (decode_image(example["image"]).numpy() for example in read_examples(paintings))
        return extract_features(self.extract, images, paintings.count, "Features of the paintings")

    def painted_features(self, paint: Callable) -> np.ndarray:
        """Features of the chosen photos as `paint` paints them: float32 `[count, 2048]`."""
        jpegs = list(painted_jpegs(paint, self.photos, self.encoder))  # all first: scoring uses the same device
        images = (decode_image(jpeg).numpy() for jpeg in jpegs)
        return extract_features(self.extract, images, len(jpegs), "Features of painted photos")

    def mifid(self, paint: Callable) -> dict[str, float]:
        """FID, memorization distance and MiFID.

        FID is against all paintings, as the competition's: those that are held out are too few for it. What was
        memorized can only be what was trained on.
        """
        features = self.painted_features(paint)
        fid = frechet_distance(features, np.concatenate([self.trained, self.held_out]))
        distance = memorization_distance(features, self.trained)
        return {"fid": fid, "memorization_distance": distance, "mifid": float(apply_penalty(fid, distance))}

    def kid(self, paint: Callable) -> dict[str, float]:
        """KID to the paintings that are held out, and the distance for MiFID's penalty to those trained on."""
        features = self.painted_features(paint)
        return {"kid": kernel_distance(features, self.held_out)[0],
                "memorization_distance": memorization_distance(features, self.trained)}

    def describe(self) -> str:
        """What FID compares with, for the log."""
        total, held_out = len(self.trained) + len(self.held_out), len(self.held_out)
        return f"{total} paintings" + f", {held_out} of them held out" * bool(held_out)
