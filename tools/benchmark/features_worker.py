"""Worker of tools/benchmark/features.py: computes features in a process of its own.

    python -m benchmark.features_worker ours|keras WEIGHTS.pth DATA IMAGES.npy

Its first report covers one batch; then each line of standard input is a number of images to compute features of.
"""

import itertools
import sys
from collections.abc import Callable

from console import run_tool

import numpy as np
import tensorflow as tf
from benchmark.measure import answer_requests, report, seconds_of

from monet.core.pixels import decode_image
from monet.data.records import read_examples
from monet.data.torch_file import read_state_dict
from monet.data.validation import find_data
from monet.scoring.inception import INCEPTION_BATCH, build_inception, feature_batches, make_extractor, preprocess_images


def our_features(weights: str, root: str, _) -> Callable[[int], np.ndarray]:
    """Returns a function from a number of images to their features, which reads them from the data's files."""
    extract, photos = make_extractor(build_inception(read_state_dict(weights))), find_data(root).photo

    def features(count):
        examples = read_examples(photos).repeat().take(count).as_numpy_iterator()
        images = (decode_image(example["image"]).numpy() for example in examples)
        return np.concatenate(list(feature_batches(extract, images)))

    return features


def keras_features(_, __, images: str) -> Callable[[int], np.ndarray]:
    """Returns the same for Keras's InceptionV3 with random weights, on images decoded and resized beforehand."""
    network = tf.keras.applications.InceptionV3(include_top=False, weights=None, pooling="avg")
    run = tf.function(lambda batch: network(batch, training=False), autograph=False)
    resized = preprocess_images(list(np.load(images)))

    def features(count):
        starts = itertools.islice(itertools.cycle(range(0, len(resized), INCEPTION_BATCH)), count // INCEPTION_BATCH)
        return np.concatenate([run(resized[start:start + INCEPTION_BATCH]).numpy() for start in starts])

    return features


EXTRACTORS = {"ours": our_features, "keras": keras_features}


def main() -> None:
    """Loads what the command line names, and computes features until standard input ends."""
    features = EXTRACTORS[sys.argv[1]](*sys.argv[2:])
    report(seconds_of(lambda: features(INCEPTION_BATCH)))
    answer_requests(lambda line: features(int(line)))


if __name__ == "__main__":
    sys.exit(run_tool(main))
