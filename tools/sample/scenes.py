"""Whole landscapes put together from the pieces in `sample_nature`, and the camera that takes them."""

from collections.abc import Callable

import numpy as np
from sample.nature import (
    LEAVES,
    draw_meadow,
    draw_mountains,
    draw_path,
    draw_shore,
    draw_shrubs,
    draw_tree,
    draw_trees,
    draw_water,
    ridge,
)
from sample.sky import COLUMNS, ROWS, SIZE, Scene, choose_light, colour, draw_sky, light_up, noise, smooth
from scipy import ndimage


def draw_boats(rng: np.random.Generator, scene: Scene) -> None:
    """One to three sails on the water, with their reflections."""
    for _ in range(rng.integers(1, 4)):
        row = scene.horizon + rng.uniform(0.04, 0.4) * (SIZE - scene.horizon)
        height = 10 + 0.45 * (row - scene.horizon)
        column = rng.uniform(0.1, 0.9) * SIZE
        up = (row - ROWS) / height
        lean = (COLUMNS - column) / height
        sail = (up > 0.12) & (up < 1.0) & (lean > -0.02) & (lean < 0.5 * (1.0 - up))
        sail |= (up > 0.12) & (up < 0.85) & (lean < -0.04) & (lean > -0.32 * (0.9 - up))
        hull = (up <= 0.1) & (up > -0.05) & (np.abs(lean) < 0.42 + up)
        glint = (up < -0.05) & (up > -0.9) & (np.abs(lean) < 0.25 * (1.0 + up)) & (np.sin(ROWS * 2.1 + column) > -0.2)
        for mask, hue, share in ((glint, colour(0.7, 0.7, 0.7), 0.45), (hull, colour(0.2, 0.14, 0.12), 0.9),
                                 (sail, colour(0.72, 0.70, 0.66), 0.95)):
            soft = ndimage.gaussian_filter(mask.astype(np.float32), 0.45)
            scene.paint(share * soft, light_up(hue, scene.light, 1.0), flow=1.2)


def draw_haystacks(rng: np.random.Generator, scene: Scene) -> None:
    """One to three stacks of hay in a field, with their shadows."""
    hay = rng.choice([colour(0.62, 0.50, 0.26), colour(0.54, 0.42, 0.24)])
    side = float(np.sign(scene.light.sun_at[0] - SIZE / 2))
    for depth in np.sort(rng.uniform(0.12, 0.6, rng.integers(1, 4))).tolist():
        row = scene.horizon + depth * (SIZE - scene.horizon)
        height = 12 + 0.55 * (row - scene.horizon)
        x, up = (COLUMNS - rng.uniform(0.1, 0.9) * SIZE) / height, (row - ROWS) / height
        body = smooth(0.03, -0.03, np.abs(x) - np.where(up < 0.5, 0.5 + 0.1 * up, 1.1 * (1.0 - up)))
        body = body * smooth(-0.04, 0.04, up) * (up < 1)
        shadow = smooth(1.0, 0.6, np.hypot((x + 0.6 * side) / 0.9, (up + 0.03) / 0.12))
        scene.paint(0.6 * shadow, 0.25 * scene.light.ambient)
        sun = np.clip(0.55 + 0.8 * side * x + 0.13 * noise(rng, 0.5), 0.05, 1.2)
        scene.paint(body, light_up(hay, scene.light, sun), flow=1.1)


def draw_house(rng: np.random.Generator, scene: Scene) -> None:
    """A small house with a red or slate roof near the horizon."""
    row, height = scene.horizon + rng.uniform(1, 8), rng.uniform(9, 20)
    x, up = (COLUMNS - rng.uniform(0.1, 0.9) * SIZE) / height, (row - ROWS) / height
    wall = (np.abs(x) < 0.75) & (up > 0) & (up < 0.62)
    roof = (up >= 0.6) & (np.abs(x) < 0.88 - 0.9 * (up - 0.6)) & (up < 1.05)
    window = (np.abs(np.abs(x) - 0.4) < 0.09) & (np.abs(up - 0.32) < 0.12)
    tiles = rng.choice([colour(0.52, 0.24, 0.16), colour(0.30, 0.31, 0.35)])
    for mask, hue in ((wall, colour(0.74, 0.70, 0.62)), (roof, tiles), (window, colour(0.15, 0.15, 0.17))):
        scene.paint(ndimage.gaussian_filter(mask.astype(np.float32), 0.4), light_up(hue, scene.light, 0.8))


def draw_lake(rng: np.random.Generator, scene: Scene) -> None:
    """Water below mountains or trees, sometimes with boats, sometimes with the viewer's own bank."""
    far_trees = rng.random()
    if far_trees < 0.65:
        draw_shrubs(rng, scene, scene.horizon, rng.uniform(4, 18))
    if far_trees > 0.3:
        draw_trees(rng, scene, scene.horizon, rng.uniform(18, 75), int(rng.integers(3, 16)))
    if rng.random() < 0.25:
        draw_house(rng, scene)
    draw_water(rng, scene)
    if rng.random() < 0.3:
        draw_boats(rng, scene)
    if rng.random() < 0.45:
        edge = draw_shore(rng, scene)
        if rng.random() < 0.6:
            column = int(rng.choice(np.flatnonzero(edge <= edge.min() + 15)))
            draw_tree(rng, scene, noise(rng, 0.45), str(rng.choice(["round", "poplar", "fir"])),
                      (column, float(edge[column]) + 12), rng.uniform(100, 230), LEAVES[rng.integers(len(LEAVES))])


def draw_fields(rng: np.random.Generator, scene: Scene) -> None:
    """Meadows with trees, a road or a brook, haystacks."""
    draw_shrubs(rng, scene, scene.horizon + 2, rng.uniform(3, 12))
    draw_meadow(rng, scene, scene.horizon)
    for depth in np.sort(rng.uniform(0.05, 0.6, rng.integers(0, 4))).tolist():  # one slope before the other
        rolling = scene.horizon + (SIZE - scene.horizon) * depth * (1 + 0.22 * ridge(rng, 2.4))
        if rng.random() < 0.5:
            draw_shrubs(rng, scene, rolling + 2, 4 + 30 * depth)
        draw_meadow(rng, scene, rolling)
    if rng.random() < 0.4:
        draw_path(rng, scene)
    if rng.random() < 0.25:
        draw_house(rng, scene)
    for _ in range(rng.integers(1, 4)):
        depth = rng.uniform(0.02, 0.35)
        draw_trees(rng, scene, scene.horizon + depth * (SIZE - scene.horizon), 18 + 230 * depth * rng.uniform(0.7, 1.3),
                   int(rng.integers(1, 9)))
    if rng.random() < 0.3:
        draw_haystacks(rng, scene)


def draw_sea(rng: np.random.Generator, scene: Scene) -> None:
    """Open water, perhaps a headland, sails, a beach with a line of foam."""
    draw_water(rng, scene)
    if rng.random() < 0.5:
        draw_boats(rng, scene)
    if rng.random() < 0.6:
        light = scene.light
        edge = SIZE - rng.uniform(0.15, 0.5) * (SIZE - scene.horizon)
        edge = edge + rng.uniform(-0.25, 0.25) * (COLUMNS[0] - SIZE / 2) + 4 * np.sin(COLUMNS[0] / rng.uniform(15, 40))
        from_edge = ROWS - edge
        sand = light_up(colour(0.66, 0.57, 0.43), light, 0.75 + 0.07 * noise(rng, 0.4))
        sand = sand * (0.62 + 0.38 * smooth(0, 25, from_edge))[..., None]
        scene.paint(smooth(-1, 2, from_edge), sand, flow=0.1)
        foam = smooth(5, 1, np.abs(from_edge + 3 * noise(rng, 1.2, 3.0)))
        scene.paint(0.85 * foam, 0.92 * (light.ambient + 0.8 * light.sun), flow=0.1)


def draw_grove(rng: np.random.Generator, scene: Scene) -> None:
    """Big trees close by that frame a path or a glade."""
    draw_meadow(rng, scene, scene.horizon)
    draw_shrubs(rng, scene, scene.horizon + 4, rng.uniform(20, 70))
    draw_trees(rng, scene, scene.horizon + 6, rng.uniform(60, 120), int(rng.integers(5, 12)))
    if rng.random() < 0.7:
        draw_path(rng, scene)
    leaves = noise(rng, 0.45)
    kind, hue = str(rng.choice(["round", "poplar", "fir"])), LEAVES[rng.integers(len(LEAVES))]
    for column in rng.choice([0.05, 0.2, 0.8, 0.95], int(rng.integers(2, 4)), replace=False).tolist():
        row = scene.horizon + rng.uniform(0.2, 0.8) * (SIZE - scene.horizon)
        draw_tree(rng, scene, leaves, kind, (column * SIZE, row), rng.uniform(150, 260), hue)


PLACES: dict[str, Callable] = {"lake": draw_lake, "fields": draw_fields, "sea": draw_sea, "grove": draw_grove}
SHARES = {"lake": 0.36, "fields": 0.34, "sea": 0.14, "grove": 0.16}


def draw_scene(rng: np.random.Generator) -> Scene:
    """A landscape that no camera or brush has touched yet."""
    place = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    light = choose_light(rng)
    horizon = int(SIZE * rng.uniform(0.34, 0.66))
    scene = Scene(draw_sky(rng, horizon, light).astype(np.float32), 0.35 * noise(rng, 2.2), horizon, light)
    if rng.random() < {"lake": 0.9, "fields": 0.75, "sea": 0.35, "grove": 0.4}[place]:
        draw_mountains(rng, scene)
    PLACES[place](rng, scene)
    return scene


def photograph(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """The scene as a camera records it: contrast, muted colour, vignette, softness, grain. uint8 [256, 256, 3]."""
    image = ndimage.gaussian_filter(np.clip(scene.image, 0, 1), (rng.uniform(0.25, 0.6),) * 2 + (0,))
    image = image * (rng.uniform(0.38, 0.58) / image.mean()) ** 0.6  # exposure
    grey = image.mean(axis=-1, keepdims=True)
    image = grey + rng.uniform(0.65, 1.15) * (image - grey)
    image = np.clip(image * rng.uniform(0.97, 1.03, 3).astype(np.float32), 0, 1) ** rng.uniform(0.9, 1.25)
    curve = image * image * (3 - 2 * image)
    image = image + rng.uniform(0.2, 0.7) * (curve - image)
    corner = np.hypot(ROWS / SIZE - 0.5, COLUMNS / SIZE - 0.5)[..., None]
    image = image * (1 - rng.uniform(0.0, 0.5) * corner**2)
    grain = rng.standard_normal((SIZE, SIZE, 1), np.float32) + 0.4 * rng.standard_normal(image.shape, np.float32)
    image = image + rng.uniform(0.003, 0.010) * grain
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
