"""monet.training.matching: a run with --match-colors paints in the colours of its paintings, and one with
--match-detail as finely."""

import numpy as np
import pytest
import tensorflow as tf

from monet.core.array_files import read_arrays
from monet.core.config import make_config
from monet.core.keras_compat import weight_names
from monet.networks.color_curves import CURVES, straight_curves
from monet.networks.detail_filter import (
    BAND_WIDTH,
    BANDS,
    DETAIL,
    FINE_FROM,
    MOST_GAIN,
    detail_kernel,
    no_filter,
    spectrum,
)
from monet.training.checkpoint import list_checkpoints
from monet.training.matching import Matching, bent_image, pixels_of
from monet.training.trainer import Trainer

FINE_BANDS = BAND_WIDTH * (np.arange(BANDS) + 0.5) > FINE_FROM


def painted_images(trainer):
    return [image for batch in trainer.engine.matching.photos for image in np.asarray(trainer.engine.paint(batch))]


def painted_pixels(trainer):
    return pixels_of(painted_images(trainer))


def distance(pixels, others):
    """The largest difference of their deciles."""
    shares = np.linspace(0.1, 0.9, 9)
    return np.abs(np.quantile(pixels, shares, axis=0) - np.quantile(others, shares, axis=0)).max()


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_paintings_have_the_colours_of_the_paintings(tiny, small_data, ema_decay):
    trainer = Trainer(tiny(match_colors=True, ema_decay=ema_decay), small_data, tf.distribute.get_strategy())
    trainer.fit()
    monet = trainer.engine.matching.monet
    matched = painted_pixels(trainer)
    exported = read_arrays(trainer.files.generator)
    saved = read_arrays(list_checkpoints(trainer.files.checkpoints)[0])
    assert not np.array_equal(exported[f"{CURVES}/values"], straight_curves()[1])
    assert f"photo_to_monet/{CURVES}/values" in saved
    trainer.engine.set_matching(trainer.engine.matching.without_effect())
    assert distance(matched, monet) < 0.02 < distance(painted_pixels(trainer), monet) / 3


def test_curves_are_found_anew_for_other_weights(tiny, small_data):
    trainer = Trainer(tiny(match_colors=True), small_data, tf.distribute.get_strategy())
    trainer.engine.update_painter()
    before = painted_pixels(trainer)
    for variable in weight_names(trainer.engine.system.networks["photo_to_monet"]).values():
        if variable.trainable:
            variable.assign(variable + 0.05)
    changed = painted_pixels(trainer)
    trainer.engine.painter_changed()
    trainer.engine.update_painter()
    monet = trainer.engine.matching.monet
    assert distance(painted_pixels(trainer), monet) < 0.04 < distance(changed, monet) / 3
    assert distance(before, monet) < 0.04


@pytest.mark.parametrize("match_colors", [False, True])
def test_paintings_have_the_fine_detail_of_the_paintings(tiny, small_data, match_colors):
    trainer = Trainer(tiny(match_colors=match_colors, match_detail=True), small_data, tf.distribute.get_strategy())
    engine = trainer.engine
    trainer.fit()

    def away():
        return (spectrum(painted_images(trainer)) - engine.matching.spectrum)[FINE_BANDS]

    matched = away()
    exported = read_arrays(trainer.files.generator)
    assert not np.array_equal(exported[f"{DETAIL}/kernel"], no_filter())
    engine.set_matching({DETAIL: [no_filter().numpy()]})
    possible = np.maximum(np.abs(away()) - 2 * np.log(MOST_GAIN), 0)
    assert np.abs(np.abs(matched) - possible).mean() < np.abs(away()).mean() / 3


def test_the_filter_is_found_for_what_the_curves_made(tiny, small_data):
    """A curve of slope 3 makes detail three times as strong."""
    matching = Matching(make_config(match_colors=True, match_detail=True), small_data)
    weights = matching.found(lambda photos: photos / 3)
    bent = [bent_image(np.asarray(photo) / 3, *weights[CURVES]) for batch in matching.photos for photo in batch]
    expected = detail_kernel(spectrum(bent[::2]), matching.spectrum)
    np.testing.assert_allclose(weights[DETAIL][0], expected, atol=1e-3)
    assert np.abs(expected - detail_kernel(spectrum([image / 3 for image in bent]), matching.spectrum)).max() > 0.01


def test_the_layers_are_matched_once_for_a_checkpoint_and_its_preview(tiny, small_data, monkeypatch):
    trainer = Trainer(tiny(match_colors=True, select_by="best"), small_data, tf.distribute.get_strategy())
    found, find = [], trainer.engine.matching.found
    monkeypatch.setattr(trainer.engine.matching, "found", lambda paint: found.append(1) or find(paint))
    for expected in (1, 2):
        trainer.advance()
        trainer.read_losses()
        trainer.save()
        trainer.preview()
        assert len(found) == expected
    trainer.restore()
    trainer.preview()
    assert len(found) == 3


def test_a_set_smaller_than_the_sample_is_taken_whole(small_data):
    assert sum(len(batch) for batch in Matching(make_config(), small_data).photos) == small_data.photo.count
