"""monet.training.colors: a run with --match-colors paints in the colours of its paintings."""

import numpy as np
import pytest
import tensorflow as tf

from monet.core.array_files import read_arrays
from monet.core.keras_compat import weight_names
from monet.networks.color_curves import CURVES, straight_curves
from monet.training.checkpoint import list_checkpoints
from monet.training.colors import ColorMatch, pixels_of
from monet.training.trainer import Trainer


def painted_pixels(trainer):
    return pixels_of([image for batch in trainer.engine.color_match.photos
                      for image in np.asarray(trainer.engine.paint(batch))])


def distance(pixels, others):
    """The largest difference of their deciles."""
    shares = np.linspace(0.1, 0.9, 9)
    return np.abs(np.quantile(pixels, shares, axis=0) - np.quantile(others, shares, axis=0)).max()


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_paintings_have_the_colours_of_the_paintings(tiny, small_data, ema_decay):
    trainer = Trainer(tiny(match_colors=True, ema_decay=ema_decay), small_data, tf.distribute.get_strategy())
    trainer.fit()
    monet = trainer.engine.color_match.monet
    matched = painted_pixels(trainer)
    exported = read_arrays(trainer.files.generator)
    saved = read_arrays(list_checkpoints(trainer.files.checkpoints)[0])
    assert not np.array_equal(exported[f"{CURVES}/values"], straight_curves()[1])
    assert f"photo_to_monet/{CURVES}/values" in saved
    trainer.engine.set_curves(*straight_curves())
    assert distance(matched, monet) < 0.02 < distance(painted_pixels(trainer), monet) / 3


def test_curves_are_found_anew_for_other_weights(tiny, small_data):
    trainer = Trainer(tiny(match_colors=True), small_data, tf.distribute.get_strategy())
    trainer.engine.update_painter()
    before = painted_pixels(trainer)
    for variable in weight_names(trainer.engine.system.networks["photo_to_monet"]).values():
        if variable.trainable:
            variable.assign(variable + 0.05)
    changed = painted_pixels(trainer)
    trainer.engine.update_painter()
    monet = trainer.engine.color_match.monet
    assert distance(painted_pixels(trainer), monet) < 0.04 < distance(changed, monet) / 3
    assert distance(before, monet) < 0.04


def test_a_set_smaller_than_the_sample_is_taken_whole(small_data):
    assert sum(len(batch) for batch in ColorMatch(small_data, 0).photos) == small_data.photo.count
