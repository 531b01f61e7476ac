"""How far the colours of pictures are from those of paintings: what a network trained on ImageNet overlooks.

The distance is the sliced Wasserstein distance between clouds of pixels in CIE Lab, averaged over scales. It needs
neither weights nor many pictures. Images are float `[side, side, 3]` in [-1, 1], with a side of 256 pixels.

Sources: the slices are those of Rabin et al. 2011, "Wasserstein barycenter and its application to texture mixing"; one
distance per scale is Karras et al. 2018, "Progressive growing of GANs"; sRGB is IEC 61966-2-1; Lab is CIE 15.
"""

from collections.abc import Iterable

import numpy as np

from monet.core.errors import UserError

COLOUR_SIDES = (256, 64, 16, 8)  # pixels per side at which a picture is seen: single strokes to the whole palette
PIXELS_DRAWN = 256  # of a picture at each scale; all if there are no more
DIRECTIONS, LEVELS = 32, 256  # slices, and quantiles of a slice
SRGB_TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                        [0.0193339, 0.1191920, 0.9503041]], np.float32)
SMALLEST_DISTANCE = 1e-3  # in Lab; photos nearer to the paintings than this have the same colours


def to_lab(colours: np.ndarray) -> np.ndarray:
    """Converts sRGB `[n, 3]` in [-1, 1], clipped, to float32 CIE Lab `[n, 3]` with white D65: L in [0, 100]."""
    srgb = np.clip((colours.astype(np.float32) + 1) / 2, 0, 1)
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ SRGB_TO_XYZ.T / SRGB_TO_XYZ.sum(axis=1)  # relative to white
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def sphere_directions() -> np.ndarray:
    """`DIRECTIONS` unit vectors spread evenly over half a sphere, float32 `[DIRECTIONS, 3]`: a Fibonacci lattice."""
    turn = np.arange(DIRECTIONS) * np.pi * (3 - np.sqrt(5))
    height = (np.arange(DIRECTIONS) + 0.5) / DIRECTIONS
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), height], axis=1).astype(np.float32)


def pixels_at(image: np.ndarray, side: int, random: np.random.Generator) -> np.ndarray:
    """Up to `PIXELS_DRAWN` pixels `[n, 3]` of an image that is averaged over blocks to `side` pixels a side."""
    block = len(image) // side
    if side * side > PIXELS_DRAWN:  # averages only the blocks that are drawn
        rows, columns = (random.integers(side, size=PIXELS_DRAWN) for _ in range(2))
        blocks = image.reshape(side, block, side, block, 3).transpose(0, 2, 1, 3, 4)
        return blocks[rows, columns].mean(axis=(1, 2))
    return image.reshape(side, block, side, block, 3).mean(axis=(1, 3)).reshape(-1, 3)


def colour_profile(images: Iterable[np.ndarray]) -> np.ndarray:
    """What the distance needs of a set of images: the quantiles of their Lab colours along each direction.

    Args:
        images: float `[256, 256, 3]` each, in [-1, 1]. The same images in the same order give the same profile.

    Returns:
        float32 `[scales, DIRECTIONS, LEVELS]`.

    Raises:
        UserError: if there are no images, or one is not finite.
    """
    random, drawn = np.random.default_rng(0), [[] for _ in COLOUR_SIDES]
    for image in images:
        for pixels, side in zip(drawn, COLOUR_SIDES, strict=True):
            pixels.append(pixels_at(np.asarray(image), side, random))
    if not drawn[0]:
        raise UserError("There are no images whose colours could be compared. Give some.")
    profile = np.empty([len(COLOUR_SIDES), DIRECTIONS, LEVELS], np.float32)
    for quantiles, pixels in zip(profile, map(np.concatenate, drawn), strict=True):
        if not np.isfinite(pixels).all():
            raise UserError("The images contain NaN or infinity, so that their colours cannot be compared. Paint them "
                            "with another checkpoint.")
        slices = np.sort(sphere_directions() @ to_lab(pixels).T, axis=1)
        quantiles[:] = slices[:, ((np.arange(LEVELS) + 0.5) / LEVELS * slices.shape[1]).astype(int)]
    return profile


def colour_distance(first: np.ndarray, second: np.ndarray) -> float:
    """The sliced Wasserstein-1 distance of two profiles, in units of Lab: the mean over scales and directions of the
    integral over q of |F^-1(q) - G^-1(q)|, where F and G are the slices' distribution functions."""
    return float(np.abs(first - second).mean(dtype=np.float64))


def colour_left(painted: np.ndarray, photos: np.ndarray, paintings: np.ndarray) -> float:
    """The share of the photos' distance to the paintings that painting them has left; takes three profiles.

    0: the paintings' colours; 1: as far away as the photos; other Monets come to about 0.1.
    """
    return colour_distance(painted, paintings) / max(colour_distance(photos, paintings), SMALLEST_DISTANCE)
