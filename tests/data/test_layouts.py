"""Which files belong to which domain when there are both folders and .npy files."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from monet.core.errors import UserError
from monet.data.layouts import find_layout
from monet.data.records import read_examples
from monet.data.validation import find_data
from monet.data.writing import write_records

PICTURES = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)


def write_side(root: Path, name: str, count: int) -> None:
    """Writes `count` images in the format that the name implies, such as monet_jpg or photo.npy."""
    if name.endswith(".npy"):
        np.save(root / name, PICTURES[:count])
        return
    (root / name).mkdir()
    encoded = [tf.io.encode_jpeg(picture).numpy() for picture in PICTURES[:count]]
    if name.endswith("_tfrec"):
        write_records(str(root / name / "a.tfrec"), [(f"n{i}", data) for i, data in enumerate(encoded)], name)
        return
    for number, data in enumerate(encoded):
        (root / name / f"{number}.jpg").write_bytes(data)


WORDS = {"npy": ".npy arrays", "tfrec": "TFRecords", "images": "image files"}


@pytest.mark.parametrize(("monet", "photo", "kinds"), [
    ("monet.npy", "photo_tfrec", ("npy", "tfrec")),
    ("monet.npy", "photo_jpg", ("npy", "images")),
    ("monet_tfrec", "photo.npy", ("tfrec", "npy")),
    ("monet_jpg", "photo.npy", ("images", "npy")),
    ("monet.npy", "trainB", ("npy", "images")),
])
def test_either_domain_may_be_an_array(tmp_path, monet, photo, kinds):
    write_side(tmp_path, monet, 2)
    write_side(tmp_path, photo, 3)
    data = find_data(str(tmp_path))
    assert (data.monet.kind, data.photo.kind) == kinds
    assert (len(list(read_examples(data.monet))), len(list(read_examples(data.photo)))) == (2, 3)
    assert data.describe() == f"2 paintings in {WORDS[kinds[0]]} and 3 photos in {WORDS[kinds[1]]} below {tmp_path}"
    swapped = find_data(str(tmp_path), swap_sides=True)
    assert (swapped.monet, swapped.photo) == (data.photo, data.monet)


def test_an_array_takes_precedence_over_folders(tmp_path):
    for name, count in (("monet_tfrec", 1), ("photo_tfrec", 3), ("monet.npy", 2)):
        write_side(tmp_path, name, count)
    data = find_data(str(tmp_path))
    assert (data.monet.kind, data.monet.count, data.photo.kind) == ("npy", 2, "tfrec")


@pytest.mark.parametrize(("there", "missing"), [("monet.npy", "photo"), ("photo.npy", "monet")])
def test_an_array_without_the_other_domain_is_refused(tmp_path, there, missing):
    write_side(tmp_path, there, 1)
    with pytest.raises(UserError) as error:
        find_layout(str(tmp_path))
    for name in (there, f"{missing}_tfrec/", f"{missing}.npy"):
        assert name in str(error.value)


def test_the_message_guesses_what_was_meant(tmp_path):
    (tmp_path / "inner").mkdir()
    write_side(tmp_path / "inner", "monet.npy", 1)
    with pytest.raises(UserError, match="is a file.* monet.npy and photo.npy"):
        find_layout(str(tmp_path / "inner" / "monet.npy"))
    with pytest.raises(UserError, match="--data .*/inner"):
        find_layout(str(tmp_path))
    with pytest.raises(UserError, match="tfds:NAME"):
        find_layout("cycle_gan/horse2zebra")
