"""Painted pictures as JPEG files: encoding, names, files written whole, and pictures of any size."""

import os
import struct

import numpy as np
from PIL import Image, ImageOps

from monet.core.config import Config
from monet.core.errors import LOG, UserError
from monet.core.files import atomic_write
from monet.core.pixels import encode_jpeg, pixels_to_float
from monet.core.progress import progress_bar
from monet.submission.names import unique_name

MAX_SIDE = 1024  # pixels: a larger picture is shrunk to this on its longer side before it is painted
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
UNREADABLE_PICTURE = (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError)


def without_transparency(image: Image.Image) -> Image.Image:
    """Any Pillow image as RGB: transparent parts become white, 16 bits become 8."""
    if image.mode.startswith("I"):  # converting these clips at 255 instead of scaling
        values = np.asarray(image)
        image = Image.fromarray((values // 257 if values.max() > 255 else values).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def load_picture(path: str) -> np.ndarray:
    """The picture at `path`, upright, at most MAX_SIDE pixels a side: uint8 `[height, width, 3]`.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        with Image.open(path) as opened:
            image = without_transparency(ImageOps.exif_transpose(opened))
    except UNREADABLE_PICTURE as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UserError(f"{path} cannot be read as a picture ({why}). Give a JPG, PNG, or the like.") from None
    if max(image.size) > MAX_SIDE:
        before = image.size
        image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
        LOG.info("%s is painted at %dx%d pixels instead of %dx%d", path, *image.size, *before)
    return np.asarray(image)


def list_pictures(source: str) -> list[str]:
    """The pictures in the folder `source`, sorted, or `source` itself if it is a file.

    Raises:
        UserError: if there is no such file or folder, or no picture in it.
    """
    if os.path.isfile(source):
        return [source]
    if not os.path.isdir(source):
        raise UserError(f"{source} is not there. Give a picture or a folder of pictures.")
    paths = [os.path.join(source, name) for name in sorted(os.listdir(source))
             if name.lower().endswith(PICTURE_SUFFIXES) and not name.startswith(".")]
    paths = [path for path in paths if os.path.isfile(path)]
    if not paths:
        raise UserError(f"There is no picture in {source}. Give a folder with files that end in "
                        f"{', '.join(PICTURE_SUFFIXES)}.")
    return paths


def paint_picture(paint, picture: np.ndarray, multiple: int) -> np.ndarray:
    """Paints one picture, padded by its own mirror image to sizes that the network takes.

    Args:
        paint: as in `paint_files`.
        picture: uint8 `[height, width, 3]`.
        multiple: what the network needs height and width to be a multiple of, in pixels.

    Returns:
        float32 `[height, width, 3]` in [-1, 1].
    """
    height, width, _ = picture.shape
    rooms = [-side % multiple for side in (height, width)]
    top, left = (room // 2 for room in rooms)
    # "symmetric" goes on mirroring where the padding is larger than the picture.
    padded = np.pad(picture, ((top, rooms[0] - top), (left, rooms[1] - left), (0, 0)), mode="symmetric")
    painted = np.asarray(paint(pixels_to_float(padded[None])), np.float32)
    return painted[0, top:top + height, left:left + width]


def paint_files(paint, source: str, folder: str, config: Config, multiple: int) -> list[str]:
    """Paints a picture, or each picture of a folder, into `folder` as JPGs of the same size and name.

    Pictures are turned upright as their EXIF says, transparency becomes white, and what is larger than MAX_SIDE is
    shrunk to it. Unreadable pictures among several are skipped with a warning.

    Args:
        paint: a function from float32 `[1, height, width, 3]` in [-1, 1] to the same painted.
        source: a picture file or a folder.
        folder: where the JPGs go; made if it is not there.
        config: gives jpeg_quality and jpeg_subsampling.
        multiple: what `paint` needs height and width to be a multiple of, in pixels.

    Returns:
        The paths of the JPGs, in the order of their sources' names.

    Raises:
        UserError: if there is nothing to paint, nothing can be read, or the results cannot be written.
    """
    sources, taken, written, problems = list_pictures(source), {}, [], []
    if os.path.realpath(folder) == os.path.realpath(os.path.dirname(sources[0]) or "."):
        raise UserError(f"The painted pictures would overwrite those in {folder}. Give another --out.")
    with progress_bar("Painting", len(sources)) as show:
        for done, path in enumerate(sources):
            show(done)
            name = unique_name(os.path.splitext(os.path.basename(path))[0], taken)
            try:
                picture = load_picture(path)
            except UserError as error:
                problems.append(str(error))
                continue
            encoded = encode_jpeg(paint_picture(paint, picture, multiple), config)
            target = os.path.join(folder, f"{name}.jpg")
            with atomic_write(target) as temporary, open(temporary, "wb") as file:
                file.write(encoded)
            written.append(target)
    if not written:
        raise UserError(problems[0] if len(problems) == 1 else f"None of {source}'s {len(problems)} pictures can be "
                        f"read. The first: {problems[0]}")
    for problem in problems:
        LOG.warning("Skipped: %s", problem)
    if problems:
        LOG.warning("%d of %d pictures could not be read", len(problems), len(sources))
    return written
