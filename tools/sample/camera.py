"""Renders a scene of the sample as a photo."""

import numpy as np
from sample.canvas import COLUMNS, ROWS, SIZE, Scene
from scipy import ndimage


def photograph(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """Renders the scene as a camera would: muted colours, contrast, vignette, blur and grain. uint8 [256, 256, 3]."""
    image = ndimage.gaussian_filter(np.clip(scene.image, 0, 1), (rng.uniform(0.25, 0.6),) * 2 + (0,))
    image = image * (rng.uniform(0.38, 0.58) / image.mean()) ** 0.6  # exposure
    grey = image.mean(axis=-1, keepdims=True)
    image = grey + rng.uniform(0.65, 1.15) * (image - grey)  # saturation
    image = np.clip(image * rng.uniform(0.97, 1.03, 3).astype(np.float32), 0, 1) ** rng.uniform(0.9, 1.25)
    contrast = image * image * (3 - 2 * image)
    image = image + rng.uniform(0.2, 0.7) * (contrast - image)
    from_centre = np.hypot(ROWS / SIZE - 0.5, COLUMNS / SIZE - 0.5)[..., None]
    image = image * (1 - rng.uniform(0.0, 0.5) * from_centre**2)  # vignette
    grain = rng.standard_normal((SIZE, SIZE, 1), np.float32) + 0.4 * rng.standard_normal(image.shape, np.float32)
    image = image + rng.uniform(0.003, 0.010) * grain
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
