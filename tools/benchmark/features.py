"""The rows of `make bench` about the FID Inception's features: beside torch-fidelity's, beside Keras's own, and memory.

Ours are computed from the data's files on; the peers' images are decoded beforehand, and for Keras's network, which is
another network of nearly the same arithmetic, resized, too. Weights are random: they change nothing here.
"""

import tempfile
from pathlib import Path

import numpy as np
from benchmark.inception_state import random_state, write_state_dict
from benchmark.peers.python import HOW, peer_python
from benchmark.process import Side
from benchmark.rows import PAIRS, Row
from console import module_command

IMAGES = 192  # a measurement: six batches
MANY = 10_000  # images whose features must fit into memory
NARROW = 16  # of the network that is asked for so many: an image costs it milliseconds, and as much memory


def write_images(data, path: Path) -> None:
    """The data's first `IMAGES` photos, as often as it takes, as uint8 `[IMAGES, height, width, 3]`."""
    from monet.core.pixels import decode_image
    from monet.data.records import read_examples

    examples = read_examples(data.photo).repeat().take(IMAGES)
    np.save(path, np.stack([decode_image(example["image"]).numpy() for example in examples]))


def start_side(name: str, weights: Path, root: str, images: Path) -> Side:
    """A process of tools/benchmark/features_side.py, or of PyTorch's environment, once it has computed a batch."""
    if name == "torch-fidelity":
        return Side(module_command("benchmark.peers.fidelity", "bench", weights, images, python=peer_python()))
    return Side(module_command("benchmark.features_side", name, weights, root, images))


def beside(peer: str, claim: str, *files) -> Row:
    """Images a second of ours and of a peer, in turn."""
    name = f"features, {peer}"
    with start_side("ours", *files) as ours:
        if peer == "torch-fidelity" and peer_python() is None:
            return Row(name, claim, "images/s", [IMAGES / ours.step(IMAGES) for _ in range(PAIRS)], HOW)
        with start_side(peer, *files) as theirs:
            turns = [(IMAGES / ours.step(IMAGES), IMAGES / theirs.step(IMAGES)) for _ in range(PAIRS)]
    mine, others = zip(*turns, strict=True)
    return Row(name, claim, "images/s", list(mine), peer, others)


def memory_row(folder: Path, weights: Path, *files) -> Row:
    """GiB for `MANY` images: what the network takes for a few, and what more images add, which is measured with a
    network of fewer channels, because it is the images and their features that remain, and those are the same."""
    write_state_dict(folder / "narrow.pth", random_state(narrow=NARROW))
    with start_side("ours", weights, *files) as whole, start_side("ours", folder / "narrow.pth", *files) as narrow:
        whole.step(IMAGES)
        narrow.step(IMAGES)
        few = narrow.peak
        narrow.step(MANY)
        return Row("features memory", f"under 2 GiB for {MANY:,} images", "GiB", [whole.peak + narrow.peak - few])


def feature_rows(data) -> list[Row]:
    """Ours beside torch-fidelity and beside Keras's own network, and the memory."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        weights, images = folder / "weights.pth", folder / "images.npy"
        write_state_dict(weights, random_state())
        write_images(data, images)
        files = (weights, data.root, images)
        rows = [beside("keras", "at least 0.95 x a plain Keras InceptionV3, whose images are ready", *files),
                beside("torch-fidelity", "at least 1.8 x torch-fidelity's Inception", *files)]
        return [*rows, memory_row(folder, *files)]


FEATURE_ROWS = {"features": feature_rows}
