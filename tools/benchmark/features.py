"""Rows of `make bench` about the FID Inception's features: speed beside torch-fidelity and Keras, and memory.

Ours includes reading and decoding the files. The peers' images are decoded beforehand, and resized as well for Keras's
InceptionV3, a different network with nearly the same arithmetic. All weights are random, which costs the same.
"""

import tempfile
from pathlib import Path

from console import module_command

import numpy as np
from benchmark.inception_state import random_state, write_state_dict
from benchmark.peers.python import MISSING_PEERS, peer_python
from benchmark.process import Worker
from benchmark.rows import PAIRS, Row, paired_row

IMAGES = 192  # per measurement: six batches
MANY_IMAGES = 10_000  # whose features must fit into memory
NARROW = 16  # divides the channels of the network that computes `MANY_IMAGES`, at milliseconds an image


def write_images(data, path: Path) -> None:
    """Writes the first `IMAGES` photos, repeated if there are fewer, as uint8 `[IMAGES, height, width, 3]`."""
    from monet.core.pixels import decode_image
    from monet.data.records import read_examples

    examples = read_examples(data.photo).repeat().take(IMAGES)
    np.save(path, np.stack([decode_image(example["image"]).numpy() for example in examples]))


def start_worker(name: str, weights: Path, root: str, images: Path) -> Worker:
    """Starts `ours`, `keras` or `torch-fidelity`; returns once it has computed a batch."""
    if name == "torch-fidelity":
        return Worker(module_command("benchmark.peers.fidelity", "bench", weights, images, python=peer_python()))
    return Worker(module_command("benchmark.features_worker", name, weights, root, images))


def speed_row(peer: str, claim: str, *files) -> Row:
    """Images per second of ours and of a peer, in turn; `files` are the weights, the data's folder and the images."""
    name = f"features, {peer}"
    with start_worker("ours", *files) as ours:
        if peer == "torch-fidelity" and peer_python() is None:
            alone = [IMAGES / ours.repeat(IMAGES) for _ in range(PAIRS)]
            return Row(name, claim, "images/s", alone, MISSING_PEERS)
        with start_worker(peer, *files) as other:
            pairs = [(IMAGES / ours.repeat(IMAGES), IMAGES / other.repeat(IMAGES)) for _ in range(PAIRS)]
    return paired_row(name, claim, "images/s", peer, pairs)


def memory_row(folder: Path, weights: Path, *files) -> Row:
    """Peak memory in GiB for `MANY_IMAGES`: that of the whole network for a few, plus what more images add.

    What they add is measured with a narrow network, which is fast: images and features are as large as the whole one's.
    """
    write_state_dict(folder / "narrow.pth", random_state(narrow=NARROW))
    with start_worker("ours", weights, *files) as whole, start_worker("ours", folder / "narrow.pth", *files) as narrow:
        whole.repeat(IMAGES)
        narrow.repeat(IMAGES)
        few_images = narrow.peak_gib
        narrow.repeat(MANY_IMAGES)
        peak = whole.peak_gib + narrow.peak_gib - few_images
    return Row("features memory", f"under 2 GiB for {MANY_IMAGES:,} images", "GiB", [peak])


def feature_rows(data) -> list[Row]:
    """Speed beside Keras and torch-fidelity, and memory."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        weights, images = folder / "weights.pth", folder / "images.npy"
        write_state_dict(weights, random_state())
        write_images(data, images)
        files = (weights, data.root, images)
        return [speed_row("keras", "at least 0.95 x a plain Keras InceptionV3, whose images are ready", *files),
                speed_row("torch-fidelity", "at least 1.8 x torch-fidelity's Inception", *files),
                memory_row(folder, *files)]


FEATURE_ROWS = {"features": feature_rows}
