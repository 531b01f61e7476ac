"""Paints the user's own pictures, of any size and format, as JPEG files."""

import os
import warnings
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from monet.core.config import Config
from monet.core.errors import LOG, UserError
from monet.core.file_names import PAINTED_FORMATS, has_suffix
from monet.core.files import atomic_write
from monet.core.pixels import pixels_to_float
from monet.core.progress import progress_bar
from monet.data.layouts import unread_note
from monet.data.storage import list_folder
from monet.submission.jpegs import JpegEncoder
from monet.submission.names import short_stem, unique_name

MAX_SIDE = 1024  # pixels: a picture whose longer side exceeds this is shrunk to it before it is painted
PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # of the files in PAINTED_FORMATS


def convert_to_rgb(image: Image.Image) -> Image.Image:
    """Converts any Pillow image to RGB: transparent parts become white, 16 bits become 8."""
    if image.mode.startswith("I"):  # Pillow would clip these at 255 instead of scaling them
        values = np.asarray(image)
        image = Image.fromarray((values // 257 if values.max() > 255 else values).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def load_picture(path: str) -> np.ndarray:
    """Reads a picture, turned upright and at most MAX_SIDE pixels a side: uint8 `[height, width, 3]`.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # from half as many pixels as it accepts
            with Image.open(path, formats=PILLOW_FORMATS) as opened:
                image = convert_to_rgb(ImageOps.exif_transpose(opened))
        original_size = image.size
        image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    except Image.DecompressionBombError:
        limit = 2 * Image.MAX_IMAGE_PIXELS / 1e6
        raise UserError(f"{path} has more than {limit:.0f} million pixels. Save it with fewer.") from None
    except Exception as error:  # whatever Pillow raises: it is this picture's fault
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        remedy = f"Copy it again, or save it as one of {', '.join(PILLOW_FORMATS)}."
        if not os.path.exists(path):
            remedy = "It is a link to a file that does not exist: restore that file, or delete the link."
        raise UserError(f"{path} cannot be read as a picture ({why}). {remedy}") from None
    if image.size != original_size:
        LOG.info("%s is painted at %dx%d pixels instead of %dx%d", path, *image.size, *original_size)
    return np.asarray(image)


def list_pictures(source: str) -> list[str]:
    """The sorted paths of the pictures in the folder `source`, or `source` itself if it is a file.

    Raises:
        UserError: if there is no such file or folder, or the folder holds no picture.
    """
    if os.path.lexists(source) and not os.path.isdir(source):
        return [source]
    if not os.path.isdir(source):
        raise UserError(f"{source} does not exist. Give a picture or a folder of pictures.")
    names = [name for name in list_folder(source) if has_suffix(name, PAINTED_FORMATS)]
    note = unread_note(source, PAINTED_FORMATS)
    if not names:
        raise UserError(f"{source} holds no picture. Give a folder of files that end in "
                        f"{', '.join(PAINTED_FORMATS)}. {note}".rstrip())
    if note:
        LOG.warning("%s", note)
    return [os.path.join(source, name) for name in names]


def paint_picture(paint, picture: np.ndarray, multiple: int) -> np.ndarray:
    """Paints one picture, padded by reflection to a size that the network takes.

    Args:
        paint: as for `paint_files`.
        picture: uint8 `[height, width, 3]`.
        multiple: the network needs height and width to be multiples of this, in pixels.

    Returns:
        float32 `[height, width, 3]` in [-1, 1].
    """
    height, width, _ = picture.shape
    extra_rows, extra_columns = -height % multiple, -width % multiple
    top, left = extra_rows // 2, extra_columns // 2
    # "symmetric" reflects repeatedly where the padding is larger than the picture.
    padded = np.pad(picture, ((top, extra_rows - top), (left, extra_columns - left), (0, 0)), mode="symmetric")
    painted = np.asarray(paint(pixels_to_float(padded[None])), np.float32)
    return painted[0, top:top + height, left:left + width]


def paint_files(paint, given: Sequence[str], folder: str, config: Config, multiple: int) -> list[str]:
    """Paints pictures, and each picture in folders, into `folder` as a JPG of the same size and name.

    Pictures are turned upright by their EXIF data, transparency becomes white, and pictures larger than MAX_SIDE are
    shrunk to it. Unreadable pictures among others are skipped with a warning.

    Args:
        paint: a function from float32 `[1, height, width, 3]` in [-1, 1] to the painted images, likewise.
        given: picture files and folders.
        folder: where to write the JPGs; created if missing.
        config: gives jpeg_quality and jpeg_subsampling.
        multiple: `paint` needs height and width to be multiples of this, in pixels.

    Returns:
        The paths of the JPGs, in the order given; those of a folder by name.

    Raises:
        UserError: if there is nothing to paint, nothing can be read, or the results cannot be written.
    """
    sources = list(dict.fromkeys(path for source in given for path in list_pictures(source)))
    encoder, taken, written, problems = JpegEncoder(config), {}, [], []
    if os.path.realpath(folder) in {os.path.realpath(os.path.dirname(path) or ".") for path in sources}:
        raise UserError(f"The painted pictures would overwrite those in {folder}. Give another --out.")
    with progress_bar("Painting", len(sources)) as show:
        for done, path in enumerate(sources):
            show(done)
            name = unique_name(short_stem(os.path.splitext(os.path.basename(path))[0]), taken)
            try:
                picture = load_picture(path)
            except UserError as error:
                problems.append(str(error))
                continue
            jpeg = encoder.encode(paint_picture(paint, picture, multiple))
            target = os.path.join(folder, f"{name}.jpg")
            with atomic_write(target) as temporary, open(temporary, "wb") as file:
                file.write(jpeg)
            written.append(target)
    if not written:
        raise UserError(problems[0] if len(problems) == 1 else f"None of the {len(problems)} pictures can be "
                        f"read. The first: {problems[0]}")
    for problem in problems:
        LOG.warning("Skipped: %s", problem)
    if problems:
        LOG.warning("%d of %d pictures could not be read", len(problems), len(sources))
    return written
