"""JPEGs as strongly compressed as Monet's: what is taken as a model, and which painting follows which."""

import collections
import io
import logging
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from monet.core.config import Config
from monet.data.records import Data, ImageSet
from monet.data.writing import write_records
from monet.submission.jpegs import JpegEncoder, compression_of
from monet.training.run import hand_in

WAYS = [{"quality": 50, "subsampling": 0}, {"quality": 75, "subsampling": 2}, {"quality": 92, "subsampling": 1}]
NOISE = np.random.default_rng(0)


def picture(size: int = 256) -> np.ndarray:
    return NOISE.integers(0, 256, (size, size, 3), np.uint8)


def encoded(image: np.ndarray, format: str = "JPEG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format, **options)
    return file.getvalue()


def image_set(path: Path, files: list[bytes]) -> ImageSet:
    write_records(str(path), [(f"image{i}", data) for i, data in enumerate(files)], "image")
    return ImageSet((str(path),), "tfrec", len(files))


def tables_and_sampling(data: bytes) -> tuple:
    image = Image.open(io.BytesIO(data))
    return tuple(tuple(image.quantization[number]) for number in (0, 1)), JpegImagePlugin.get_sampling(image)


@pytest.fixture
def monets(tmp_path) -> list[bytes]:
    return [encoded(picture(), **way) for way in WAYS]


def test_every_compression_of_the_paintings_is_used_as_often(tmp_path, monets):
    encoder = JpegEncoder(Config(match_jpeg=True), image_set(tmp_path / "monet.tfrec", monets))
    paintings = [np.full([256, 256, 3], level, np.float32) for level in np.linspace(-1, 1, 250)]
    files = [encoder.encode(painting) for painting in paintings]
    counts = collections.Counter(map(tables_and_sampling, files))
    assert set(counts) == set(map(tables_and_sampling, monets))
    assert min(counts.values()) > 55  # 83 on average
    assert files == [encoder.encode(painting) for painting in paintings]  # duplicates can be found by their bytes


@pytest.mark.parametrize("data", [
    b"no image", encoded(picture(), "PNG"), encoded(picture(128)), encoded(picture()[..., 0]),
    encoded(picture(), qtables=[[300] * 64])], ids=["text", "png", "small", "gray", "16-bit"])
def test_what_is_no_model_is_left_out(tmp_path, monets, caplog, data):
    caplog.set_level(logging.INFO)
    assert compression_of(data) is None
    config, model = Config(match_jpeg=True, jpeg_quality=60), monets[1]
    if data != b"no image":
        mixed = image_set(tmp_path / "mixed.tfrec", [data, model])
        assert JpegEncoder(config, mixed).compressions == [compression_of(model)]
        assert "like one of the 1 real ones" in caplog.text and "--jpeg-quality 60" not in caplog.text
        without = JpegEncoder(config, image_set(tmp_path / "without.tfrec", [data]))
        assert "--jpeg-quality 60" in caplog.text
        assert without.compressions == JpegEncoder(Config(jpeg_quality=60)).compressions


@pytest.mark.parametrize("match_jpeg", [True, False])
def test_the_submission_is_compressed_as_the_config_says(tmp_path, monets, match_jpeg):
    monet = image_set(tmp_path / "monet.tfrec", monets[1:2])
    photo = image_set(tmp_path / "photo.tfrec", [encoded(picture()) for _ in range(5)])
    config = Config(out=str(tmp_path), num_images=5, match_jpeg=match_jpeg, jpeg_quality=81)
    assert hand_in(lambda images: images, Data("", monet, photo, False), config) == 0
    with zipfile.ZipFile(tmp_path / "images.zip") as archive:
        found = {tables_and_sampling(archive.read(name)) for name in archive.namelist()}
    model = monets[1] if match_jpeg else encoded(picture(), quality=81, subsampling="4:4:4")
    assert found == {tables_and_sampling(model)}
