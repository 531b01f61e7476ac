"""The pictures of tools/compare.py: labelled rows of photos and paintings, and the discriminators' maps over them."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from monet.core.config import SUBMISSION_SIZE
from monet.core.files import atomic_write

CELL = SUBMISSION_SIZE  # pixels: resizing a painting would hide a checkerboard, or make one
LABEL, HEADER, GAP = 200, 34, 4  # pixels: width of the rows' labels, height of the header, space between cells
LARGE, SMALL = 22, 16  # font sizes
QUALITY = 85  # of the JPEG: nine rows stay below 1 MB
INK, PAPER, BLANK = (20, 20, 20), (255, 255, 255), (236, 236, 236)
# Colours of logits beside the mean of a row's two pictures; they also differ for the colour-blind.
LESS_REAL, AVERAGE, MORE_REAL = np.array([[60, 90, 255], [235, 235, 235], [255, 150, 20]], np.float32)
FULL_COLOUR = 98  # percentile of the logits' distances from their mean that gets the full colour


def draw_label(draw: ImageDraw.ImageDraw, corner: tuple[int, int], lines: Sequence[str]) -> None:
    """Writes a large line and small lines below it, wrapped at spaces to the width of a label."""
    x, y = corner
    for number, line in enumerate(lines):
        font = ImageFont.load_default(LARGE if number == 0 else SMALL)
        text = ""
        for word in line.split():
            longer = f"{text} {word}".strip()
            if text and draw.textlength(longer, font) > LABEL - 2 * GAP:
                draw.text((x, y), text, INK, font)
                y += font.size + GAP
                longer = word
            text = longer
        draw.text((x, y), text, INK, font)
        y += font.size + 2 * GAP


def draw_sheet(header: Sequence[str], rows: Sequence[tuple]) -> Image.Image:
    """Draws a table of pictures.

    Args:
        header: the title of each column.
        rows: pairs of the label's lines and the cells, uint8 `[CELL, CELL, 3]` each, None for a blank one.

    Returns:
        An RGB image.
    """
    size = (LABEL + len(header) * (CELL + GAP), HEADER + len(rows) * (CELL + GAP))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(header):
        draw.text((LABEL + column * (CELL + GAP) + CELL // 2, HEADER // 2), title, INK, ImageFont.load_default(LARGE),
                  anchor="mm")
    for number, (lines, cells) in enumerate(rows):
        top = HEADER + number * (CELL + GAP)
        draw_label(draw, (GAP, top + GAP), lines)
        for column, cell in enumerate(cells):
            picture = Image.new("RGB", (CELL, CELL), BLANK) if cell is None else Image.fromarray(cell)
            sheet.paste(picture, (LABEL + column * (CELL + GAP), top))
    return sheet


def save_sheet(sheet: Image.Image, path: str) -> None:
    """Writes a sheet as JPEG, whole or not at all.

    Raises:
        UserError: if the file cannot be written.
    """
    with atomic_write(path) as temporary:
        sheet.save(temporary, "JPEG", quality=QUALITY, subsampling="4:4:4")


def write_sheet(trained: Iterable[tuple[dict, Path]], path: str, titles: Sequence[str], rows_of: Callable) -> None:
    """Writes the rows of all presets as JPEG, whole or not at all.

    Args:
        trained: pairs of a preset's result.json and the path of its pictures.npz.
        path: of the JPEG.
        titles: of the columns, repeated until every cell of a row has one.
        rows_of: a function from such a pair, with the arrays loaded, to the preset's rows.

    Raises:
        UserError: if the file cannot be written.
    """
    rows = []
    for result, file in trained:
        with np.load(file) as arrays:
            rows += rows_of(result, arrays)
    save_sheet(draw_sheet([*titles] * (len(rows[0][1]) // len(titles)), rows), path)


def picture_rows(result: dict, arrays) -> list[tuple]:
    """Returns a preset's single row: photo, painted, back again, for each photo shown."""
    back = arrays["back"] if "back" in arrays else [None] * len(arrays["photos"])
    cells = [cell for shown in zip(arrays["photos"], arrays["painted"], back, strict=True) for cell in shown]
    label = [result["preset"], f"{result['steps']} steps of batch {result['batch_size']}",
             f"{result['seconds_per_step']:.2f} s a step", ", ".join(result["faults"]) or "ok"]
    return [(label, cells)]


def write_pictures(trained: Iterable[tuple[dict, Path]], path: str) -> None:
    """Writes a row for each preset: photo | painted | back again, for each photo shown. See `write_sheet`."""
    write_sheet(trained, path, ("photo", "painted", "back again"), picture_rows)


def logit_colours(logits: np.ndarray, middle: float, reach: float) -> np.ndarray:
    """Returns colours `[height, width, 3]` in 0..255, LESS_REAL at middle - reach to MORE_REAL at middle + reach."""
    position = np.clip((logits - middle) / reach, -1.0, 1.0)[..., None]
    return AVERAGE + np.abs(position) * (np.where(position > 0, MORE_REAL, LESS_REAL) - AVERAGE)


def overlay(picture: np.ndarray, logits: np.ndarray, middle: float, reach: float) -> np.ndarray:
    """Colours a picture, turned grey, by the discriminator's logits.

    Each logit colours a square as large as the discriminator's stride, at the centre of its patch. The frame, on which
    no patch is centred, stays grey.

    Args:
        picture: uint8 `[CELL, CELL, 3]`.
        logits: `[height, width]`.
        middle: the logit without colour.
        reach: the distance from `middle` that has the full colour.

    Returns:
        uint8 `[CELL, CELL, 3]`, with the mean logit written on it.
    """
    grey = picture.astype(np.float32).mean(axis=-1, keepdims=True)
    stride = 2 ** round(np.log2(CELL / max(logits.shape)))  # 8 for 30 x 30: strides are powers of 2
    squares = np.kron(logit_colours(logits, middle, reach), np.ones((stride, stride, 1), np.float32))
    colours = np.full_like(picture, 160, np.float32)
    top, left = ((CELL - side) // 2 for side in squares.shape[:2])
    colours[top:top + len(squares), left:left + squares.shape[1]] = squares
    image = Image.fromarray(((0.35 + 0.65 * grey / 255) * colours).astype(np.uint8))
    text = f"mean {logits.mean():+.2f}"
    ImageDraw.Draw(image).text((2 * GAP, CELL - GAP), text, PAPER, ImageFont.load_default(SMALL), anchor="ls",
                               stroke_width=2, stroke_fill=INK)
    return np.asarray(image)


def map_cells(pictures: np.ndarray, logits: np.ndarray) -> list[np.ndarray]:
    """Overlays a real and a generated picture with one head's logits, `[2, height, width]`, on one scale."""
    middle = float(logits.mean())
    reach = max(float(np.percentile(np.abs(logits - middle), FULL_COLOUR)), 1e-6)
    return [overlay(picture, own, middle, reach) for picture, own in zip(pictures, logits, strict=True)]


def map_rows(result: dict, arrays) -> list[tuple]:
    """Returns a preset's rows of maps, one for each head of the discriminator that has most."""
    sides = [side for side in ("monet", "photo") if f"{side}_maps" in arrays]
    heads, rows = max(len(arrays[f"{side}_maps"]) for side in sides), []
    for head in range(heads):
        cells, sizes = [], []
        for side in ("monet", "photo"):
            maps = arrays[f"{side}_maps"] if side in sides else []
            if head < len(maps):
                cells += map_cells(arrays[f"{side}_pictures"], maps[head])
                sizes.append("{}x{}".format(*maps.shape[2:]))
            else:
                cells += [None, None]
        rows.append(([result["preset"], f"{result['steps']} steps", f"patches: {', '.join(dict.fromkeys(sizes))}",
                      *[f"head {head + 1} of {heads}"] * (heads > 1),
                      "orange: more real than the pair's mean, blue: less"], cells))
    return rows


def write_maps(trained: Iterable[tuple[dict, Path]], path: str) -> None:
    """Writes what the discriminators make of real and generated pictures, a row per head. See `write_sheet`."""
    write_sheet(trained, path, ("real Monet", "painted Monet", "real photo", "painted photo"), map_rows)
