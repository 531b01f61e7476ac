"""Small sets of images for the tests of tools/mifid.py, with made-up features in the cache."""

import functools
import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from scoring.cache import FeatureCache
from scoring.sources import open_source

from monet.data.writing import write_records
from monet.scoring.inception_weights import digest_of

WIDTH = 40  # features per image


def jpeg(number, size=(256, 256), mode="RGB", kind="JPEG", **options):
    """An image of one colour and some noise, different for each number."""
    random = np.random.default_rng(number)
    noise = Image.fromarray(random.integers(0, 256, [32, 32], np.uint8)).resize(size)
    picture = Image.composite(Image.new("RGB", size, tuple(random.integers(0, 256, 3).tolist())),
                              Image.new("RGB", size, "white"), noise)
    file = io.BytesIO()
    picture.convert(mode).save(file, kind, **options)
    return file.getvalue()


def write_zip(path, images, folder=""):
    """A zip of `images`, bytes by name."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in images.items():
            archive.writestr(folder + name, data)
    return str(path)


def write_folder(path, images):
    path.mkdir(parents=True)
    for name, data in images.items():
        (path / name).write_bytes(data)
    return str(path)


def write_tfrecords(path, images):
    write_records(str(path), list(images.items()), "monet")
    return str(path)


@functools.cache
def plain_jpeg(number):
    return jpeg(number)


def some_images(count, first=0):
    return {f"{number:04d}.jpg": plain_jpeg(number) for number in range(first, first + count)}


def features_of(count, seed=0, shift=0.0):
    random = np.random.default_rng(seed)
    return np.maximum(random.normal(0.5 + shift, 1, [count, WIDTH]), 0).astype(np.float32)


def make_known(path, features, weights, notes=None):
    """Caches features of the images at `path`, as if computed with the file of weights."""
    source = open_source(str(path))
    digests = [source.digest(position) for position in range(len(source.names))]
    FeatureCache(digest_of(str(weights))).add(digests, features, notes or [""] * len(digests))


def parts_of_cache(home):
    return sorted(Path(home).glob("monet/features/*/*.npz"))
