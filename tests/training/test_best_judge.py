"""`--select-by best`: what is measured of a checkpoint, what it is compared with, and what is kept and handed in.

The rule itself is tested in test_choice.py. The Inception, where there is one, has random weights.
"""

import csv
import dataclasses
import shutil

import numpy as np
import pytest
import tensorflow as tf
from benchmark.inception_state import random_state, write_state_dict
from support.settings import TINY

from monet.core.array_files import read_arrays
from monet.core.config import make_config
from monet.core.errors import LOG
from monet.core.keras_compat import weight_names
from monet.data.hold_out import split_data, whole_monet
from monet.networks.build import build_generator
from monet.networks.color_curves import CURVES, quantile_curves
from monet.scoring.colour import colour_left, colour_profile
from monet.scoring.inception_weights import WEIGHTS_VARIABLE, find_weights
from monet.scoring.mifid import frechet_distance, kernel_distance, memorization_distance
from monet.training import best_judge
from monet.training.arrays import value_of
from monet.training.best_generator import BEST_META, read_best
from monet.training.best_judge import BestJudge, first_images_of, open_best
from monet.training.history import read_rows
from monet.training.inception_scores import InceptionScores, sample_photos
from monet.training.matching import pixels_of
from monet.training.run_files import RunFiles
from monet.training.selection import Selection, open_selection
from monet.training.smoke import weights_found
from monet.training.trainer import Trainer

# Three checkpoints, of steps 2, 4 and 6. Two of ten paintings are held out.
SELECT = {"select_by": "best", "gamma_mean": 1.0, "checkpoint_epochs": 1, "epochs": 3, "steps_per_epoch": 2,
          "hold_out": 0.2}


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine without weights, where two paintings are enough."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MONET_KAGGLE_INPUT", str(tmp_path / "input"))
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    monkeypatch.setattr(best_judge, "FEWEST_HELD_OUT", 2)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "narrow.pth"
    write_state_dict(path, random_state(narrow=16))
    return str(path)


@pytest.fixture
def use_weights(weights, monkeypatch):
    """From now on, the machine has weights and is fast enough for them."""
    def use():
        monkeypatch.setenv(WEIGHTS_VARIABLE, weights)
        monkeypatch.setattr(best_judge, "FEWEST_THREADS", 1)

    return use


def trainer_of(config, data):
    return Trainer(config, data, tf.distribute.get_strategy())


def set_next_colours(trainer, monkeypatch, values):
    """Replaces the measured colours by these, in turn."""
    colours, measure = iter(values), trainer.selection.score
    monkeypatch.setattr(trainer.selection, "score",
                        lambda paint, painter=None: measure(paint) | {"colour_left": next(colours)})


@pytest.fixture(scope="module")
def finished_folder(small_root, small_data, tmp_path_factory):
    """A run whose second checkpoint, of three, has the best colours."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("best")
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("MONET_KAGGLE_INPUT", str(folder / "input"))
        patch.delenv(WEIGHTS_VARIABLE, raising=False)
        patch.setattr(best_judge, "FEWEST_HELD_OUT", 2)
        config = make_config(**{**TINY, **SELECT, "data": small_root, "out": str(folder / "out")})
        trainer = trainer_of(config, small_data)
        set_next_colours(trainer, patch, [0.5, 0.4, 1.9])
        with CaughtLog() as caught:
            trainer.fit()
        return trainer, caught.lines


class CaughtLog:
    """The log's lines in a block."""

    def __enter__(self):
        self.lines, self.before = [], LOG.level
        LOG.setLevel("INFO")
        LOG.addFilter(self)
        return self

    def filter(self, record):
        self.lines.append(record.getMessage())
        return True

    def __exit__(self, *_):
        LOG.removeFilter(self)
        LOG.setLevel(self.before)


@pytest.fixture
def finished(finished_folder, tmp_path):
    """A copy of that run: its files and its config."""
    trainer, _ = finished_folder
    shutil.copytree(trainer.files.out, tmp_path / "out")
    return RunFiles(str(tmp_path / "out")), dataclasses.replace(trainer.asked, out=str(tmp_path / "out"))


def rows_of(files):
    with open(files.scores, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_best_by_colours_is_kept_and_handed_in_with_its_reasons(finished_folder):
    trainer, lines = finished_folder
    rows = rows_of(trainer.files)
    assert [(row["step"], row["chosen"]) for row in rows] == [("2", "1"), ("4", "1"), ("6", "0")]
    assert [row["colour_left"] for row in rows] == ["0.50000", "0.40000", "1.90000"]
    assert {"seconds", "photos", "r_t", "r_v"} <= set(rows[0])
    assert all(float(row["monet_discriminator"]) > 0 for row in rows)
    best, handed_in = read_best(trainer.files.best), read_arrays(trainer.files.generator)
    assert best.step == 4 and best.why == rows[1]["why"] and "come apart" in rows[2]["why"]
    arrays = read_arrays(trainer.files.best)
    arrays.pop(BEST_META)
    for name, variable in weight_names(trainer.engine.painter).items():
        np.testing.assert_array_equal(value_of(variable), arrays[name])
        np.testing.assert_array_equal(handed_in[name], arrays[name])
    assert [sum(line.startswith(f"Step {step}: colours") for line in lines) for step in (2, 4, 6)] == [1, 1, 1]
    [painting] = [line for line in lines if line.startswith("Painting with step")]
    assert "step 4, because" in painting and any("Step 6 is not handed in" in line for line in lines)
    assert "2 paintings held out" in next(line for line in lines if line.startswith("Step 2"))


def test_with_matched_colours_it_counts_how_far_they_had_to_be_moved(tiny, small_data, tmp_path):
    config = tiny(**SELECT, match_colors=True)
    judge = BestJudge(config, small_data, RunFiles(str(tmp_path)), None)
    painter = build_generator(config, "photo_to_monet")
    judge.prepare()
    photos = [image for batch in judge.photos for image in batch.numpy()]
    for factor, expected in ((1.0, 1.0), (0.0, None)):
        colors = pixels_of([factor * image for image in photos])
        painter.get_layer(CURVES).set_weights(quantile_curves(colors, pixels_of(first_images_of(small_data.monet))))
        found = judge.score(None, painter)["colour_left"]  # nothing is painted
        assert found == pytest.approx(expected, rel=1e-3) if expected else found > 1.2


def test_a_resumed_run_goes_on_with_what_was_measured(finished, small_data, monkeypatch):
    files, config = finished
    trainer = trainer_of(dataclasses.replace(config, epochs=5), small_data)
    assert (trainer.state.step, trainer.selection.best.step) == (6, 4)
    set_next_colours(trainer, monkeypatch, [0.6, 0.3])
    trainer.fit()
    # The last is better than all before it, but not twice in a row.
    assert [(row["step"], row["chosen"]) for row in rows_of(files)] == [
        ("2", "1"), ("4", "1"), ("6", "0"), ("8", "0"), ("10", "0")]
    assert read_best(files.best).step == 4 and read_best(files.best).since == 2


def test_colours_are_compared_with_the_held_out_paintings(tiny, small_data, tmp_path):
    data = split_data(small_data, tiny(**SELECT))
    files = RunFiles(str(tmp_path))
    photos = [image for batch in sample_photos(data.photo, 16, 0) for image in batch.numpy()]
    for split, compared in ((data, data.held_out), (small_data, small_data.monet)):
        judge = BestJudge(tiny(**SELECT), split, files, None)
        judge.prepare()
        expected = colour_left(*map(colour_profile, ([image / 2 for image in photos], photos,
                                                     first_images_of(compared))))
        assert judge.score(lambda images: images / 2) == {"colour_left": pytest.approx(expected)}
        assert judge.score(lambda images: images) == {"colour_left": 1.0}
        assert str(compared.count) in judge.compared


def test_too_few_held_out_paintings_stand_for_nothing(tiny, small_data, tmp_path, monkeypatch):
    monkeypatch.setattr(best_judge, "FEWEST_HELD_OUT", 3)
    data = split_data(small_data, tiny(**SELECT))
    assert BestJudge(tiny(**SELECT), data, RunFiles(str(tmp_path)), None).paintings == data.monet


def test_signals_are_those_since_the_checkpoint_before(tiny, small_data, tmp_path):
    files = RunFiles(str(tmp_path))
    judge = BestJudge(tiny(**SELECT), small_data, files, None)
    assert np.isnan(list(judge.signals(0, 100).values())).all()  # there is no history
    with open(files.history, "w", encoding="utf-8") as file:
        file.write("step,epoch,r_t,r_v\n5,1,0.1,0.9\n" + "".join(f"{step},1,0,0\n" for step in range(10, 30, 5)))
        file.write("30,1,0.1,\n50,1,0.2,\n60,1,0.2,\n70,1,0.4,0.5\n75,1,0.4,\n80,1,0.6,\n90,1,0.6,\n")
        file.write("100,1,0.9,0.7\n125,1,0,0\n")
    signals = judge.signals(25, 100)
    assert np.isnan(signals.pop("monet_discriminator"))  # not in this history
    assert signals == {"r_t": pytest.approx(0.4), "r_v": pytest.approx(0.6)}
    assert judge.signals(90, 100)["r_t"] == pytest.approx(0.4)  # of the last 8 readings: one says little
    row = {"step": "100", "photos": "16", "colour_left": "0.4"}
    before = [{"step": "25", "photos": "16", "colour_left": "0.4", "weights": ""}]
    decision = judge.decide(row, before, None)
    assert decision.best.since == 100  # nothing is kept any more: the search starts anew
    kept = dataclasses.replace(decision.best, step=25, since=25)
    decision = judge.decide(row, before, kept)
    assert decision.best is None and "by heart" in decision.columns["why"]
    assert (decision.columns["r_t"], decision.columns["r_v"]) == ("0.40000", "0.60000")


@pytest.mark.parametrize("with_inception", [False, True])
def test_step_0_is_measured_only_if_that_may_take_long(tiny, small_data, use_weights, with_inception):
    if with_inception:
        use_weights()
    trainer = Trainer(tiny(**SELECT, max_minutes=100.0), small_data, tf.distribute.get_strategy(), deadline=1e9)
    trainer.save()
    assert [row["step"] for row in trainer.selection.rows] == ["0"] * with_inception
    trainer.advance()
    trainer.read_losses()
    trainer.save()
    assert trainer.selection.rows[-1]["step"] == "1"


def test_step_0_is_measured_and_never_chosen(tiny, small_data, tmp_path):
    judge = BestJudge(tiny(**SELECT), small_data, RunFiles(str(tmp_path)), None)
    first = judge.decide({"step": "0", "photos": "16", "colour_left": "0.1"}, [], None)
    assert first.best is None
    row = {"step": "0", "photos": "16", "colour_left": "0.1", **first.columns}
    assert judge.decide({"step": "2", "photos": "16", "colour_left": "0.9"}, [row], None).best.step == 2


def test_the_inception_measures_held_out_paintings_if_its_weights_are_there(tiny, small_data, tmp_path, use_weights):
    """KID to the held-out ones; without any, MiFID; memorization is always of what was trained on."""
    use_weights()
    strategy = tf.distribute.get_strategy()
    for hold_out, names in ((0.2, {"colour_left", "kid", "memorization_distance"}),
                            (0.0, {"colour_left", "fid", "mifid", "memorization_distance"})):
        config = tiny(**SELECT | {"hold_out": hold_out})
        selection = open_best(config, split_data(small_data, config), RunFiles(str(tmp_path)), strategy, 0)
        selection.prepare()
        scores = selection.score(lambda images: -images)
        assert set(scores) == names
        inception = selection.judge.inception
        features = inception.painted_features(lambda images: -images)
        assert scores["memorization_distance"] == pytest.approx(memorization_distance(features, inception.trained))
        if hold_out:
            assert scores["kid"] == pytest.approx(kernel_distance(features, inception.held_out)[0])
        row = {"step": "2", "photos": str(selection.judge.count), **{name: str(scores[name]) for name in scores}}
        assert "distance" in selection.judge.decide(row, [], None).columns["why"]


def test_mifid_compares_with_all_paintings_and_memorization_with_those_trained_on(tiny, small_data, weights,
                                                                                  monkeypatch):
    monkeypatch.setenv(WEIGHTS_VARIABLE, weights)
    config, strategy = tiny(**SELECT), tf.distribute.get_strategy()
    inception = InceptionScores(config, split_data(small_data, config), strategy, find_weights())
    inception.prepare()
    assert (len(inception.trained), len(inception.held_out)) == (8, 2)
    features, paintings = inception.painted_features(tf.identity), inception.paintings_features(whole_monet(small_data))
    scores = inception.mifid(tf.identity)
    assert scores["fid"] == pytest.approx(frechet_distance(features, paintings), rel=1e-4)
    assert scores["memorization_distance"] == pytest.approx(memorization_distance(features, inception.trained))
    assert "10 paintings" in inception.describe() and "2 of them" in inception.describe()


def test_an_inception_that_would_take_too_long_is_not_used(tiny, small_data, tmp_path, weights, monkeypatch, caplog):
    caplog.set_level("INFO", LOG.name)
    monkeypatch.setenv(WEIGHTS_VARIABLE, weights)
    monkeypatch.setattr(best_judge, "FEWEST_THREADS", 1000)
    selection = open_best(tiny(**SELECT), small_data, RunFiles(str(tmp_path)), tf.distribute.get_strategy(), 0)
    assert selection.judge.inception is None and "colours" in caplog.text


def test_sessions_with_and_without_weights_are_compared_by_colours(finished, small_data, use_weights):
    files, config = finished
    use_weights()
    selection = open_best(config, split_data(small_data, config), files, tf.distribute.get_strategy(), 6)
    assert selection.best.step == 4
    row = {"step": "8", "photos": str(selection.judge.count), "colour_left": "0.35", "kid": "9.0",
           "memorization_distance": "0.3"}
    decision = selection.judge.decide(row, selection.rows[:2], selection.best)
    assert decision.best.step == 8 and "colours left" in decision.columns["why"]


def test_a_best_by_the_other_rule_is_set_aside(finished, small_data, use_weights):
    files, config = finished
    use_weights()
    strategy, data = tf.distribute.get_strategy(), split_data(small_data, config)
    by_mifid = open_selection(dataclasses.replace(config, select_by="mifid"), data, files, strategy, 6)
    assert by_mifid.best is None and len(by_mifid.rows) == 3
    scores = by_mifid.consider(8, lambda images: -images, build_generator(config, "photo_to_monet"))
    rows = rows_of(files)
    assert [row["step"] for row in rows] == ["2", "4", "6", "8"] and rows[1]["colour_left"] == "0.40000"
    assert float(rows[3]["mifid"]) == pytest.approx(scores["mifid"], abs=1e-4) and rows[3]["why"] == ""
    assert read_rows(files.scores)[1]  # no row counts as damaged
    again = open_best(config, data, files, strategy, 8)
    assert again.best is None and isinstance(again, Selection)


def test_a_smoke_run_says_whether_the_inception_is_used(tiny, small_data):
    assert "colours" in weights_found(trainer_of(tiny(**SELECT), small_data))
