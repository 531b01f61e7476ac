"""The pictures of tools/compare.py: labelled rows of photos and paintings, and the discriminators' maps over them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from monet.core.config import SUBMISSION_SIZE
from monet.core.files import atomic_write

CELL = SUBMISSION_SIZE  # pixels a side, as painted: a smaller picture would hide a checkerboard, or make one
LABEL, HEADER, GAP = 200, 34, 4  # pixels: width of the rows' labels, height of the header, space between cells
LARGE, SMALL = 22, 16  # pixels of text
QUALITY = 85  # JPEG: nine rows stay below 1 MB
INK, PAPER, BLANK = (20, 20, 20), (255, 255, 255), (236, 236, 236)
# Of the maps, beside the mean of a row's two; the colour-blind can tell them apart, too.
LESS_REAL, AVERAGE, MORE_REAL = np.array([[60, 90, 255], [235, 235, 235], [255, 150, 20]], np.float32)
WIDEST = 98  # percentile of the logits' distances from their mean that has the full colour


def draw_lines(draw: ImageDraw.ImageDraw, corner: tuple[int, int], lines: Sequence[str]) -> None:
    """Writes a large line and small ones below it; those too long for a label are broken at spaces."""
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
    """A table of pictures.

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
        draw_lines(draw, (GAP, top + GAP), lines)
        for column, cell in enumerate(cells):
            picture = Image.new("RGB", (CELL, CELL), BLANK) if cell is None else Image.fromarray(cell)
            sheet.paste(picture, (LABEL + column * (CELL + GAP), top))
    return sheet


def write_sheet(trained: Sequence[tuple[dict, Path]], path: str, header: Sequence[str], rows_of: Callable) -> None:
    """Writes the rows of all presets as JPEG, whole or not at all.

    Args:
        trained: pairs of a preset's result.json and the path of its pictures.npz.
        path: of the JPEG.
        header: titles of the columns, again and again until every cell of a row has one.
        rows_of: a function from such a pair, its arrays loaded, to the preset's rows.

    Raises:
        UserError: if it cannot be written.
    """
    rows = []
    for found, file in trained:
        with np.load(file) as arrays:
            rows += rows_of(found, arrays)
    sheet = draw_sheet([*header] * (len(rows[0][1]) // len(header)), rows)
    with atomic_write(path) as temporary:
        sheet.save(temporary, "JPEG", quality=QUALITY, subsampling="4:4:4")


def picture_rows(found: dict, arrays) -> list[tuple]:
    """A preset's only row of the picture: photo, painted, back again, for each photo shown."""
    back = arrays["back"] if "back" in arrays else [None] * len(arrays["photos"])
    cells = [cell for three in zip(arrays["photos"], arrays["painted"], back, strict=True) for cell in three]
    label = [found["preset"], f"{found['steps']} steps of batch {found['batch_size']}",
             f"{found['seconds_per_step']:.2f} s a step", ", ".join(found["faults"]) or "ok"]
    return [(label, cells)]


def write_pictures(trained: Sequence[tuple[dict, Path]], path: str) -> None:
    """Writes the picture with a row a preset: photo | painted | back again, for each photo shown; see `write_sheet`."""
    write_sheet(trained, path, ("photo", "painted", "back again"), picture_rows)


def colours_of(logits: np.ndarray, middle: float, reach: float) -> np.ndarray:
    """Logits as colours, `[height, width, 3]` in 0..255: LESS_REAL at middle - reach, MORE_REAL at middle + reach."""
    share = np.clip((logits - middle) / reach, -1.0, 1.0)[..., None]
    return AVERAGE + np.abs(share) * (np.where(share > 0, MORE_REAL, LESS_REAL) - AVERAGE)


def overlay(picture: np.ndarray, logits: np.ndarray, middle: float, reach: float) -> np.ndarray:
    """A picture in grey, coloured where and as the discriminator's patches see it.

    Each logit colours a square as large as the discriminator's stride, in the middle of its patch; the frame that no
    patch is centred on stays grey.

    Args:
        picture: uint8 `[CELL, CELL, 3]`.
        logits: `[height, width]`.
        middle: the logit without colour.
        reach: the distance from it that has the full colour.

    Returns:
        uint8 `[CELL, CELL, 3]`, with the mean logit written on it.
    """
    grey = picture.astype(np.float32).mean(axis=-1, keepdims=True)
    stride = 2 ** round(np.log2(CELL / max(logits.shape)))  # 8 for 30 x 30: what halves makes powers of 2
    squares = np.kron(colours_of(logits, middle, reach), np.ones((stride, stride, 1), np.float32))
    colours = np.full_like(picture, 160, np.float32)
    top, left = ((CELL - side) // 2 for side in squares.shape[:2])
    colours[top:top + len(squares), left:left + squares.shape[1]] = squares
    image = Image.fromarray(((0.35 + 0.65 * grey / 255) * colours).astype(np.uint8))
    text = f"mean {logits.mean():+.2f}"
    ImageDraw.Draw(image).text((2 * GAP, CELL - GAP), text, PAPER, ImageFont.load_default(SMALL), anchor="ls",
                               stroke_width=2, stroke_fill=INK)
    return np.asarray(image)


def map_cells(pictures: np.ndarray, logits: np.ndarray) -> list[np.ndarray]:
    """Two pictures, a real and a painted one, overlaid with one head's logits `[2, height, width]` on one scale."""
    middle = float(logits.mean())
    reach = max(float(np.percentile(np.abs(logits - middle), WIDEST)), 1e-6)
    return [overlay(picture, own, middle, reach) for picture, own in zip(pictures, logits, strict=True)]


def map_rows(found: dict, arrays) -> list[tuple]:
    """A preset's rows of the maps: one for each head that one of its discriminators has."""
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
        which = [f"head {head + 1} of {heads}"] * (heads > 1)
        rows.append(([found["preset"], f"{found['steps']} steps", f"patches: {', '.join(dict.fromkeys(sizes))}", *which,
                      "orange: more real than the pair's mean, blue: less"], cells))
    return rows


def write_maps(trained: Sequence[tuple[dict, Path]], path: str) -> None:
    """Writes what the discriminators see of real and painted pictures, a row a preset and head; see `write_sheet`."""
    write_sheet(trained, path, ("real Monet", "painted Monet", "real photo", "painted photo"), map_rows)
