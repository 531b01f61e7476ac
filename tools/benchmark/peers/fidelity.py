"""PyTorch's side of the FID Inception: weight files, and features by torch-fidelity. Runs in `make peers`'s Python.

    python -m benchmark.peers.fidelity save legacy|zip STATE.npz WEIGHTS.pth
    python -m benchmark.peers.fidelity features WEIGHTS.pth IMAGES.npy FEATURES.npy
    python -m benchmark.peers.fidelity bench WEIGHTS.pth IMAGES.npy
    python -m benchmark.peers.fidelity fixtures FOLDER

IMAGES.npy holds uint8 `[n, height, width, 3]`. `bench` is a worker of tools/benchmark/features.py: its first report
covers one batch; then each line of standard input is a number of images to compute features of. `fixtures` writes the
small files that tests/data/test_torch_file.py reads.
"""

import collections
import importlib.util
import sys
import types

import numpy as np
import torch
from benchmark.measure import answer_requests, report, seconds_of
from benchmark.peers.pytorch import configure_torch

BATCH = 32


def load_inception(path: str) -> torch.nn.Module:
    """Returns torch-fidelity's Inception with the file's weights.

    Skips the package's `__init__`, which imports torchvision for metrics that are not used here.
    """
    package = types.ModuleType("torch_fidelity")
    package.__path__ = importlib.util.find_spec("torch_fidelity").submodule_search_locations
    sys.modules["torch_fidelity"] = package
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    return FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=path)


def features_of(network: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    """Returns the features, float32 `[n, 2048]`, of images, uint8 `[n, height, width, 3]`."""
    with torch.inference_mode():
        batches = [network(torch.from_numpy(images[first:first + BATCH]).permute(0, 3, 1, 2))[0].numpy()
                   for first in range(0, len(images), BATCH)]
    return np.concatenate(batches)


def save(kind: str, source: str, target: str) -> None:
    """Writes the arrays of an .npz file as a state dict, in PyTorch's `legacy` or `zip` format."""
    with np.load(source) as arrays:
        state = collections.OrderedDict((name, torch.from_numpy(arrays[name].copy())) for name in arrays.files)
    torch.save(state, target, _use_new_zipfile_serialization=kind == "zip")


def fixtures(folder: str) -> None:
    """Writes tensors of every kind that a state dict may hold, some sharing a storage, in both formats."""
    grid = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 8
    state = collections.OrderedDict({
        "grid": grid, "transposed": grid.T, "part": grid[1:3, ::2], "scalar": torch.tensor(7), "empty": grid[:0],
        "double": torch.tensor([1 / 3], dtype=torch.float64), "half": torch.tensor([0.5, -2.0], dtype=torch.float16),
        "int": torch.tensor([-5, 2**31 - 1], dtype=torch.int32), "short": torch.tensor([-7], dtype=torch.int16),
        "char": torch.tensor([-8], dtype=torch.int8), "byte": torch.tensor([200], dtype=torch.uint8),
        "bool": torch.tensor([True, False])})
    state._metadata = collections.OrderedDict({"": {"version": 1}})  # as in a network's state dict
    for kind in ("legacy", "zip"):
        torch.save(state, f"{folder}/torch_{kind}.pth", _use_new_zipfile_serialization=kind == "zip")


def features(weights: str, images: str, target: str) -> None:
    """Writes the features of the images as .npy."""
    np.save(target, features_of(load_inception(weights), np.load(images)))


def bench(weights: str, images: str) -> None:
    """Computes features until standard input ends."""
    network, pixels = load_inception(weights), np.load(images)
    report(seconds_of(lambda: features_of(network, pixels[:BATCH])))
    answer_requests(lambda line: features_of(network, pixels[:int(line)]))


COMMANDS = {"save": save, "features": features, "bench": bench, "fixtures": fixtures}

if __name__ == "__main__":
    configure_torch()
    COMMANDS[sys.argv[1]](*sys.argv[2:])
