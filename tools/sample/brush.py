"""Renders a scene of the sample as a painting: a pastel palette, then layers of brush strokes from coarse to fine."""

from dataclasses import dataclass

import numpy as np
from sample.canvas import COLUMNS, ROWS, SIZE, Scene, mix, noise, rgb, smoothstep
from scipy import ndimage

SCALE = 2  # the canvas is painted at twice the size and averaged down, to antialias the strokes
CANVAS = SIZE * SCALE
MARGIN = 64  # pixels around the canvas for strokes that run over its edge
PADDED = CANVAS + 2 * MARGIN


@dataclass(frozen=True)
class Brush:
    """The strokes of one layer. Lengths are in pixels of the finished picture."""

    length: float
    width: float
    coverage: float  # area of all strokes relative to the canvas
    edges_only: float  # 0: strokes everywhere; 1: strokes only on the edges of the picture
    jitter: float  # standard deviation of the strokes' colours


BRUSHES = (Brush(28, 8.0, 2.4, 0.0, 0.020), Brush(15, 4.6, 2.0, 0.0, 0.032), Brush(9.0, 2.6, 2.6, 0.8, 0.038))

LILAC, ROSE, PALE_YELLOW, TURQUOISE, VIOLET, BLUE = (
    rgb(0.76, 0.64, 0.90), rgb(0.97, 0.70, 0.74), rgb(1.00, 0.94, 0.64), rgb(0.42, 0.82, 0.80),
    rgb(0.42, 0.32, 0.68), rgb(0.30, 0.46, 0.80))
ACCENTS = np.stack([LILAC, ROSE, PALE_YELLOW, TURQUOISE, VIOLET, BLUE])


def pastel(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Returns the picture in a pastel palette: blue-violet shadows, and highlights in rose, lilac and pale yellow."""
    image = image * (rng.uniform(0.42, 0.54) / image.mean()) ** 0.8
    grey = image.mean(axis=-1, keepdims=True)
    image = np.clip(grey + 1.45 * (image - grey), 0, 1)
    tone = image.mean(axis=-1)
    image = 0.13 + 0.87 * image ** 0.85
    shadow = VIOLET + rng.uniform(0, 1) * (BLUE - VIOLET)
    image = mix(image, shadow, 0.62 * smoothstep(0.42, 0.05, tone))
    patches = noise(rng, 1.7)
    highlight = mix(PALE_YELLOW, ROSE if rng.random() < 0.5 else LILAC, smoothstep(-0.8, 0.8, patches))
    image = mix(image, highlight, 0.45 * smoothstep(0.45, 0.95, tone))
    green = np.clip((image[..., 1] - np.maximum(image[..., 0], image[..., 2])) * 8, 0, 1)
    image = mix(image, mix(TURQUOISE, rgb(0.72, 0.80, 0.46), smoothstep(-0.7, 0.7, noise(rng, 1.5))), 0.35 * green)
    greyness = smoothstep(0.16, 0.02, np.ptp(image, axis=-1))  # tint greys: impressionists avoid them
    image = mix(image, mix(LILAC, TURQUOISE, smoothstep(-0.6, 0.9, noise(rng, 1.6))), 0.38 * greyness)
    glaze = [LILAC, ROSE, PALE_YELLOW, TURQUOISE][rng.integers(4)]  # a thin tint over the whole canvas
    return np.clip(mix(image, glaze, np.full((SIZE, SIZE), rng.uniform(0.05, 0.20), np.float32)), 0, 1)


def stroke_angles(image: np.ndarray, flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the strokes' directions, along edges or else along `flow`, and the edges' strength in [0, 1]."""
    grey = ndimage.gaussian_filter(image.mean(axis=-1), 1.5)
    down, right = np.gradient(grey)
    # The gradient's direction with its angle doubled, so that opposite gradients average instead of cancelling out.
    doubled = [ndimage.gaussian_filter(part, 3.0) for part in (right * right - down * down, 2 * right * down)]
    strength = np.hypot(*doubled)
    edges = smoothstep(0.0, 1.0, strength / (np.quantile(strength, 0.88) + 1e-6))
    across = [edges * part / (strength + 1e-9) for part in doubled]
    cosine = -across[0] + (1 - edges) * np.cos(2 * flow)
    sine = -across[1] + (1 - edges) * np.sin(2 * flow)
    return 0.5 * np.arctan2(sine, cosine), edges


def place_strokes(rng: np.random.Generator, brush: Brush, edges: np.ndarray) -> np.ndarray:
    """Returns the positions (row, column) of the layer's strokes in painting order: [strokes, 2]."""
    count = int(brush.coverage * SIZE * SIZE / (brush.length * brush.width))
    positions = rng.uniform(0, SIZE, (count, 2))
    edge_strength = edges[tuple(positions.astype(int).T)]
    return positions[rng.random(count) < 1 - brush.edges_only * (1 - edge_strength)]


def stroke_colours(rng: np.random.Generator, brush: Brush, image: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Returns the picture's colour at each position, jittered and sometimes mixed with an accent: [strokes, 3]."""
    colours = image[tuple(positions.astype(int).T)]
    lightness = colours.mean(axis=-1, keepdims=True)
    accent = ACCENTS[rng.integers(0, len(ACCENTS), len(positions))]
    accent = accent - accent.mean(axis=-1, keepdims=True) + lightness
    weight = np.where(rng.random((len(positions), 1)) < 0.3, rng.uniform(0.2, 0.7, (len(positions), 1)), 0.0)
    colours = colours + weight * (accent - colours)
    jitter = rng.standard_normal((len(positions), 1)) + 0.6 * rng.standard_normal(colours.shape)
    return np.clip(colours + brush.jitter * jitter, 0, 1).astype(np.float32)


def rasterize_strokes(rng: np.random.Generator, brush: Brush, positions: np.ndarray, angle: np.ndarray):
    """Returns the pixels that each stroke touches: bent, with ragged ends.

    Args:
        positions: centres of the strokes (row, column) in the finished picture, [strokes, 2].
        angle: directions in radians, [strokes].

    Returns:
        Indices into the flattened padded canvas, int32 [strokes, steps, bristles]; 0 where a bristle does not touch.
    """
    count = len(positions)
    steps, bristles = int(brush.length * SCALE * 1.25), int(brush.width * SCALE * 1.25)
    along, across = (np.linspace(-0.5, 0.5, number, dtype=np.float32) for number in (steps, bristles))
    s = along * (brush.length * SCALE * rng.uniform(0.6, 1.2, (count, 1)).astype(np.float32))
    t = across * (brush.width * SCALE * rng.uniform(0.7, 1.2, (count, 1)).astype(np.float32))
    bend = s * s * (0.25 / (brush.length * SCALE) * rng.standard_normal((count, 1)).astype(np.float32))
    sine, cosine = np.sin(angle)[:, None].astype(np.float32), np.cos(angle)[:, None].astype(np.float32)
    centre = (positions * SCALE + MARGIN).astype(np.float32)
    rows = (centre[:, :1] + s * sine + bend * cosine)[:, :, None] + (t * cosine)[:, None]
    columns = (centre[:, 1:] + s * cosine - bend * sine)[:, :, None] - (t * sine)[:, None]
    rounding = 0.18 * np.abs(2 * across) ** 3
    start, end = (rounding + 0.16 * rng.random((2, count, bristles), np.float32))[:, :, None]
    wet = (along[:, None] > start - 0.5) & (along[:, None] < 0.5 - end)
    return (rows.astype(np.int32) * PADDED + columns.astype(np.int32)) * wet


def paint_layer(rng: np.random.Generator, brush: Brush, canvas: np.ndarray, relief: np.ndarray, image: np.ndarray,
                angles: np.ndarray, edges: np.ndarray) -> None:
    """Paints one layer of strokes on `canvas` [PADDED * PADDED, 3], and its thickness on `relief` [PADDED * PADDED]."""
    positions = place_strokes(rng, brush, edges)
    colours = stroke_colours(rng, brush, image, positions)
    angle = angles[tuple(positions.astype(int).T)] + 0.2 * rng.standard_normal(len(positions))
    pixels = rasterize_strokes(rng, brush, positions, angle)
    # NumPy keeps the last of several values for one pixel: later strokes cover earlier ones.
    topmost = np.full(PADDED * PADDED, -1, np.int32)
    topmost[pixels.reshape(-1)] = np.arange(pixels.size, dtype=np.int32)
    topmost[0] = -1  # index 0: bristles that do not touch
    covered = np.flatnonzero(topmost >= 0)
    _, steps, bristles = pixels.shape
    stroke, bristle = topmost[covered] // (steps * bristles), topmost[covered] % bristles
    load = rng.random((len(positions), bristles), np.float32)  # paint on each bristle
    canvas[covered] = colours[stroke] + 0.07 * (load[stroke, bristle] - 0.5)[:, None]
    profile = 1 - np.linspace(-1, 1, bristles, dtype=np.float32) ** 4  # thickness across a stroke
    relief[covered] = profile[bristle] * (0.55 + 0.9 * load[stroke, bristle])


def paint(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """Renders the scene as an impressionist might paint it. uint8 [256, 256, 3]."""
    image = pastel(rng, np.clip(scene.image, 0, 1))
    angles, edges = stroke_angles(image, scene.flow)
    canvas = np.zeros((PADDED, PADDED, 3), np.float32)
    inner = np.s_[MARGIN:MARGIN + CANVAS, MARGIN:MARGIN + CANVAS]
    canvas[inner] = image.repeat(SCALE, 0).repeat(SCALE, 1)
    relief = np.zeros((PADDED, PADDED), np.float32)
    for brush in BRUSHES:
        blurred = ndimage.gaussian_filter(image, (brush.width / 5,) * 2 + (0,))
        paint_layer(rng, brush, canvas.reshape(-1, 3), relief.reshape(-1), blurred, angles, edges)
    down, right = np.gradient(ndimage.gaussian_filter(relief[inner], 0.8))
    lit = canvas[inner] + 0.15 * (down + right)[..., None]  # thick paint, lit from the upper left
    picture = lit.reshape(SIZE, SCALE, SIZE, SCALE, 3).mean(axis=(1, 3))
    weave = np.sin(COLUMNS * 2.4 + 0.6 * noise(rng, 1.5)) + np.sin(ROWS * 2.4 + 0.6 * noise(rng, 1.5))
    picture += (0.010 * weave + 0.006 * noise(rng, 0.3))[..., None]
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
