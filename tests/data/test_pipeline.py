"""The pipeline shows every image, in an order that depends on the seed and can be resumed at any step."""

import io
import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from monet.core.config import make_config
from monet.core.errors import UserError
from monet.data import pipeline
from monet.data.records import read_examples
from monet.data.validation import find_data
from monet.data.writing import write_records
from monet.submission.images_zip import photo_batches
from monet.training.inception_scores import sample_photos

PLAIN = {"image_size": 32, "jitter": 0, "mirror": False}


def jpeg(picture):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=100, subsampling=0)
    return buffer.getvalue()


def write_greys(root, num_monet, num_photo, size=32):
    """Images of a single grey that identifies them: monet k has the level 10 k, photo k 10 k + 5."""
    for side, count, first in (("monet", num_monet, 0), ("photo", num_photo, 5)):
        (root / f"{side}_tfrec").mkdir(parents=True)
        rows = [(f"{k}", jpeg(np.full((size, size, 3), first + 10 * k, np.uint8))) for k in range(count)]
        write_records(str(root / f"{side}_tfrec" / f"{side}00-{count}.tfrec"), rows, side)
    return find_data(str(root))


def levels(images):
    return [round(float((image.mean() + 1) * 127.5)) for image in np.asarray(images)]


def streams(data, config, steps, first_step=0):
    photos, monets = [], []
    for photo, monet in pipeline.training_pairs(data, config, first_step).take(steps):
        photos += levels(photo)
        monets += levels(monet)
    return photos, monets


def test_both_sets_repeat_so_every_photo_is_seen(tmp_path):
    data = write_greys(tmp_path, 3, 12)
    photos, monets = streams(data, make_config(**PLAIN, batch_size=2), 12)
    assert sorted(photos[:12]) == sorted(photos[12:]) == [10 * k + 5 for k in range(12)]
    for epoch in range(8):
        assert sorted(monets[3 * epoch:3 * epoch + 3]) == [0, 10, 20]
    assert photos[:12] != photos[12:], "a new order each time"


def test_the_seed_decides_the_order(tmp_path):
    data = write_greys(tmp_path, 5, 12)
    first = streams(data, make_config(**PLAIN), 12)
    assert first == streams(data, make_config(**PLAIN), 12)
    assert first != streams(data, make_config(**PLAIN, seed=1), 12)


@pytest.mark.parametrize("resumed_at", [1, 5, 17])
def test_resuming_at_a_step_gives_the_batches_of_an_uninterrupted_run(small_data, resumed_at):
    config = make_config(image_size=32, jitter=40, batch_size=2)
    uninterrupted = list(pipeline.training_pairs(small_data, config).take(resumed_at + 3))[resumed_at:]
    resumed = list(pipeline.training_pairs(small_data, config, resumed_at).take(3))
    for expected, found in zip(uninterrupted, resumed, strict=True):
        for side in (0, 1):
            np.testing.assert_array_equal(expected[side], found[side])


def test_a_large_set_is_not_kept_in_memory_and_still_seen_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "CACHE_BYTES", 0)
    data = write_greys(tmp_path, 3, 12)
    photos, _ = streams(data, make_config(**PLAIN), 24)
    assert sorted(photos[:12]) == sorted(photos[12:]) == [10 * k + 5 for k in range(12)]


def test_batches_have_the_shape_and_range_of_the_config(small_data):
    photo, monet = next(iter(pipeline.training_pairs(small_data, make_config(image_size=48, batch_size=3))))
    for images in (photo, monet):
        assert images.shape == (3, 48, 48, 3)
        assert images.dtype == tf.float32
        assert -1.0 <= images.numpy().min() < images.numpy().max() <= 1.0


def test_black_and_white_are_minus_one_and_one():
    np.testing.assert_array_equal(pipeline.pixels_to_float(np.array([0, 255], np.uint8)), [-1.0, 1.0])


def ramp(size=64):
    """Brightness rises by 2 per pixel from left to right and is constant from top to bottom."""
    return np.broadcast_to((2 * np.arange(size, dtype=np.uint8))[None, :, None], (size, size, 3))


def test_jitter_crops_a_larger_picture_and_mirrors_every_second():
    config = make_config(image_size=64, jitter=72)
    crops = [np.asarray(pipeline.jittered(tf.constant(ramp()), tf.constant([0, k]), config)) for k in range(60)]
    rising = [crop for crop in crops if crop[0, -1, 0] > crop[0, 0, 0]]
    assert 15 < len(rising) < 45
    offsets = set()
    for crop in rising:
        slope = (crop[32, 50, 0] - crop[32, 10, 0]) * 127.5 / 40
        assert slope == pytest.approx(2 * 64 / 72, rel=0.02), "the picture was enlarged from 64 to 72"
        left = ((crop[32, 10, 0] + 1) * 127.5 / 2 + 0.5) * 72 / 64 - 0.5 - 10
        offsets.add(round(float(left)))
    assert offsets <= set(range(9))
    assert len(offsets) >= 5


def test_mirror_off_never_mirrors():
    config = make_config(image_size=64, jitter=0, mirror=False)
    for k in range(10):
        np.testing.assert_array_equal(pipeline.jittered(tf.constant(ramp()), tf.constant([0, k]), config),
                                      pipeline.pixels_to_float(ramp()))


@pytest.mark.parametrize("shape", [(100, 300, 3), (16, 16, 3), (64, 64, 3)])
def test_images_of_any_size_are_resized(shape):
    resized = pipeline.resize(tf.fill(shape, tf.constant(100, tf.uint8)), 64)
    np.testing.assert_allclose(resized, np.full((64, 64, 3), 100.0), atol=1e-3)


def test_the_preview_takes_the_first_images_as_they_are(tmp_path):
    data = write_greys(tmp_path, 1, 4)
    assert levels(pipeline.first_images(data.photo, 3, 16)) == [5, 15, 25]


@pytest.mark.parametrize("kind", ["tfrec", "images"])
def test_photos_that_exif_data_turn_are_upright_in_training_preview_and_submission(tmp_path, kind):
    exif, upright = Image.Exif(), np.repeat(np.linspace(0, 255, 32).astype(np.uint8)[:, None], 32, 1)  # light below
    exif[0x0112] = 6
    sideways = io.BytesIO()
    Image.fromarray(np.rot90(upright)).convert("RGB").save(sideways, "JPEG", quality=100, subsampling=0, exif=exif)
    for side in ("monet", "photo"):
        (tmp_path / f"{side}_{'tfrec' if kind == 'tfrec' else 'jpg'}").mkdir()
        if kind == "tfrec":
            write_records(str(tmp_path / f"{side}_tfrec/{side}.tfrec"), [("a", sideways.getvalue())], side)
        else:
            (tmp_path / f"{side}_jpg" / "a.jpg").write_bytes(sideways.getvalue())
    data = find_data(str(tmp_path))
    assert (data.photo.kind, data.photo.turned, data.monet.turned) == (kind, 1, 1)
    assert "2 turned upright" in data.describe()
    trained = next(iter(pipeline.training_pairs(data, make_config(**PLAIN))))
    submitted = next(iter(photo_batches(data.photo, make_config(num_images=1))))[1]
    for images in (*trained, pipeline.first_images(data.photo, 1, 32), submitted):
        image = np.asarray(images)[0, ..., 0]
        assert (np.diff(image.mean(1)) > -0.01).all() and image[-1].mean() - image[0].mean() > 1.9


def test_the_usual_set_is_not_searched_for_exif_data_while_it_trains(small_data, monkeypatch):
    assert small_data.photo.turned == small_data.monet.turned == 0
    monkeypatch.setattr("monet.core.pixels.EXIF_START", "(invalid")  # any search fails
    assert len(list(pipeline.training_pairs(small_data, make_config(**PLAIN)).take(2))) == 2


def test_a_file_that_vanishes_before_training_is_named(tmp_path):
    data = write_greys(tmp_path, 1, 1)
    os.remove(data.photo.files[0])
    with pytest.raises(UserError, match=r"photo00-1\.tfrec"):
        pipeline.training_pairs(data, make_config(**PLAIN))


def test_no_stream_is_autotuned(small_data):
    """TensorFlow's autotuning thread sleeps for up to a minute, and ending the stream waits for it."""
    config = make_config()
    for stream in (pipeline.training_pairs(small_data, config), photo_batches(small_data.photo, config),
                   sample_photos(small_data.photo, 4, 0), read_examples(small_data.monet)):
        assert stream.options().autotune.enabled is False


def quarter_picture():
    """Black, but for the upper left quarter, whose left half is brighter: each turn and mirroring shows."""
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:16, :8], picture[:16, 8:16] = 250, 120
    return picture


def test_paintings_are_turned_and_mirrored_in_all_eight_ways_and_photos_stay_upright(tmp_path):
    for side in ("monet", "photo"):
        (tmp_path / f"{side}_tfrec").mkdir()
        write_records(str(tmp_path / f"{side}_tfrec" / f"{side}00-1.tfrec"), [("a", jpeg(quarter_picture()))], side)
    data = find_data(str(tmp_path))
    plain = pipeline.pixels_to_float(quarter_picture())
    ways = [np.rot90(view, turn) for view in (plain, plain[::-1]) for turn in range(4)]
    for turns in (True, False):
        batches = pipeline.training_pairs(data, make_config(**PLAIN, monet_turns=turns)).take(80)
        photos, monets = zip(*((photo[0].numpy(), monet[0].numpy()) for photo, monet in batches), strict=True)
        nearest = [int(np.argmin([np.abs(image - way).mean() for way in ways])) for image in monets]
        assert set(nearest) == (set(range(8)) if turns else {0})
        assert max(np.abs(image - ways[way]).mean() for image, way in zip(monets, nearest, strict=True)) < 0.1
        assert max(np.abs(image - plain).mean() for image in photos) < 0.1
