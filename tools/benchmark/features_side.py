"""One side of the features that tools/benchmark/features.py measures, in a process of its own.

    python -m benchmark.features_side ours|keras WEIGHTS.pth DATA IMAGES.npy

Prints a line of JSON once the network has computed a batch, and one for each line that it reads, which says of how many
images to compute features: the seconds, and the process's peak memory so far in GiB.
"""

import itertools
import json
import sys
import time

import numpy as np
import tensorflow as tf
from benchmark.memory import peak_memory_gib

from monet.core.pixels import decode_image
from monet.data.records import read_examples
from monet.data.torch_file import read_state_dict
from monet.data.validation import find_data
from monet.scoring.inception import BATCH, build_inception, feature_batches, make_extractor, prepared


def load_ours(weights: str, root: str, _):
    """A function of a number of images to their features, from the data's files on."""
    extract, photos = make_extractor(build_inception(read_state_dict(weights))), find_data(root).photo

    def features(count):
        examples = read_examples(photos).repeat().take(count).as_numpy_iterator()
        images = (decode_image(example["image"]).numpy() for example in examples)
        return np.concatenate(list(feature_batches(extract, images)))

    return features


def load_keras(_, __, images: str):
    """The same of Keras's own InceptionV3 with random weights, whose images are decoded and resized beforehand."""
    network = tf.keras.applications.InceptionV3(include_top=False, weights=None, pooling="avg")
    run = tf.function(lambda batch: network(batch, training=False), autograph=False)
    ready = prepared(list(np.load(images)))

    def features(count):
        places = itertools.islice(itertools.cycle(range(0, len(ready), BATCH)), count // BATCH)
        return np.concatenate([run(ready[place:place + BATCH]).numpy() for place in places])

    return features


SIDES = {"ours": load_ours, "keras": load_keras}


def main() -> None:
    """The program; it ends when there is nothing more to read."""
    features = SIDES[sys.argv[1]](*sys.argv[2:])
    for line in itertools.chain([str(BATCH)], sys.stdin):
        started = time.monotonic()
        features(int(line))
        print(json.dumps({"seconds": time.monotonic() - started, "peak": peak_memory_gib()}), flush=True)


if __name__ == "__main__":
    main()
