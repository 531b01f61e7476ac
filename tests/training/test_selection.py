"""`--select-by mifid`: the best generator by its score is kept, survives, and is handed in; without weights, the last.

The scores are by an Inception of random weights and a sixteenth of the channels: all that is not about its numbers.
"""

import csv
import dataclasses
import json
import logging
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from benchmark.inception_state import random_state, write_state_dict
from support.settings import NUM_MONET, NUM_PHOTO, TINY

from monet.cli import main
from monet.core.config import make_config
from monet.core.errors import UserError
from monet.core.keras_compat import weight_names
from monet.core.pixels import encode_jpeg
from monet.scoring.inception_weights import VARIABLE
from monet.training.arrays import read_arrays, value_of, write_arrays
from monet.training.run_files import RunFiles
from monet.training.selection import (
    BEST_META,
    SCORED_AT_ONCE,
    chosen_photos,
    open_selection,
    painted_jpegs,
    restore_best,
)
from monet.training.state import system_variables
from monet.training.trainer import Trainer

SELECT = {"select_by": "mifid", "gamma_mean": 1.0, "checkpoint_epochs": 1, "epochs": 3, "steps_per_epoch": 2}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "narrow.pth"
    write_state_dict(path, random_state(narrow=16))
    return str(path)


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch, weights):
    """A machine that has these weights only, by the environment."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MONET_KAGGLE_INPUT", str(tmp_path / "input"))
    monkeypatch.setenv(VARIABLE, weights)


def new_trainer(config, data, **options):
    return Trainer(config, data, tf.distribute.get_strategy(), **options)


def rows_of(files):
    with open(files.scores, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def kept(files):
    """The score of the best generator, and its weights."""
    arrays = read_arrays(files.best)
    return json.loads(arrays.pop(BEST_META).tobytes()), arrays


def averages_of(trainer):
    """The moving averages of the generator's weights, by the weights' names."""
    start = "photo_to_monet/average/"
    found = {name.removeprefix(start): value_of(variable)
             for name, variable in system_variables(trainer.engine.system).items() if name.startswith(start)}
    assert found
    return found


def scripted(trainer, monkeypatch, values):
    """Makes the selection's next scores these, in the place of those that its Inception gives."""
    scores = iter(values)
    measure = trainer.selection.score

    def score(paint):
        return measure(paint) | {"mifid": next(scores)}

    monkeypatch.setattr(trainer.selection, "score", score)


def test_each_checkpoint_is_scored_and_the_best_is_handed_in(tiny, small_data, monkeypatch, caplog):
    """Of three, the second is said to be the best."""
    caplog.set_level(logging.INFO, "monet")
    trainer = new_trainer(tiny(**SELECT, ema_decay=0.5), small_data)
    scripted(trainer, monkeypatch, [30.0, 10.0, 20.0])
    seen, consider = {}, trainer.selection.consider

    def watched(step, paint, painter):
        seen[step] = {name: value_of(variable) for name, variable in weight_names(painter).items()}
        for name, value in averages_of(trainer).items():  # what is scored is the moving average
            np.testing.assert_array_equal(seen[step][name], value)
        return consider(step, paint, painter)

    monkeypatch.setattr(trainer.selection, "consider", watched)
    trainer.fit()
    rows = rows_of(trainer.files)
    assert [(row["step"], float(row["mifid"])) for row in rows] == [("2", 30.0), ("4", 10.0), ("6", 20.0)]
    assert all(float(row["fid"]) > 0 and 0 <= float(row["memorization_distance"]) <= 1 for row in rows)
    best, arrays = kept(trainer.files)
    assert (best["step"], best["mifid"], best["photos"]) == (4, 10.0, NUM_PHOTO)
    handed_in = read_arrays(trainer.files.generator)
    assert set(seen) == {2, 4, 6}
    for name, value in seen[4].items():
        np.testing.assert_array_equal(handed_in[name], value)
        np.testing.assert_array_equal(arrays[name], value)
        np.testing.assert_array_equal(value_of(weight_names(trainer.engine.painter)[name]), value)
    assert any(np.abs(seen[6][name] - value).max() > 1e-7 for name, value in seen[4].items())
    said = [message for message in caplog.messages if "scores MiFID" in message]
    assert len(said) == 3 and "the best is step 4's 10.00" in said[-1]
    assert any("not comparable with Kaggle" in message for message in caplog.messages)


def test_training_is_not_touched_by_what_is_scored(tiny, small_data, tmp_path, monkeypatch):
    """The last weights are those of a run that scores nothing, though an earlier generator is handed in."""
    plain = new_trainer(tiny(**SELECT | {"select_by": "last"}, out=str(tmp_path / "plain")), small_data)
    plain.fit()
    scored = new_trainer(tiny(**SELECT, out=str(tmp_path / "scored")), small_data)
    scripted(scored, monkeypatch, [10.0, 20.0, 30.0])
    scored.fit()
    ours, theirs = system_variables(scored.engine.system), system_variables(plain.engine.system)
    for name in theirs:
        np.testing.assert_allclose(value_of(ours[name]), value_of(theirs[name]), atol=1e-5, err_msg=name)


def test_a_run_that_goes_on_remembers_the_best(tiny, small_data, monkeypatch):
    first = new_trainer(tiny(**SELECT), small_data)
    first.config = dataclasses.replace(first.config, epochs=4 // first.config.steps_per_epoch)
    scripted(first, monkeypatch, [10.0, 20.0])
    first.fit()
    again = new_trainer(tiny(**SELECT), small_data)
    assert (again.state.step, again.selection.best.step, again.selection.best.mifid) == (4, 2, 10.0)
    scripted(again, monkeypatch, [15.0])
    again.fit()
    assert [(row["step"], float(row["mifid"])) for row in rows_of(again.files)] == [
        ("2", 10.0), ("4", 20.0), ("6", 15.0)]
    best, arrays = kept(again.files)
    assert best["step"] == 2
    handed_in = read_arrays(again.files.generator)
    assert all(np.array_equal(handed_in[name], value) for name, value in arrays.items())


def test_scores_of_steps_that_are_made_again_are_dropped(tiny, small_data, monkeypatch):
    trainer = new_trainer(tiny(**SELECT), small_data)
    trainer.fit()
    selection = open_selection(trainer.config, small_data, trainer.files, trainer.engine.strategy, 4)
    assert [row["step"] for row in selection.rows] == ["2", "4"]


def test_scores_by_other_weights_or_photos_do_not_count(tiny, small_data, tmp_path, monkeypatch, caplog):
    trainer = new_trainer(tiny(**SELECT), small_data)
    trainer.fit()
    assert new_trainer(tiny(**SELECT), small_data).selection.best
    shutil.copytree(trainer.files.out, tmp_path / "copy")
    assert new_trainer(tiny(**SELECT, select_photos=9), small_data).selection.best is None
    assert "by other weights or another number of photos" in caplog.text
    assert not os.path.exists(trainer.files.best) and os.path.exists(trainer.files.best.replace(".npz", "-aside.npz"))
    write_state_dict(tmp_path / "other.pth", random_state(seed=5, narrow=16))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "other.pth"))
    assert new_trainer(tiny(**SELECT, out=str(tmp_path / "copy")), small_data).selection.best is None


def test_the_best_of_a_run_whose_checkpoints_were_removed_is_not_handed_in(tiny, small_data, caplog, monkeypatch):
    """Whatever its networks were; and not by a session without weights either."""
    first = new_trainer(tiny(**SELECT, generator_filters=3), small_data)
    first.fit()
    shutil.rmtree(first.files.checkpoints)
    os.remove(first.files.config)
    monkeypatch.delenv(VARIABLE)
    second = new_trainer(tiny(**SELECT), small_data)
    assert "it is of another run" in caplog.text
    second.fit()
    live = weight_names(second.engine.system.networks["photo_to_monet"])
    for name, array in read_arrays(second.files.generator).items():
        np.testing.assert_array_equal(array, value_of(live[name]))


def test_what_was_saved_and_not_scored_is_scored_when_the_run_goes_on(tiny, small_data, monkeypatch):
    """Killed while the last checkpoint was being scored: the next session does it."""
    first = new_trainer(tiny(**SELECT), small_data)
    scores = iter([20.0, 30.0])

    def killed_at_the_third(paint):
        return {"fid": 1.0, "memorization_distance": 1.0, "mifid": next(scores)}

    monkeypatch.setattr(first.selection, "score", killed_at_the_third)
    with pytest.raises(StopIteration):
        first.fit()
    again = new_trainer(tiny(**SELECT), small_data)
    assert (again.state.step, again.selection.best.step) == (6, 2)
    scripted(again, monkeypatch, [10.0])
    again.fit()
    assert [row["step"] for row in rows_of(again.files)] == ["2", "4", "6"]
    assert kept(again.files)[0]["step"] == 6


def test_a_session_without_weights_hands_in_what_the_one_before_kept(tiny, small_data, monkeypatch):
    first = new_trainer(tiny(**SELECT), small_data)
    scripted(first, monkeypatch, [10.0, 20.0, 30.0])
    first.fit()
    monkeypatch.delenv(VARIABLE)
    again = new_trainer(tiny(**SELECT | {"epochs": 4}), small_data)
    again.fit()
    arrays = kept(again.files)[1]
    assert all(np.array_equal(read_arrays(again.files.generator)[name], value) for name, value in arrays.items())


def test_a_damaged_best_is_looked_for_anew(tiny, small_data, caplog):
    trainer = new_trainer(tiny(**SELECT), small_data)
    trainer.fit()
    best = Path(trainer.files.best)
    best.write_bytes(best.read_bytes()[:-100])
    assert new_trainer(tiny(**SELECT), small_data).selection.best is None
    assert "cannot be read" in caplog.text


def test_without_weights_it_says_so_once_and_trains_on(tiny, small_data, monkeypatch, caplog):
    monkeypatch.delenv(VARIABLE)
    trainer = new_trainer(tiny(**SELECT), small_data)
    trainer.fit()
    assert trainer.state.step == 6 and trainer.selection is None
    said = [message for message in caplog.messages if "--select-by" in message]
    assert len(said) == 1
    assert "nothing is scored" in said[0] and "Download https://" in said[0]
    live = trainer.engine.system.networks["photo_to_monet"]
    handed_in = read_arrays(trainer.files.generator)
    for name, variable in weight_names(live).items():
        np.testing.assert_array_equal(handed_in[name], value_of(variable))


def test_weights_of_another_network_are_refused_before_training(tiny, small_data, tmp_path, monkeypatch):
    write_state_dict(tmp_path / "other.pth", {"weight": np.zeros(3, np.float32)})
    monkeypatch.setenv(VARIABLE, str(tmp_path / "other.pth"))
    with pytest.raises(UserError, match="not the FID Inception's"):
        new_trainer(tiny(**SELECT), small_data)


def test_a_generator_that_paints_nothing_finite_has_no_score(tiny, small_data, caplog):
    trainer = new_trainer(tiny(**SELECT), small_data)
    assert trainer.selection.consider(2, lambda images: images * np.nan, trainer.engine.painter) == {}
    assert "Step 2 has no score. The generator paints NaN" in caplog.text
    assert trainer.selection.best is None


def test_the_clock_keeps_the_time_that_scoring_takes(tiny, small_data, monkeypatch):
    """With a deadline the beginning is scored, too, so that the time is known before it is needed."""
    trainer = new_trainer(tiny(**SELECT | {"epochs": 1000}, max_minutes=1.0), small_data,
                          deadline=time.monotonic() + 60)
    before = trainer.clock.reserve()
    trainer.save()
    assert [row["step"] for row in rows_of(trainer.files)] == ["0"]
    seconds = trainer.clock.seconds["score"]
    assert seconds > 0
    assert trainer.clock.reserve() == pytest.approx(before + 2 * (seconds + trainer.clock.seconds["save"]))


def test_the_same_photos_are_painted_each_time(small_data):
    def pixels(count, seed):
        return np.concatenate(list(chosen_photos(small_data.photo, count, seed).as_numpy_iterator()))

    some, again, others, every = pixels(9, 3), pixels(9, 3), pixels(9, 4), pixels(NUM_PHOTO, 0)
    np.testing.assert_array_equal(some, again)
    assert some.shape == (9, 256, 256, 3) and not np.array_equal(some, others)
    assert len({image.tobytes() for image in every}) == NUM_PHOTO


def test_pictures_are_scored_as_they_are_handed_in(small_data):
    """Encoded with the run's quality, each photo once, in calls of one size."""
    config, shapes = make_config(jpeg_quality=30), []

    def paint(images):
        shapes.append(tuple(images.shape))
        return -images

    photos = chosen_photos(small_data.photo, 9, 0)
    found = list(painted_jpegs(paint, photos, config))
    assert found == [encode_jpeg(-image, config) for batch in photos.as_numpy_iterator() for image in batch]
    assert shapes == [(SCORED_AT_ONCE, 256, 256, 3)]


def test_only_known_ways_to_select(tmp_path):
    for values in ({"select_by": "fid"}, {"select_photos": 1}):
        with pytest.raises(UserError):
            make_config(**values)


def test_the_command_hands_in_the_best_and_generate_does_so_again(small_root, tmp_path):
    """Beginning to end, with nothing in anything's place."""
    settings = {**TINY, **SELECT, "epochs": 2, "num_images": 20, "data": small_root, "out": str(tmp_path / "out")}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    assert main(["run", *words]) == 0
    files = RunFiles(str(tmp_path / "out"))
    scores = {int(row["step"]): float(row["mifid"]) for row in rows_of(files)}
    best, arrays = kept(files)
    assert best["step"] == min(scores, key=scores.get)
    assert len(scores) == 2 and NUM_MONET > 1
    first = zipfile.ZipFile(files.zip).read("0001.jpg")
    assert main(["generate", "--out", files.out]) == 0
    assert zipfile.ZipFile(files.zip).read("0001.jpg") == first
    changed = {name: array / 2 for name, array in arrays.items()}
    write_arrays(files.best, {BEST_META: read_arrays(files.best)[BEST_META], **changed}.items())
    assert main(["generate", "--out", files.out]) == 0
    assert zipfile.ZipFile(files.zip).read("0001.jpg") != first


# In a process of its own, because a CPU is split into logical devices before anything else is done with it.
SEVERAL = """
import json, sys
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from monet.core.config import make_config
from monet.data.validation import find_data
from monet.training.trainer import Trainer

config = make_config(**json.loads(sys.argv[1]))
trainer = Trainer(config, find_data(config.data), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
trainer.selection.prepare()
print(json.dumps(trainer.selection.score(lambda images: -images)))
trainer.fit()
"""


@pytest.mark.lengthy
def test_several_devices_score_as_one(tiny, small_data, tmp_path):
    """The same pictures to the same score; and a run on both devices keeps its best."""
    config = tiny(**SELECT | {"epochs": 1}, out=str(tmp_path / "several"))
    done = subprocess.run([sys.executable, "-c", SEVERAL, json.dumps(dataclasses.asdict(config))], capture_output=True,
                          text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    alone = new_trainer(tiny(**SELECT), small_data).selection
    alone.prepare()
    assert json.loads(done.stdout) == pytest.approx(alone.score(lambda images: -images), rel=1e-4)
    files = RunFiles(config.out)
    assert [row["step"] for row in rows_of(files)] == ["2"]
    handed_in, (best, arrays) = read_arrays(files.generator), kept(files)
    assert best["step"] == 2 and all(np.array_equal(handed_in[name], value) for name, value in arrays.items())


def test_a_kept_generator_that_is_none_is_refused(tiny, small_data, tmp_path):
    trainer = new_trainer(tiny(), small_data)
    (tmp_path / "best.npz").write_bytes(b"no")
    with pytest.raises(UserError, match="holds no generator that --select-by kept"):
        restore_best(trainer.engine.painter, str(tmp_path / "best.npz"))
