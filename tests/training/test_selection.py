"""`--select-by mifid`: the best-scoring generator is kept, survives, and is handed in; without weights, the last.

An Inception with random weights and a sixteenth of the channels gives the scores: nothing here depends on their values.
Training is slow to trace, so most tests read, or continue a copy of, one of two runs: `scored` and `unscored`.
"""

import csv
import dataclasses
import functools
import http.server
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from benchmark.inception_state import random_state, write_state_dict
from support.kaggle_stand_in import dead_port
from support.settings import NUM_MONET, NUM_PHOTO, TINY

from monet.cli import main
from monet.core.array_files import read_arrays, write_arrays
from monet.core.config import make_config
from monet.core.errors import LOG, UserError
from monet.core.keras_compat import weight_names
from monet.scoring.inception_weights import WEIGHTS_VARIABLE, PublishedFile, digest_of, find_weights
from monet.submission.images_zip import PAINT_BATCH
from monet.submission.jpegs import JpegEncoder
from monet.training import selection
from monet.training.arrays import value_of
from monet.training.best_generator import BEST_META, read_best, restore_best
from monet.training.inception_scores import painted_jpegs, sample_photos
from monet.training.run_files import RunFiles
from monet.training.selection import open_selection
from monet.training.state import system_variables
from monet.training.trainer import Trainer

# Three checkpoints, of steps 2, 4 and 6.
SELECT = {"select_by": "mifid", "gamma_mean": 1.0, "checkpoint_epochs": 1, "epochs": 3, "steps_per_epoch": 2,
          "ema_decay": 0.5}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "narrow.pth"
    write_state_dict(path, random_state(narrow=16))
    return str(path)


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch, weights):
    """A machine whose only Inception weights are these, given by the environment."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MONET_KAGGLE_INPUT", str(tmp_path / "input"))
    monkeypatch.setenv(WEIGHTS_VARIABLE, weights)


@pytest.fixture(scope="module")
def messages():
    """Log messages since the module began; tests of runs that fixtures made look here."""
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    before = LOG.level
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    yield records
    LOG.removeHandler(handler)
    LOG.setLevel(before)


def new_trainer(config, data, **options):
    return Trainer(config, data, tf.distribute.get_strategy(), **options)


def values_of(network):
    return {name: value_of(variable) for name, variable in weight_names(network).items()}


def assert_equal_arrays(arrays, expected):
    assert set(arrays) >= set(expected) and expected
    for name, value in expected.items():
        np.testing.assert_array_equal(arrays[name], value, err_msg=name)


def rows_of(files):
    with open(files.scores, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def mifids_of(files):
    return [(int(row["step"]), float(row["mifid"])) for row in rows_of(files)]


def kept(files):
    """The best generator's description and weights."""
    arrays = read_arrays(files.best)
    return json.loads(arrays.pop(BEST_META).tobytes()), arrays


def averages_of(trainer):
    """The moving averages of the generator's weights, by the weights' names."""
    prefix = "photo_to_monet/average/"
    return {name.removeprefix(prefix): value_of(variable)
            for name, variable in system_variables(trainer.engine.system).items() if name.startswith(prefix)}


def set_next_scores(trainer, monkeypatch, values):
    """Replaces the MiFID that the Inception gives by these, in turn; then scoring raises StopIteration."""
    scores = iter(values)
    measure = trainer.selection.score
    monkeypatch.setattr(trainer.selection, "score",
                        lambda paint, painter=None: measure(paint) | {"mifid": next(scores)})


class FinishedRun(NamedTuple):
    """A trained run and what was seen of it."""

    trainer: Trainer
    messages: list[str]
    scored: dict  # by step: the weights and moving averages of the generator that was scored

    @property
    def files(self):
        return self.trainer.files

    def copy_to(self, folder):
        """The files of a copy of the run."""
        shutil.copytree(self.files.out, folder)
        return RunFiles(str(folder))


def run_config(small_root, folder):
    return make_config(**{**TINY, **SELECT, "data": small_root, "out": str(folder)})


@pytest.fixture(scope="module")
def scored(tmp_path_factory, small_root, small_data, weights, messages):
    """A run whose second generator, of three, scores best."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(WEIGHTS_VARIABLE, weights)
        start = len(messages)
        trainer = new_trainer(run_config(small_root, tmp_path_factory.mktemp("scored")), small_data)
        set_next_scores(trainer, patch, [30.0, 10.0, 20.0])
        seen, consider = {}, trainer.selection.consider

        def watched(step, paint, painter):
            seen[step] = values_of(painter), averages_of(trainer)
            return consider(step, paint, painter)

        patch.setattr(trainer.selection, "consider", watched)
        trainer.fit()
    return FinishedRun(trainer, messages[start:], seen)


@pytest.fixture(scope="module")
def unscored(tmp_path_factory, small_root, small_data, scored, messages):
    """The same run on a machine without weights, in a folder that holds another run's best generator."""
    folder = tmp_path_factory.mktemp("unscored")
    meta = read_arrays(scored.files.best)[BEST_META]
    write_arrays(RunFiles(str(folder)).best, {BEST_META: meta, "another/network": np.zeros(3)}.items())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("MONET_KAGGLE_INPUT", str(folder / "input"))
        patch.delenv(WEIGHTS_VARIABLE, raising=False)
        start = len(messages)
        trainer = new_trainer(run_config(small_root, folder), small_data)
        trainer.fit()
    return FinishedRun(trainer, messages[start:], {})


def open_copy(run, files, small_data, step=6, **values):
    """The selection of a copied run, opened with other settings."""
    config = dataclasses.replace(run.trainer.config, out=files.out, **values)
    return open_selection(config, small_data, files, run.trainer.engine.strategy, step)


def test_each_checkpoint_is_scored_and_the_best_is_handed_in(scored):
    rows = rows_of(scored.files)
    assert mifids_of(scored.files) == [(2, 30.0), (4, 10.0), (6, 20.0)]
    assert all(float(row["fid"]) > 0 and 0 <= float(row["memorization_distance"]) <= 1 for row in rows)
    best, arrays = kept(scored.files)
    assert (best["step"], best["mifid"], best["photos"]) == (4, 10.0, NUM_PHOTO)
    assert set(scored.scored) == {2, 4, 6}
    for values, averages in scored.scored.values():
        assert_equal_arrays(values, averages)  # the moving average is scored
    best_values, last_values = scored.scored[4][0], scored.scored[6][0]
    assert_equal_arrays(read_arrays(scored.files.generator), best_values)
    assert_equal_arrays(arrays, best_values)
    assert_equal_arrays(values_of(scored.trainer.engine.painter), best_values)
    assert any(np.abs(last_values[name] - value).max() > 1e-7 for name, value in best_values.items())
    lines = [message for message in scored.messages if "scores MiFID" in message]
    assert len(lines) == 3 and "step 4's 10.00" in lines[-1]
    assert any("not comparable with Kaggle" in message for message in scored.messages)


def test_scoring_does_not_affect_training(scored, unscored):
    """The last weights are those of a run without scores, although an earlier generator is handed in."""
    ours, theirs = system_variables(scored.trainer.engine.system), system_variables(unscored.trainer.engine.system)
    for name in theirs:
        np.testing.assert_allclose(value_of(ours[name]), value_of(theirs[name]), atol=1e-5, err_msg=name)


def test_a_run_without_weights_warns_once_and_hands_in_the_last_generator(unscored):
    assert unscored.trainer.state.step == 6 and unscored.trainer.selection is None
    lines = [message for message in unscored.messages if "--select-by" in message]
    assert len(lines) == 1
    assert "nothing is scored" in lines[0] and "Download https://" in lines[0]
    assert_equal_arrays(read_arrays(unscored.files.generator), averages_of(unscored.trainer))


def test_weights_are_downloaded_in_a_kernel_with_internet_only(tiny, small_data, tmp_path, weights, monkeypatch):
    """From a server on loopback, which also stands for the internet."""
    (tmp_path / "out").mkdir()
    (tmp_path / "working").mkdir()
    monkeypatch.delenv(WEIGHTS_VARIABLE)
    handler = functools.partial(QuietHandler, directory=os.path.dirname(weights))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        published = PublishedFile(f"http://{address}/narrow.pth", os.path.getsize(weights), digest_of(weights))
        monkeypatch.setattr(selection, "find_weights", functools.partial(find_weights, published=published))

        def selection_opens() -> bool:
            return open_selection(tiny(**SELECT), small_data, RunFiles(str(tmp_path / "out")),
                                  tf.distribute.get_strategy(), 0) is not None

        monkeypatch.setenv("MONET_INTERNET_HOST", address)
        assert not selection_opens()  # this machine is not Kaggle's
        monkeypatch.setenv("MONET_KAGGLE_WORKING", str(tmp_path / "working"))
        monkeypatch.setenv("MONET_INTERNET_HOST", f"127.0.0.1:{dead_port()}")
        assert not selection_opens() and not (tmp_path / "cache").exists()
        monkeypatch.setenv("MONET_INTERNET_HOST", address)
        assert selection_opens() and not any((tmp_path / "working").iterdir())
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a log."""

    def log_message(self, *_):
        pass


def test_the_best_of_another_run_is_set_aside(unscored):
    """Whatever its networks were, and also by a session without weights."""
    assert any("of another run" in message for message in unscored.messages)
    assert not os.path.exists(unscored.files.best)
    assert os.path.exists(unscored.files.best.replace(".npz", "-aside.npz"))


def test_a_resumed_run_remembers_the_best_and_scores_what_was_saved_only(scored, tiny, small_data, tmp_path,
                                                                         monkeypatch):
    """The second session trains two epochs more and is killed while the last checkpoint is scored."""
    files = scored.copy_to(tmp_path / "out")
    config = tiny(**SELECT | {"epochs": 5}, out=files.out)
    second = new_trainer(config, small_data)
    assert (second.state.step, second.selection.best.step, second.selection.best.mifid) == (6, 4, 10.0)
    set_next_scores(second, monkeypatch, [15.0])
    with pytest.raises(StopIteration):
        second.fit()
    assert mifids_of(files) == [(2, 30.0), (4, 10.0), (6, 20.0), (8, 15.0)]
    assert kept(files)[0]["step"] == 4
    third = new_trainer(config, small_data)
    assert (third.state.step, third.selection.best.step) == (10, 4)
    set_next_scores(third, monkeypatch, [5.0])
    third.fit()
    assert mifids_of(files)[-2:] == [(8, 15.0), (10, 5.0)]
    best, arrays = kept(files)
    assert best["step"] == 10
    assert_equal_arrays(read_arrays(files.generator), arrays)


def test_a_session_without_weights_hands_in_what_an_earlier_one_kept(scored, tiny, small_data, tmp_path, monkeypatch):
    files = scored.copy_to(tmp_path / "out")
    monkeypatch.delenv(WEIGHTS_VARIABLE)
    trainer = new_trainer(tiny(**SELECT | {"epochs": 4}, out=files.out), small_data)
    trainer.fit()
    assert trainer.state.step == 8
    assert_equal_arrays(read_arrays(files.generator), kept(files)[1])
    assert kept(files)[0]["step"] == 4


def test_scores_of_steps_that_are_trained_again_are_dropped(scored, small_data, tmp_path):
    selection = open_copy(scored, scored.copy_to(tmp_path / "out"), small_data, step=4)
    assert [row["step"] for row in selection.rows] == ["2", "4"]
    assert selection.best.step == 4 and selection.has_score(4) and not selection.has_score(6)


def test_scores_by_other_weights_or_photos_do_not_count(scored, small_data, tmp_path, monkeypatch, caplog):
    assert open_copy(scored, scored.copy_to(tmp_path / "same"), small_data).best.step == 4
    files = scored.copy_to(tmp_path / "photos")
    assert open_copy(scored, files, small_data, select_photos=9).best is None
    assert "other weights or another number of photos" in caplog.text
    assert not os.path.exists(files.best) and os.path.exists(files.best.replace(".npz", "-aside.npz"))
    write_state_dict(tmp_path / "other.pth", random_state(seed=5, narrow=16))
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "other.pth"))
    assert open_copy(scored, scored.copy_to(tmp_path / "weights"), small_data).best is None


def test_a_damaged_best_is_set_aside(scored, small_data, tmp_path, caplog):
    files = scored.copy_to(tmp_path / "out")
    best = Path(files.best)
    best.write_bytes(best.read_bytes()[:-100])
    assert open_copy(scored, files, small_data).best is None
    assert "cannot be read" in caplog.text


def test_weights_of_another_network_are_refused_before_training(tiny, small_data, tmp_path, monkeypatch):
    write_state_dict(tmp_path / "other.pth", {"weight": np.zeros(3, np.float32)})
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "other.pth"))
    with pytest.raises(UserError, match="not the FID Inception's"):
        new_trainer(tiny(**SELECT), small_data)


def test_a_generator_whose_paintings_are_not_finite_has_no_score(scored, small_data, tmp_path, caplog):
    files = scored.copy_to(tmp_path / "out")
    selection = open_copy(scored, files, small_data)
    assert selection.consider(8, lambda images: images * np.nan, scored.trainer.engine.painter) == {}
    assert "Step 8 has no score" in caplog.text and "NaN" in caplog.text
    assert read_best(files.best).step == selection.best.step == 4


def test_the_clock_reserves_the_time_that_scoring_takes(tiny, small_data):
    """With a deadline, step 0 is scored too, so that the time is known before it matters."""
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
        return np.concatenate(list(sample_photos(small_data.photo, count, seed).as_numpy_iterator()))

    some, again, others, all_photos = pixels(9, 3), pixels(9, 3), pixels(9, 4), pixels(NUM_PHOTO, 0)
    np.testing.assert_array_equal(some, again)
    assert some.shape == (9, 256, 256, 3) and not np.array_equal(some, others)
    assert len({image.tobytes() for image in all_photos}) == NUM_PHOTO


def test_paintings_are_scored_as_they_are_handed_in(small_data):
    """Encoded with the run's quality, each photo once, in calls of one size."""
    encoder, shapes = JpegEncoder(make_config(jpeg_quality=30)), []

    def paint(images):
        shapes.append(tuple(images.shape))
        return -images

    photos = sample_photos(small_data.photo, 9, 0)
    jpegs = list(painted_jpegs(paint, photos, encoder))
    assert jpegs == [encoder.encode(-image) for batch in photos.as_numpy_iterator() for image in batch]
    assert shapes == [(PAINT_BATCH, 256, 256, 3)]


@pytest.mark.parametrize("values", [{"select_by": "fid"}, {"select_photos": 1}])
def test_invalid_settings_are_refused(values):
    with pytest.raises(UserError):
        make_config(**values)


def test_the_command_hands_in_the_best_and_so_does_generate(small_root, tmp_path):
    """From beginning to end, without any stand-in."""
    settings = {**TINY, **SELECT, "epochs": 2, "num_images": 20, "data": small_root, "out": str(tmp_path / "out")}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    assert main(["run", *words]) == 0
    files = RunFiles(str(tmp_path / "out"))
    scores = dict(mifids_of(files))
    best, arrays = kept(files)
    assert best["step"] == min(scores, key=scores.get)
    assert len(scores) == 2 and NUM_MONET > 1
    first = zipfile.ZipFile(files.zip).read("0001.jpg")
    assert main(["generate", "--out", files.out]) == 0
    assert zipfile.ZipFile(files.zip).read("0001.jpg") == first
    assert main(["generate", "--out", files.out, "--select-by", "last", "--weights", "best.npz"]) == 0
    assert zipfile.ZipFile(files.zip).read("0001.jpg") == first
    changed = {name: array / 2 for name, array in arrays.items()}
    write_arrays(files.best, {BEST_META: read_arrays(files.best)[BEST_META], **changed}.items())
    assert main(["generate", "--out", files.out]) == 0
    assert zipfile.ZipFile(files.zip).read("0001.jpg") != first


# In its own process, because a CPU can be divided only before its first use.
SEVERAL = """
import json, sys
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from monet.core.config import make_config
from monet.data.validation import find_data
from monet.training.state import system_variables
from monet.training.trainer import Trainer

config = make_config(**json.loads(sys.argv[1]))
trainer = Trainer(config, find_data(config.data), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
trainer.selection.prepare()
print(json.dumps(trainer.selection.score(lambda images: -images)))
trainer.fit()
"""


@pytest.mark.lengthy
def test_several_devices_score_as_one(scored, tiny, small_data, tmp_path):
    """The same paintings score the same, and a run on both devices keeps its best."""
    config = tiny(**SELECT | {"epochs": 1}, out=str(tmp_path / "several"))
    done = subprocess.run([sys.executable, "-c", SEVERAL, json.dumps(dataclasses.asdict(config))], capture_output=True,
                          text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    alone = open_copy(scored, scored.copy_to(tmp_path / "alone"), small_data)
    alone.prepare()
    assert json.loads(done.stdout) == pytest.approx(alone.score(lambda images: -images), rel=1e-4)
    files = RunFiles(config.out)
    assert [row["step"] for row in rows_of(files)] == ["2"]
    best, arrays = kept(files)
    assert best["step"] == 2
    assert_equal_arrays(read_arrays(files.generator), arrays)


def test_a_damaged_best_cannot_be_restored(scored, tmp_path):
    (tmp_path / "best.npz").write_bytes(b"no")
    with pytest.raises(UserError, match="best.npz.*--select-by"):
        restore_best(scored.trainer.engine.painter, str(tmp_path / "best.npz"))
