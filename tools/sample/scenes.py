"""The sample's landscapes, composed of sky, terrain and plants, with boats, haystacks and houses."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sample.canvas import COLUMNS, ROWS, SIZE, Scene, illuminate, noise, rgb, smoothstep
from sample.plants import FOLIAGE, draw_shrubs, draw_tree, draw_trees
from sample.sky import choose_light, draw_sky
from sample.terrain import draw_meadow, draw_mountains, draw_path, draw_shore, draw_water, skyline
from scipy import ndimage


def draw_boats(rng: np.random.Generator, scene: Scene) -> None:
    """Draws one to three sailing boats on the water, with their reflections."""
    for _ in range(rng.integers(1, 4)):
        row = scene.horizon + rng.uniform(0.04, 0.4) * (SIZE - scene.horizon)
        height = 10 + 0.45 * (row - scene.horizon)
        column = rng.uniform(0.1, 0.9) * SIZE
        x, up = (COLUMNS - column) / height, (row - ROWS) / height
        sail = (up > 0.12) & (up < 1.0) & (x > -0.02) & (x < 0.5 * (1.0 - up))
        sail |= (up > 0.12) & (up < 0.85) & (x < -0.04) & (x > -0.32 * (0.9 - up))
        hull = (up <= 0.1) & (up > -0.05) & (np.abs(x) < 0.42 + up)
        reflection = (up < -0.05) & (up > -0.9) & (np.abs(x) < 0.25 * (1.0 + up))
        reflection &= np.sin(ROWS * 2.1 + column) > -0.2  # broken into bands
        for mask, colour, opacity in ((reflection, rgb(0.7, 0.7, 0.7), 0.45), (hull, rgb(0.2, 0.14, 0.12), 0.9),
                                      (sail, rgb(0.72, 0.70, 0.66), 0.95)):
            soft = ndimage.gaussian_filter(mask.astype(np.float32), 0.45)
            scene.blend(opacity * soft, illuminate(colour, scene.light, 1.0), flow=1.2)


def draw_haystacks(rng: np.random.Generator, scene: Scene) -> None:
    """Draws one to three haystacks in a field, with their shadows."""
    hay = rng.choice([rgb(0.62, 0.50, 0.26), rgb(0.54, 0.42, 0.24)])
    side = float(np.sign(scene.light.sun_column - SIZE / 2))
    for depth in np.sort(rng.uniform(0.12, 0.6, rng.integers(1, 4))).tolist():
        row = scene.horizon + depth * (SIZE - scene.horizon)
        height = 12 + 0.55 * (row - scene.horizon)
        x, up = (COLUMNS - rng.uniform(0.1, 0.9) * SIZE) / height, (row - ROWS) / height
        body = smoothstep(0.03, -0.03, np.abs(x) - np.where(up < 0.5, 0.5 + 0.1 * up, 1.1 * (1.0 - up)))
        body = body * smoothstep(-0.04, 0.04, up) * (up < 1)
        shadow = smoothstep(1.0, 0.6, np.hypot((x + 0.6 * side) / 0.9, (up + 0.03) / 0.12))
        scene.blend(0.6 * shadow, 0.25 * scene.light.ambient)
        sun = np.clip(0.55 + 0.8 * side * x + 0.13 * noise(rng, 0.5), 0.05, 1.2)
        scene.blend(body, illuminate(hay, scene.light, sun), flow=1.1)


def draw_house(rng: np.random.Generator, scene: Scene) -> None:
    """Draws a small house with a red or slate roof near the horizon."""
    row, height = scene.horizon + rng.uniform(1, 8), rng.uniform(9, 20)
    x, up = (COLUMNS - rng.uniform(0.1, 0.9) * SIZE) / height, (row - ROWS) / height
    wall = (np.abs(x) < 0.75) & (up > 0) & (up < 0.62)
    roof = (up >= 0.6) & (np.abs(x) < 0.88 - 0.9 * (up - 0.6)) & (up < 1.05)
    window = (np.abs(np.abs(x) - 0.4) < 0.09) & (np.abs(up - 0.32) < 0.12)
    tiles = rng.choice([rgb(0.52, 0.24, 0.16), rgb(0.30, 0.31, 0.35)])
    for mask, colour in ((wall, rgb(0.74, 0.70, 0.62)), (roof, tiles), (window, rgb(0.15, 0.15, 0.17))):
        scene.blend(ndimage.gaussian_filter(mask.astype(np.float32), 0.4), illuminate(colour, scene.light, 0.8))


def draw_lake(rng: np.random.Generator, scene: Scene) -> None:
    """Draws a lake below trees, sometimes with boats or the near bank."""
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
                      (column, float(edge[column]) + 12), rng.uniform(100, 230), FOLIAGE[rng.integers(len(FOLIAGE))])


def draw_fields(rng: np.random.Generator, scene: Scene) -> None:
    """Draws meadows and slopes with trees, sometimes with a road or a brook, a house or haystacks."""
    draw_shrubs(rng, scene, scene.horizon + 2, rng.uniform(3, 12))
    draw_meadow(rng, scene, scene.horizon)
    for depth in np.sort(rng.uniform(0.05, 0.6, rng.integers(0, 4))).tolist():  # from the farthest slope to the nearest
        slope = scene.horizon + (SIZE - scene.horizon) * depth * (1 + 0.22 * skyline(rng, 2.4))
        if rng.random() < 0.5:
            draw_shrubs(rng, scene, slope + 2, 4 + 30 * depth)
        draw_meadow(rng, scene, slope)
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
    """Draws open water, sometimes with boats or a beach with a line of foam."""
    draw_water(rng, scene)
    if rng.random() < 0.5:
        draw_boats(rng, scene)
    if rng.random() < 0.6:
        light = scene.light
        edge = SIZE - rng.uniform(0.15, 0.5) * (SIZE - scene.horizon)
        edge = edge + rng.uniform(-0.25, 0.25) * (COLUMNS[0] - SIZE / 2) + 4 * np.sin(COLUMNS[0] / rng.uniform(15, 40))
        from_edge = ROWS - edge
        sand = illuminate(rgb(0.66, 0.57, 0.43), light, 0.75 + 0.07 * noise(rng, 0.4))
        sand = sand * (0.62 + 0.38 * smoothstep(0, 25, from_edge))[..., None]
        scene.blend(smoothstep(-1, 2, from_edge), sand, flow=0.1)
        foam = smoothstep(5, 1, np.abs(from_edge + 3 * noise(rng, 1.2, 3.0)))
        scene.blend(0.85 * foam, 0.92 * (light.ambient + 0.8 * light.sun), flow=0.1)


def draw_grove(rng: np.random.Generator, scene: Scene) -> None:
    """Draws large trees close by, around a path or a glade."""
    draw_meadow(rng, scene, scene.horizon)
    draw_shrubs(rng, scene, scene.horizon + 4, rng.uniform(20, 70))
    draw_trees(rng, scene, scene.horizon + 6, rng.uniform(60, 120), int(rng.integers(5, 12)))
    if rng.random() < 0.7:
        draw_path(rng, scene)
    leaf_noise = noise(rng, 0.45)
    kind, colour = str(rng.choice(["round", "poplar", "fir"])), FOLIAGE[rng.integers(len(FOLIAGE))]
    for column in rng.choice([0.05, 0.2, 0.8, 0.95], int(rng.integers(2, 4)), replace=False).tolist():
        row = scene.horizon + rng.uniform(0.2, 0.8) * (SIZE - scene.horizon)
        draw_tree(rng, scene, leaf_noise, kind, (column * SIZE, row), rng.uniform(150, 260), colour)


@dataclass(frozen=True)
class Place:
    """A kind of landscape."""

    draw: Callable[[np.random.Generator, Scene], None]
    probability: float
    mountains: float  # probability of mountains in the background


PLACES = {"lake": Place(draw_lake, 0.36, 0.9), "fields": Place(draw_fields, 0.34, 0.75),
          "sea": Place(draw_sea, 0.14, 0.35), "grove": Place(draw_grove, 0.16, 0.4)}


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draws a random landscape, to be rendered by the camera or the brush."""
    place = PLACES[rng.choice(list(PLACES), p=[place.probability for place in PLACES.values()])]
    light = choose_light(rng)
    horizon = int(SIZE * rng.uniform(0.34, 0.66))
    scene = Scene(draw_sky(rng, horizon, light).astype(np.float32), 0.35 * noise(rng, 2.2), horizon, light)
    if rng.random() < place.mountains:
        draw_mountains(rng, scene)
    place.draw(rng, scene)
    return scene
