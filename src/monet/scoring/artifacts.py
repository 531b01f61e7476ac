"""Measures what a person sees first on bad paintings: coloured droplets, halos along silhouettes, frames at the border.

All three look at `changes`: what a painting changes beyond a new palette. Droplets and halos count only where the photo
is flat, for texture may be repainted. Images are as in `monet.scoring.health`, 64 pixels a side or more.
"""

import numpy as np
from scipy import ndimage

from monet.core.pixels import LUMINANCE

GREEN_TO_PURPLE = np.array([-0.5, 1.0, -0.5])
DROPLET_SIZES = (6, 10, 18, 26)  # pixels a side of the squares that are compared with the squares around them
DROPLET_FLAT = 6.0  # levels: standard deviation of the photo's luminance around a droplet
DROPLET_LEVELS = 10.0  # least amplitude: fainter ones are hard to see
DROPLET_RATIO = 5.0  # amplitude over what the squares around differ by, plus NOISE
NOISE = 2.0  # levels
AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))

STEEP = 5.0  # levels a pixel: slope of a silhouette, after a Gaussian blur of 1 pixel
RIM, BEYOND = slice(2, 9), slice(11, 17)  # pixels from the silhouette
BLEEDING, ACROSS = 4, 4  # pixels that a blur reaches; to where it takes its colour from
SIDE_FLAT = 16.0  # levels between the extremes of the photo from the rim on
BLOCK = 32  # pixels a side of the blocks whose silhouettes are, in turn, in one half or the other
FEWEST_EDGES, MOST_EDGES = 8, 1500  # pixels of silhouettes in each half; of an image

BORDER = 8  # pixels at each side; compared with those 8 and 16 further inside, where a checkerboard has the same phase
STANDARD_ERRORS = 3  # that a frame must exceed


def changes(photos: np.ndarray, painted: np.ndarray) -> np.ndarray:
    """The paintings less their photos in the paintings' palette, `[images, height, width, 3]` in levels of 255.

    The palette is an affine map of colours for each image, by least squares.
    """
    rest = np.empty(photos.shape, np.float32)
    for index, (photo, painting) in enumerate(zip(photos, painted, strict=True)):
        colours = np.concatenate([photo.reshape(-1, 3), np.ones((photo.size // 3, 1))], axis=1, dtype=np.float32)
        normal = colours.T @ colours + 1e-3 * np.eye(4, dtype=np.float32)  # a photo of one colour has no inverse
        palette = np.linalg.solve(normal, colours.T @ painting.reshape(-1, 3).astype(np.float32))
        rest[index] = 127.5 * (painting - (colours @ palette).reshape(photo.shape))
    return rest


def halved(images: np.ndarray) -> np.ndarray:
    """Averages 2x2 pixels."""
    count, height, width, channels = images.shape
    return images.reshape(count, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))


def droplet_map(light: np.ndarray, rest: np.ndarray, size: int) -> np.ndarray:
    """Whether a droplet of about `size` pixels lies at each place of images of half the size."""
    side, step = size // 2, round(0.75 * size)
    smooth = {"size": (0, size + 1, size + 1)}
    spread = ndimage.uniform_filter(light**2, **smooth) - ndimage.uniform_filter(light, **smooth)**2
    parts = np.stack([rest @ GREEN_TO_PURPLE, rest @ LUMINANCE]).astype(np.float32)
    squares = ndimage.uniform_filter(parts, (0, 0, side, side))
    around = np.stack([np.roll(squares, (y * step, x * step), (2, 3)) for y, x in AROUND])
    mean = around.mean(axis=0)
    colour, lightness = np.abs(squares - mean)
    levels = colour - lightness
    found = (spread < DROPLET_FLAT**2) & (levels > DROPLET_LEVELS)
    found &= levels > DROPLET_RATIO * (around.std(axis=0).max(axis=0) + NOISE)
    margin = step + side // 2 + 1
    return found[:, margin:-margin, margin:-margin]


def droplet_share(photos: np.ndarray, rest: np.ndarray) -> float:
    """The share of the images with a green or purple droplet of 6 to 30 pixels in a flat place.

    A droplet is a square whose mean change differs from that of the 8 squares around it, more towards green or purple
    than in lightness, and by far more than those differ from each other. The spike that instance normalization provokes
    looks so: Karras et al. 2020 (StyleGAN2), section 2.
    """
    light, rest = (127.5 * halved(photos) @ LUMINANCE).astype(np.float32), halved(rest)
    found = np.zeros(len(photos), bool)
    for size in DROPLET_SIZES:
        found |= droplet_map(light, rest, size).any(axis=(1, 2))
    return float(found.mean())


def silhouettes(light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels on steep edges of `light` `[height, width]`, and the direction towards the lighter side, each `[n, 2]`.

    They are 20 pixels or more from the border, and at most MOST_EDGES, evenly chosen.
    """
    light = ndimage.gaussian_filter(light, 1.0)
    slopes = np.stack([ndimage.sobel(light, axis) / 8 for axis in (0, 1)], axis=-1)
    steepness = np.linalg.norm(slopes, axis=-1)
    margin = BEYOND.stop
    pixels = np.argwhere(steepness[margin:-margin, margin:-margin] > STEEP) + margin
    towards = slopes[tuple(pixels.T)] / steepness[tuple(pixels.T)][:, None]
    beside = [steepness[tuple(np.rint(pixels + sign * towards).astype(int).T)] for sign in (1, -1)]
    crest = steepness[tuple(pixels.T)] >= np.maximum(*beside)
    pixels, towards = pixels[crest], towards[crest]
    chosen = slice(None, None, -(-len(pixels) // MOST_EDGES) or 1)
    return pixels[chosen], towards[chosen]


def without_bleeding(rims: np.ndarray, contrast: np.ndarray) -> np.ndarray:
    """`rims` `[pixels, 3]` without the part that goes towards the other side within BLEEDING pixels: blur, no halo."""
    towards = contrast / max(np.linalg.norm(contrast), 1e-6)
    bleeding = np.minimum(rims @ towards, 0.0) * (np.arange(RIM.start, RIM.stop) < BLEEDING)
    return rims - bleeding[:, None] * towards


def rim_levels(lines: np.ndarray, contrasts: np.ndarray, half: np.ndarray) -> float:
    """How far the rims of `lines` `[n, pixels, 3]` differ from what is beyond, in levels of 255.

    The difference is a median over the lines, by distance and channel. It is taken over two halves of the lines and
    multiplied, so that what is not the same along all silhouettes averages to 0; the result is the mean product's root,
    with its sign.
    """
    rims = lines[:, RIM] - lines[:, BEYOND].mean(axis=1, keepdims=True)
    one, other = (without_bleeding(np.median(rims[part], axis=0), np.median(contrasts[part], axis=0))
                  for part in (half, ~half))
    power = float((one * other).mean())
    return np.sign(power) * np.sqrt(abs(power))


def rims_of(photo: np.ndarray, painting: np.ndarray, rests: list[np.ndarray]) -> dict[int, list[float]]:
    """`rim_levels` along the silhouettes of one photo for each of `rests`: by side, 1 the lighter and -1 the darker.

    A side counts only where the photo is flat, and only with FEWEST_EDGES of such lines in each half.
    """
    pixels, towards = silhouettes(photo @ LUMINANCE)
    half = (pixels // BLOCK).sum(axis=1) % 2 == 0
    found = {}
    for sign in (1, -1):
        steps = sign * np.arange(BEYOND.stop)[:, None]
        y, x = np.rint(pixels[:, None] + steps * towards[:, None]).astype(int).transpose(2, 0, 1)
        flat = np.ptp(photo[y, x][:, RIM.start + 1:], axis=1).max(axis=-1) < SIDE_FLAT
        if min((flat & half).sum(), (flat & ~half).sum()) >= FEWEST_EDGES:
            y, x = y[flat], x[flat]
            across = np.rint(pixels[flat] - sign * ACROSS * towards[flat]).astype(int).T
            contrasts = painting[y, x][:, BEYOND].mean(axis=1) - painting[tuple(across)]
            found[sign] = [rim_levels(rest[y, x], contrasts, half[flat]) for rest in rests]
    return found


def halo_levels(photos: np.ndarray, painted: np.ndarray, rest: np.ndarray) -> float:
    """How far the rims of silhouettes, 2 to 8 pixels away, differ from what is beyond, in levels of 255.

    The mean of `rims_of` over images, of the side where it is larger, less the same of another image's changes along
    these silhouettes: what texture that has nothing to do with the photo would give. 0 without silhouettes.
    """
    images = zip(127.5 * photos, 127.5 * painted, rest, np.roll(rest, 1, axis=0), strict=True)
    found = [rims_of(photo, painting, [own, other]) for photo, painting, own, other in images]
    sides = [[rims[sign] for rims in found if sign in rims] for sign in (1, -1)]
    return max([0.0, *(float(np.subtract(*np.mean(side, axis=0))) for side in sides if side)])


def line_levels(rest: np.ndarray) -> float:
    """How far a line of pixels at the border differs from what is further inside, in levels of 255.

    The largest, over the 4 sides, the BORDER outermost lines and the channels, of |m| - STANDARD_ERRORS * s. m is the
    median over the images of the median over the line of its change less that further inside; s is the standard error
    of m, from the median absolute deviation. So a few photos with frames of their own do not count.
    """
    across = rest.transpose(0, 2, 1, 3)
    largest = 0.0
    for side in (rest, rest[:, ::-1], across, across[:, ::-1]):
        inside = (side[:, BORDER:2 * BORDER] + side[:, 2 * BORDER:3 * BORDER]) / 2
        lines = np.median(side[:, :BORDER] - inside, axis=2)
        middle = np.median(lines, axis=0)
        error = 1.2533 * 1.4826 * np.median(np.abs(lines - middle), axis=0) / np.sqrt(len(lines))
        largest = max(largest, float((np.abs(middle) - STANDARD_ERRORS * error).max()))
    return largest


def frame_levels(rest: np.ndarray) -> float:
    """The `line_levels` of the border less those of what is within 2 * BORDER pixels: what a mere pattern has."""
    within = slice(2 * BORDER, -2 * BORDER)
    return max(line_levels(rest) - line_levels(rest[:, within, within]), 0.0)
