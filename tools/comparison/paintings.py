"""How near paintings are to those of a reference: by networks that know ImageNet, and by colour.

What is `left` is a share of the unchanged photos' distance. 1: as far as the photos; 0: as near as other paintings of
the reference. Only numbers of as many pictures and the same reference compare. None of this is MiFID, which takes the
FID Inception's features.
"""

import subprocess
import tempfile
from pathlib import Path

from console import module_command, module_environment

import numpy as np
from benchmark.peers.python import MISSING_PEERS, peer_python
from PIL import Image
from scoring.sources import READ_ERRORS, open_source

from monet.core.config import SUBMISSION_SIZE
from monet.core.errors import UserError, say
from monet.core.pixels import pixels_to_float
from monet.scoring.colour import colour_distance, colour_profile
from monet.scoring.mifid import frechet_distance, kid_kernel, mean_kernel_of_pairs

JUDGED = 300  # pictures of each side, at most
NETWORKS = ("lite0", "lite2")  # of benchmark.peers.efficientnet
NETWORK_MODULE = "benchmark.peers.efficientnet"
KID_SCALE = 1000  # KID is small; papers print it times 1000


def first_pictures(path: str, count: int = JUDGED, every: int = 1) -> np.ndarray:
    """Returns pictures of a zip or a folder, uint8 `[n, 256, 256, 3]`, resized if need be.

    Args:
        path: of the zip or folder.
        count: the first so many, by name.
        every: of those, the first of every so many.

    Raises:
        UserError: if there are fewer than two, or one cannot be read.
    """
    source = open_source(path)
    if not source.reads:
        raise UserError(f"{path} holds features. Give a zip or a folder of pictures.")
    pictures = []
    for position in sorted(range(len(source.names)), key=source.names.__getitem__)[:count:every]:
        try:
            picture = Image.fromarray(source.decode(source.reads[position]())[0])
        except READ_ERRORS as error:
            raise UserError(f"{source.names[position]} in {path} cannot be read ({error}). Leave it out.") from None
        pictures.append(np.asarray(picture.resize((SUBMISSION_SIZE, SUBMISSION_SIZE), Image.Resampling.BILINEAR)))
    return np.stack(pictures)


def networks_at_hand() -> tuple[str, ...]:
    """Returns `NETWORKS`; if PyTorch's environment does not have them, says so and returns none."""
    python = peer_python()
    if python is None:
        say(f"KID is left out. {MISSING_PEERS}.")
        return ()
    imported = subprocess.run([python, "-c", f"import {NETWORK_MODULE}"], env=module_environment(), capture_output=True)
    if imported.returncode:
        say("KID is left out. PyTorch's environment is older than the networks that judge: run make peers.")
        return ()
    return NETWORKS


def network_features(network: str, images: np.ndarray) -> np.ndarray:
    """Returns the features, float32 `[n, 1280]`, of images, uint8 `[n, height, width, 3]`, by one of `NETWORKS`.

    Raises:
        subprocess.CalledProcessError: if PyTorch's process fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        pictures, features = (Path(folder) / name for name in ("pictures.npy", "features.npy"))
        np.save(pictures, images)
        subprocess.run(module_command(NETWORK_MODULE, network, pictures, features, python=peer_python()), check=True,
                       env=module_environment(), stdout=subprocess.DEVNULL)
        return np.load(features)


def kernel_distance_of_all(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Returns KID times 1000, without subsets: the unbiased squared MMD of all features, `[n, width]` and `[m, width]`.
    """
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    return KID_SCALE * float(mean_kernel_of_pairs(ours) + mean_kernel_of_pairs(theirs)
                             - 2 * kid_kernel(ours, theirs).mean())


def colours_of(images: np.ndarray) -> np.ndarray:
    """Returns the colour profile of images, uint8 `[n, 256, 256, 3]`."""
    return colour_profile(pixels_to_float(image).numpy() for image in images)


class Judge:
    """Measures paintings against a reference, and what is left of the photos' distance."""

    def __init__(self, reference: np.ndarray, photos: np.ndarray, networks: tuple[str, ...]):
        """Measures the photos.

        Args:
            reference: paintings that nothing was trained on, uint8 `[n, 256, 256, 3]`.
            photos: likewise.
            networks: those of `NETWORKS` that judge; may be empty.
        """
        self.real = {network: network_features(network, reference) for network in networks}
        self.colours = colours_of(reference)
        self.far = self.distances(photos)

    def distances(self, images: np.ndarray) -> dict[str, float]:
        """Returns for each network `kid_NETWORK`, times 1000, and `fid_NETWORK`, and `colour`, of images like those."""
        found = {}
        for network, real in self.real.items():
            features = network_features(network, images)
            found |= {f"kid_{network}": kernel_distance_of_all(features, real),
                      f"fid_{network}": frechet_distance(features, real)}
        return {**found, "colour": colour_distance(colours_of(images), self.colours)}

    def measure(self, images: np.ndarray) -> dict[str, dict]:
        """Returns the `distances` of images, and what is `left` of the photos'; None where the photos have none."""
        distances = self.distances(images)
        return {"distances": distances, "left": {name: value / self.far[name] if self.far[name] > 0 else None
                                                 for name, value in distances.items()}}
