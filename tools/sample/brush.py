"""Turns a drawn landscape into a painting: a pastel palette, then layers of short strokes from coarse to fine."""

from dataclasses import dataclass

import numpy as np
from sample.sky import COLUMNS, ROWS, SIZE, Scene, colour, mix, noise, smooth
from scipy import ndimage

SCALE = 2  # the canvas is painted at twice the size and averaged down, which smooths the strokes' edges
CANVAS = SIZE * SCALE
MARGIN = 64  # pixels around the canvas that strokes may run over
WIDE = CANVAS + 2 * MARGIN


@dataclass(frozen=True)
class Brush:
    """One layer of strokes: lengths in pixels of the finished picture."""

    length: float
    width: float
    cover: float  # how often the layer covers the canvas
    detail: float  # 0: everywhere; 1: only where the picture has edges
    jitter: float  # spread of the strokes' colours


BRUSHES = (Brush(28, 8.0, 2.4, 0.0, 0.020), Brush(15, 4.6, 2.0, 0.0, 0.032), Brush(9.0, 2.6, 2.6, 0.8, 0.038))

LILAC, ROSE, PALE_YELLOW, TURQUOISE, VIOLET, BLUE = (
    colour(0.76, 0.64, 0.90), colour(0.97, 0.70, 0.74), colour(1.00, 0.94, 0.64), colour(0.42, 0.82, 0.80),
    colour(0.42, 0.32, 0.68), colour(0.30, 0.46, 0.80))
BROKEN = np.stack([LILAC, ROSE, PALE_YELLOW, TURQUOISE, VIOLET, BLUE])


def pastel(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """The picture in the painter's palette: blue-violet shadows, light tones of rose, lilac and pale yellow."""
    image = image * (rng.uniform(0.42, 0.54) / image.mean()) ** 0.8
    grey = image.mean(axis=-1, keepdims=True)
    image = np.clip(grey + 1.45 * (image - grey), 0, 1)
    tone = image.mean(axis=-1)
    image = 0.13 + 0.87 * image ** 0.85
    shadow = VIOLET + rng.uniform(0, 1) * (BLUE - VIOLET)
    image = mix(image, shadow, 0.62 * smooth(0.42, 0.05, tone))
    patches = noise(rng, 1.7)
    high = mix(PALE_YELLOW, ROSE if rng.random() < 0.5 else LILAC, smooth(-0.8, 0.8, patches))
    image = mix(image, high, 0.45 * smooth(0.45, 0.95, tone))
    greens = np.clip((image[..., 1] - np.maximum(image[..., 0], image[..., 2])) * 8, 0, 1)
    image = mix(image, mix(TURQUOISE, colour(0.72, 0.80, 0.46), smooth(-0.7, 0.7, noise(rng, 1.5))), 0.35 * greens)
    colourless = smooth(0.16, 0.02, np.ptp(image, axis=-1))  # an impressionist has no grey
    image = mix(image, mix(LILAC, TURQUOISE, smooth(-0.6, 0.9, noise(rng, 1.6))), 0.38 * colourless)
    veil = [LILAC, ROSE, PALE_YELLOW, TURQUOISE][rng.integers(4)]  # the light that lies over the whole canvas
    return np.clip(mix(image, veil, np.full((SIZE, SIZE), rng.uniform(0.05, 0.20), np.float32)), 0, 1)


def stroke_angles(image: np.ndarray, flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The direction along the picture's edges, else that of its surfaces; and how strong the edges are in [0, 1]."""
    grey = ndimage.gaussian_filter(image.mean(axis=-1), 1.5)
    down, right = np.gradient(grey)
    parts = [ndimage.gaussian_filter(part, 3.0) for part in (right * right - down * down, 2 * right * down)]
    strength = np.hypot(*parts)
    edges = smooth(0.0, 1.0, strength / (np.quantile(strength, 0.88) + 1e-6))
    twice = [edges * part / (strength + 1e-9) for part in parts]  # doubled angles average without a jump at 180 degrees
    cosine = -twice[0] + (1 - edges) * np.cos(2 * flow)
    sine = -twice[1] + (1 - edges) * np.sin(2 * flow)
    return 0.5 * np.arctan2(sine, cosine), edges


def place_strokes(rng: np.random.Generator, brush: Brush, edges: np.ndarray) -> np.ndarray:
    """Where the layer's strokes go, in the order of painting: (row, column) [strokes, 2]."""
    count = int(brush.cover * SIZE * SIZE / (brush.length * brush.width))
    places = rng.uniform(0, SIZE, (count, 2))
    edge = edges[tuple(places.astype(int).T)]
    return places[rng.random(count) < 1 - brush.detail * (1 - edge)]


def stroke_colours(rng: np.random.Generator, brush: Brush, image: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The picture's colour at each place, jittered, and now and then broken with another hue: [strokes, 3]."""
    hues = image[tuple(places.astype(int).T)]
    tone = hues.mean(axis=-1, keepdims=True)
    broken = BROKEN[rng.integers(0, len(BROKEN), len(places))]
    broken = broken - broken.mean(axis=-1, keepdims=True) + tone  # another hue of the same lightness
    share = np.where(rng.random((len(places), 1)) < 0.3, rng.uniform(0.2, 0.7, (len(places), 1)), 0.0)
    hues = hues + share * (broken - hues)
    jitter = rng.standard_normal((len(places), 1)) + 0.6 * rng.standard_normal(hues.shape)
    return np.clip(hues + brush.jitter * jitter, 0, 1).astype(np.float32)


def trace_strokes(rng: np.random.Generator, brush: Brush, places: np.ndarray, angle: np.ndarray):
    """The pixels that bent strokes with ragged ends touch.

    Args:
        places: the strokes' middles (row, column) in the finished picture, [strokes, 2].
        angle: their directions in radians, [strokes].

    Returns:
        Positions in the flattened margined canvas, int32 [strokes, steps, bristles]; 0 where a stroke is dry.
    """
    count = len(places)
    steps, bristles = int(brush.length * SCALE * 1.25), int(brush.width * SCALE * 1.25)
    along, across = (np.linspace(-0.5, 0.5, number, dtype=np.float32) for number in (steps, bristles))
    s = along * (brush.length * SCALE * rng.uniform(0.6, 1.2, (count, 1)).astype(np.float32))
    t = across * (brush.width * SCALE * rng.uniform(0.7, 1.2, (count, 1)).astype(np.float32))
    bend = s * s * (0.25 / (brush.length * SCALE) * rng.standard_normal((count, 1)).astype(np.float32))
    sine, cosine = np.sin(angle)[:, None].astype(np.float32), np.cos(angle)[:, None].astype(np.float32)
    centre = (places * SCALE + MARGIN).astype(np.float32)
    rows = (centre[:, :1] + s * sine + bend * cosine)[:, :, None] + (t * cosine)[:, None]
    columns = (centre[:, 1:] + s * cosine - bend * sine)[:, :, None] - (t * sine)[:, None]
    rounding = 0.18 * np.abs(2 * across) ** 3
    start, end = (rounding + 0.16 * rng.random((2, count, bristles), np.float32))[:, :, None]
    wet = (along[:, None] > start - 0.5) & (along[:, None] < 0.5 - end)
    return (rows.astype(np.int32) * WIDE + columns.astype(np.int32)) * wet


def paint_layer(rng: np.random.Generator, brush: Brush, canvas: np.ndarray, relief: np.ndarray, image: np.ndarray,
                angles: np.ndarray, edges: np.ndarray) -> None:
    """Lays one layer of strokes on `canvas` [WIDE * WIDE, 3] and their thickness on `relief` [WIDE * WIDE]."""
    places = place_strokes(rng, brush, edges)
    hues = stroke_colours(rng, brush, image, places)
    angle = angles[tuple(places.astype(int).T)] + 0.2 * rng.standard_normal(len(places))
    spots = trace_strokes(rng, brush, places, angle)
    # Of several values for one pixel NumPy keeps the last: later strokes cover earlier ones.
    last = np.full(WIDE * WIDE, -1, np.int32)
    last[spots.reshape(-1)] = np.arange(spots.size, dtype=np.int32)
    last[0] = -1
    seen = np.flatnonzero(last >= 0)
    stroke, bristle = last[seen] // (spots.shape[1] * spots.shape[2]), last[seen] % spots.shape[2]
    load = rng.random((len(places), spots.shape[2]), np.float32)  # paint that each bristle carries
    canvas[seen] = hues[stroke] + 0.07 * (load[stroke, bristle] - 0.5)[:, None]
    rim = 1 - np.linspace(-1, 1, spots.shape[2], dtype=np.float32) ** 4
    relief[seen] = rim[bristle] * (0.55 + 0.9 * load[stroke, bristle])


def paint(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """The scene as an impressionist might paint it. uint8 [256, 256, 3]."""
    image = pastel(rng, np.clip(scene.image, 0, 1))
    angles, edges = stroke_angles(image, scene.flow)
    canvas = np.zeros((WIDE, WIDE, 3), np.float32)
    inner = np.s_[MARGIN:MARGIN + CANVAS, MARGIN:MARGIN + CANVAS]
    canvas[inner] = image.repeat(SCALE, 0).repeat(SCALE, 1)
    relief = np.zeros((WIDE, WIDE), np.float32)
    for brush in BRUSHES:
        blurred = ndimage.gaussian_filter(image, (brush.width / 5,) * 2 + (0,))
        paint_layer(rng, brush, canvas.reshape(-1, 3), relief.reshape(-1), blurred, angles, edges)
    down, right = np.gradient(ndimage.gaussian_filter(relief[inner], 0.8))
    lit = canvas[inner] + 0.15 * (down + right)[..., None]  # light from the upper left on thick paint
    picture = lit.reshape(SIZE, SCALE, SIZE, SCALE, 3).mean(axis=(1, 3))
    weave = np.sin(COLUMNS * 2.4 + 0.6 * noise(rng, 1.5)) + np.sin(ROWS * 2.4 + 0.6 * noise(rng, 1.5))
    picture += (0.010 * weave + 0.006 * noise(rng, 0.3))[..., None]
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
