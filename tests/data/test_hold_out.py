"""The hold-out: which paintings are kept from training, in every format, and that the others are trained on as ever."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from monet.core.config import make_config
from monet.core.errors import UserError
from monet.core.pixels import decode_image
from monet.data import pipeline
from monet.data.hold_out import part_of, split_data, whole_monet
from monet.data.records import Data, ImageSet, read_examples
from monet.data.validation import find_data
from monet.data.writing import write_records

PHOTOS = ImageSet((), "tfrec", 5)
COUNT = 10


def pictures(count, first=0):
    """Pictures of a single grey that identifies them: number k has the level 20 k + `first`."""
    return np.stack([np.full((16, 16, 3), 20 * number + first, np.uint8) for number in range(count)])


def encoded(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def write_sides(root, form, bad=()):
    """10 paintings and 5 photos in the format; the paintings at the positions `bad` cannot be decoded."""
    root.mkdir(exist_ok=True)
    for side, images in (("monet", pictures(COUNT)), ("photo", pictures(5, 5))):
        files = [b"no picture" if side == "monet" and number in bad else encoded(image)
                 for number, image in enumerate(images)]
        if form == "npy":
            np.save(root / f"{side}.npy", images)
        elif form == "images":
            (root / f"{side}_jpg").mkdir()
            for number, content in enumerate(files):
                (root / f"{side}_jpg" / f"{number}.png").write_bytes(content)
        else:
            (root / f"{side}_tfrec").mkdir()
            for part, numbers in enumerate((range(3), range(3, len(files)))):
                write_records(str(root / f"{side}_tfrec" / f"{side}{part}.tfrec"),
                              [(str(number), files[number]) for number in numbers], side)
    return str(root)


def numbers(image_set):
    """Which of the `pictures` a set has, in reading order."""
    return [int(decode_image(example["image"])[0, 0, 0]) // 20 for example in read_examples(image_set)]


def split(count, share, seed=0):
    """How many of `count` paintings are trained on, and the positions of those held out."""
    data = split_data(Data("", ImageSet((), "tfrec", count), PHOTOS, False), make_config(hold_out=share, seed=seed))
    return data.monet.count, set(data.monet.apart)


@pytest.mark.parametrize("form", ["tfrec", "images", "npy"])
def test_each_painting_is_trained_on_or_held_out(tmp_path, form):
    whole = find_data(write_sides(tmp_path, form))
    data = split_data(whole, make_config(hold_out=0.3))
    trained, held_out = numbers(data.monet), numbers(data.held_out)
    assert (data.monet.count, data.held_out.count) == (len(trained), len(held_out)) == (7, 3)
    assert sorted(trained + held_out) == list(range(COUNT))
    assert trained == sorted(trained) and held_out == sorted(held_out), "in reading order"
    assert data.photo == whole.photo


def test_what_cannot_be_decoded_is_in_neither_part(tmp_path, monkeypatch):
    monkeypatch.setattr("monet.data.validation.MAX_SKIPPED", 0.5)
    data = split_data(find_data(write_sides(tmp_path, "tfrec", bad=(1, 6))), make_config(hold_out=0.5))
    assert (data.monet.count, data.held_out.count) == (4, 4)
    assert sorted(numbers(data.monet) + numbers(data.held_out)) == [0, 2, 3, 4, 5, 7, 8, 9]
    assert "2 that cannot be decoded left out" in data.describe()


def test_number_share_and_seed_decide_the_split():
    assert split(300, 0.1) == split(300, 0.1)
    assert split(300, 0.1)[0] == 270
    assert split(300, 0.1)[1] != split(300, 0.1, seed=1)[1]
    assert split(300, 0.1)[1] < split(300, 0.2)[1], "a larger share adds to a smaller one"
    assert split(12, 0.25) == (9, {4, 6, 11}), "runs resume with this split, whatever the version"


@pytest.mark.parametrize(("count", "share", "held_out"), [(300, 0.1, 30), (7, 0.2, 1), (8, 0.2, 2), (300, 0.001, 1),
                                                          (2, 0.5, 1), (3, 0.5, 2)])
def test_the_share_is_rounded_and_at_least_one(count, share, held_out):
    assert split(count, share)[0] == count - held_out


def test_a_hold_out_that_leaves_nothing_is_refused():
    with pytest.raises(UserError, match="--hold-out 0.1 of 1 painting.*nothing"):
        split(1, 0.1)


@pytest.mark.parametrize("share", [-0.1, 0.6])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(UserError, match="--hold-out"):
        make_config(hold_out=share)


def test_a_split_is_undone_before_another(tmp_path):
    whole = find_data(write_sides(tmp_path, "tfrec"))
    data = split_data(whole, make_config(hold_out=0.5))
    assert whole_monet(data) == whole.monet
    assert split_data(data, make_config()) == whole
    assert split_data(data, make_config(hold_out=0.2)) == split_data(whole, make_config(hold_out=0.2))
    assert split_data(data, make_config(hold_out=0.5)) == data


def test_a_part_of_a_part():
    part = part_of(part_of(ImageSet((), "tfrec", 5, skipped=(0, 3)), [0, 2, 4]), [1])
    assert (part.count, part.apart) == (1, (2, 5, 1, 6))  # of the rows 1, 2, 4, 5, 6 first 1, 4, 6, of these 4


@pytest.mark.parametrize("cache_bytes", [pipeline.CACHE_BYTES, 0])
def test_only_the_others_are_trained_on_in_a_stream_that_resumes(tmp_path, monkeypatch, cache_bytes):
    monkeypatch.setattr(pipeline, "CACHE_BYTES", cache_bytes)
    data = split_data(find_data(write_sides(tmp_path, "tfrec")), make_config(hold_out=0.3))
    config = make_config(image_size=32, jitter=0, mirror=False)

    def levels(first_step=0, steps=21):
        pairs = pipeline.training_pairs(data, config, first_step).take(steps)
        return [round(float((monet.numpy().mean() + 1) * 127.5)) // 20 for _, monet in pairs]

    seen = levels()
    assert [sorted(seen[start:start + 7]) for start in (0, 7, 14)] == [numbers(data.monet)] * 3
    assert levels(9, 12) == seen[9:]


def test_without_a_hold_out_nothing_changes(tmp_path):
    data = find_data(write_sides(tmp_path, "tfrec"))
    assert split_data(data, make_config()) == data
    assert data.monet.apart == () and data.held_out is None
    assert "held out" not in data.describe()


def test_the_log_says_how_many_are_held_out(tmp_path):
    data = split_data(find_data(write_sides(tmp_path, "tfrec")), make_config(hold_out=0.1))
    assert "9 paintings to train on, 1 held out, and 5 photos in TFRecords below" in data.describe()
    mixed = dataclasses.replace(data, photo=dataclasses.replace(data.photo, kind="images"))
    assert "1 held out, in TFRecords and 5 photos in image files" in mixed.describe()
