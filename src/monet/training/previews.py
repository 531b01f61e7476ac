"""The previews of a run, read back and kept: preview.jpg, and small frames that show how the paintings changed."""

import os
import re

import numpy as np
from PIL import Image

from monet.core.config import SUBMISSION_SIZE
from monet.core.files import atomic_write
from monet.core.page import to_jpeg
from monet.core.pixels import float_to_pixels
from monet.training.history import write_preview
from monet.training.run_files import RunFiles

MOST_FRAMES = 40
FRAME_IMAGES, FRAME_WIDTH = 3, 128  # a frame is a column of this many paintings of so many pixels
PADDING = 2  # mean level of 255: a preview's unused place is black, give or take what JPEG adds


def split_preview(path: str) -> tuple[np.ndarray, np.ndarray]:
    """The photos and the paintings of a preview.jpg: uint8 `[n, 256, 256, 3]` each.

    Raises:
        OSError, ValueError: if it cannot be read, or is not a sheet of pairs.
    """
    with Image.open(path, formats=("JPEG",)) as image:
        sheet = np.asarray(image.convert("RGB"))
    rows, columns = len(sheet) // SUBMISSION_SIZE, sheet.shape[1] // (2 * SUBMISSION_SIZE)
    pairs = sheet.reshape(rows, SUBMISSION_SIZE, columns, 2, SUBMISSION_SIZE, 3).transpose(2, 0, 3, 1, 4, 5)
    pairs = pairs.reshape(-1, *pairs.shape[2:])
    pairs = pairs[pairs.mean(axis=(1, 2, 3, 4)) > PADDING]
    return pairs[:, 0], pairs[:, 1]


def as_frame(images: np.ndarray) -> bytes:
    """The first of uint8 `[n, height, width, 3]`, one below the other, as a small JPEG."""
    images = images[:FRAME_IMAGES]
    return to_jpeg(np.concatenate(list(images)), FRAME_WIDTH * len(images))


def list_frames(folder: str) -> list[tuple[int, str]]:
    """Step and path of each frame in `folder`, by step."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return [(int(name[5:-4]), os.path.join(folder, name)) for name in sorted(names)
            if re.fullmatch(r"step-[0-9]{8,15}\.jpg", name)]


def keep_frame(painted, folder: str, step: int) -> None:
    """Keeps a frame of `painted`, `[n, 256, 256, 3]` in [-1, 1], and at most `MOST_FRAMES` evenly over the run.

    Frames of later steps go, because those steps are trained again.
    """
    with atomic_write(os.path.join(folder, f"step-{step:08d}.jpg")) as temporary, open(temporary, "wb") as file:
        file.write(as_frame(float_to_pixels(painted)))
    frames = list_frames(folder)
    while frames[-1][0] > step:
        os.remove(frames.pop()[1])
    while len(frames) > MOST_FRAMES:
        widths = [after - before for (before, _), (after, _) in zip(frames, frames[2:], strict=False)]
        os.remove(frames.pop(1 + int(np.argmin(widths)))[1])


def write_previews(photos, painted, files: RunFiles, step: int) -> np.ndarray:
    """Writes preview.jpg and keeps a frame; returns the preview as uint8 `[h, w, 3]`."""
    keep_frame(painted, files.previews, step)
    return write_preview(photos, painted, files.preview)
