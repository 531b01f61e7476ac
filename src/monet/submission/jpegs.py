"""Encodes paintings as JPEGs: compressed as the config says, or as Monet's paintings are."""

import io
import zlib

import numpy as np
from PIL import Image, JpegImagePlugin

from monet.core.config import SUBMISSION_SIZE, Config
from monet.core.errors import LOG, UserError
from monet.core.pixels import float_to_pixels
from monet.data.records import ImageSet, read_examples

MOST_QUANTIZED = 255  # larger steps make a JPEG that not every program reads


def compression_of(encoded: bytes) -> dict | None:
    """How an image file was compressed: the quantization tables and the chroma subsampling, as options of Pillow's
    `save`; None if it is not a JPEG in RGB of a submission's size, or is of a rare kind."""
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            if (image.format, image.mode, image.size) != ("JPEG", "RGB", (SUBMISSION_SIZE, SUBMISSION_SIZE)):
                return None
            tables = [list(image.quantization[number]) for number in sorted(image.quantization)]
            sampling = JpegImagePlugin.get_sampling(image)
    except OSError:
        return None
    return None if sampling < 0 or np.max(tables) > MOST_QUANTIZED else {"qtables": tables, "subsampling": sampling}


class JpegEncoder:
    """Encodes paintings.

    Attributes:
        compressions: options of Pillow's `save`. Each painting is encoded by one of them, which its pixels choose as if
            at random, so that equal paintings give equal bytes.
    """

    def __init__(self, config: Config, monet: ImageSet | None = None):
        """Reads how the paintings are compressed, if they are to be the model.

        Args:
            config: gives match_jpeg, jpeg_quality and jpeg_subsampling.
            monet: the paintings; None: jpeg_quality and jpeg_subsampling apply.
        """
        matches = monet is not None and config.match_jpeg
        found = [compression_of(example["image"].numpy()) for example in read_examples(monet)] if matches else []
        self.compressions = [compression for compression in found if compression]
        if self.compressions:
            LOG.info("Each painting is compressed like one of the %d real ones that are JPEGs, not by --jpeg-quality",
                     len(self.compressions))
            return
        self.compressions = [{"quality": config.jpeg_quality, "subsampling": config.jpeg_subsampling}]
        if matches:
            LOG.warning("None of the paintings is an RGB JPEG of %dx%d pixels: --jpeg-quality %d applies",
                        SUBMISSION_SIZE, SUBMISSION_SIZE, config.jpeg_quality)

    def encode(self, image: np.ndarray) -> bytes:
        """Encodes one painted image.

        Args:
            image: float32 `[height, width, 3]` in [-1, 1]; values outside are clipped.

        Raises:
            UserError: if the image contains NaN or infinity.
        """
        if not np.isfinite(image).all():
            raise UserError("The generator paints NaN or infinite values: its weights are broken. Use another "
                            "checkpoint or other --weights, or train with --precision float32.")
        pixels, file = float_to_pixels(image), io.BytesIO()
        compression = self.compressions[zlib.crc32(pixels) % len(self.compressions)]
        # Without `optimize`, which more than doubles the time (0.7 ms more per image) for files a tenth smaller.
        Image.fromarray(pixels).save(file, "JPEG", **compression)
        return file.getvalue()
