"""The signals of overfitting: their formulas, when they are read, where they go, and that training ignores them."""

import csv

import numpy as np
import pytest
import tensorflow as tf

from monet.core.config import make_config
from monet.data.hold_out import split_data
from monet.training import engine, readings
from monet.training.history import History
from monet.training.overfitting import OVERFITTING, judging, sample_of, signals_in_words, signals_of
from monet.training.readings import Readings
from monet.training.run_files import open_run
from monet.training.trainer import Trainer

PLAIN = {"image_size": 32, "jitter": 40}


def rows_of(files):
    with open(files.history, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("held_out", "r_v"), [(2.0, 0.0), (-1.0, 1.0), (0.5, 0.5), (3.5, -0.5)])
def test_r_v_is_where_held_out_paintings_are_between_known_ones_and_fakes(held_out, r_v):
    assert signals_of([[-1.0, -0.9], [2.0, 0.75], [held_out, 0.1]]) == {
        "d_trained": 2.0, "d_held_out": held_out, "d_fake": -1.0, "r_t": 0.75, "r_v": r_v}


def test_what_has_no_value_is_none():
    assert signals_of([[-1.0, -0.9], [2.0, 0.75]]) == {
        "d_trained": 2.0, "d_held_out": None, "d_fake": -1.0, "r_t": 0.75, "r_v": None}
    assert signals_of([[1.0, 0.0], [1.0, 0.5], [0.5, 0.0]])["r_v"] is None  # paintings and fakes are judged alike


def test_the_signals_in_words():
    assert signals_in_words(signals_of([[0, 0], [2, 0.416], [1.8, 0]])) == "r_t 0.42 r_v 0.10"
    assert signals_in_words(signals_of([[0, 0], [2, 0.416]])) == "r_t 0.42"
    assert signals_in_words({}) == ""


class Judge:
    """A discriminator whose outputs are the pixels of the first channel, and, as a second head, of the second one."""

    name = "monet_discriminator"

    def __init__(self, heads):
        self.heads = heads

    def __call__(self, images, training):
        assert not training
        logits = [images[..., head:head + 1] for head in range(self.heads)]
        return logits if self.heads > 1 else logits[0]


class System:
    """The judge, and a generator that adds 1."""

    def __init__(self, heads=1):
        self.networks = {"photo_to_monet": lambda inputs, training: inputs[0] + 1.0,
                         "monet_discriminator": Judge(heads)}


def judged(config, system, *pictures):
    return judging(system, config)(*(tf.constant(picture, tf.float32) for picture in pictures)).numpy()


@pytest.mark.parametrize(("settings", "sign"), [
    ({"adversarial_loss": "bce"}, (3 - 1) / 4), ({"adversarial_loss": "hinge"}, (3 - 1) / 4),
    ({"adversarial_loss": "lsgan"}, (1 - 3) / 4), ({"discriminator_loss": "lsgan"}, (1 - 3) / 4),
    ({"adversarial_loss": "lsgan", "discriminator_loss": "bce"}, (3 - 1) / 4)])
def test_outputs_are_averaged_and_compared_with_the_boundary_of_the_loss(settings, sign):
    """Two pictures of two patches, with outputs on either side of the boundary: 0, or 0.5 for least squares."""
    paintings = np.zeros([2, 1, 2, 3])
    paintings[..., 0] = [[[0.25, 0.75]], [[0.25, -0.25]]]
    photos = np.full([1, 1, 1, 3], -3.0)
    found = judged(make_config(**settings), System(), photos, paintings, paintings + 1)
    np.testing.assert_allclose(found, [[-2.0, -1.0], [0.25, sign], [1.25, 1.0]], atol=1e-6)


def test_heads_count_alike():
    paintings = np.zeros([1, 1, 1, 3])
    paintings[..., :2] = [0.5, -0.25]
    found = judged(make_config(discriminator="two_objective"), System(heads=2), paintings, paintings)
    np.testing.assert_allclose(found, [[1.125, 1.0], [0.125, 0.0]], atol=1e-6)


def test_the_samples_are_fixed_and_from_their_own_sets(small_data):
    config = make_config(hold_out=0.2, **PLAIN)
    data = split_data(small_data, config)
    photos, trained, held_out = sample_of(data, config)
    assert (photos.shape, trained.shape, held_out.shape) == ((16, 32, 32, 3), (8, 32, 32, 3), (2, 32, 32, 3))
    for first, again in zip((photos, trained, held_out), sample_of(data, config), strict=True):
        np.testing.assert_array_equal(first, again)
    assert np.abs(photos - sample_of(data, make_config(hold_out=0.2, seed=1, **PLAIN))[0]).max() > 0.1
    assert len(sample_of(small_data, make_config(**PLAIN))) == 2


def readings_with(signals):
    """Readings of one loss in a run of 260 steps, whose r_t is the next of `signals`."""
    config = make_config(steps_per_epoch=10, epochs=26)
    return Readings(config, ("loss",), 0, lambda: 0.0, lambda: signals_of([[0, 0], [1, next(signals)]]))


def test_signals_are_read_first_every_100_steps_and_at_the_end():
    found, read = readings_with(iter([0.1, 0.2, 0.3, 0.4])), {}
    for step in range(1, 261):
        found.add(1, [1.0])
        if found.is_due(step) or step == 260:
            read[step] = found.read(step)[0].get("r_t")
    assert read == {25: 0.1, 50: None, 75: None, 100: 0.2, 125: None, 150: None, 175: None, 200: 0.3, 225: None,
                    250: None, 260: 0.4}
    assert found.text.endswith("loss 1.000 r_t 0.40")


def test_a_run_that_goes_back_reads_them_again():
    found, read = readings_with(iter([0.1, 0.2, 0.3])), []
    for step in (25, 100, 80, 100):
        found.restart(step - 1)
        found.add(1, [1.0])
        read.append(found.read(step)[0].get("r_t"))
    assert read == [0.1, 0.2, None, 0.3]


def test_the_first_signals_do_not_count_as_time_of_steps():
    """The first take 60 s, as they compile, the others 2 s; a step takes 1 s."""
    time, costs = [0.0], iter([60.0, 2.0])

    def overfitting():
        time[0] += next(costs)
        return signals_of([[0, 0], [1, 0.5]])

    found = Readings(make_config(epochs=10), ("loss",), 0, lambda: time[0], overfitting)
    for step, seconds in ((1, 1.0), (100, 1.0), (101, 3.0)):
        found.add(1, [1.0])
        time[0] += 1
        assert found.read(step)[1] == seconds


def test_no_signals_where_nobody_asks_for_them():
    found = Readings(make_config(steps_per_epoch=1, epochs=1), ("loss",), 0)
    found.add(1, [1.0])
    assert found.read(1)[0] == {"loss": 1.0}
    assert found.text == "epoch 1, loss 1.000"


def test_an_earlier_history_gains_the_columns_and_loses_no_value(tmp_path):
    files = open_run(str(tmp_path))
    before = "step,epoch,seconds_per_step,cycle\n25,1,0.5,3.25\n50,2,0.4,1.5\n"
    (tmp_path / "history.csv").write_text(before)
    history = History(files, 50, tensorboard=False)
    assert (tmp_path / "history.csv").read_text().replace("\r", "") == before
    history.add(75, 3, 0.3, {"cycle": 1.0})
    history.add(100, 4, 0.3, {"cycle": 0.5} | signals_of([[0, 0], [2, 0.5], [1, 0]]))
    history.add(125, 5, 0.3, {"cycle": 0.25})
    rows = rows_of(files)
    assert [row["cycle"] for row in rows] == ["3.25", "1.5", "1.00000", "0.50000", "0.25000"]
    assert list(rows[0]) == ["step", "epoch", "seconds_per_step", "cycle", *OVERFITTING]
    assert [row["r_v"] for row in rows] == ["", "", "", "0.50000", ""]
    assert rows_of(files)[0]["seconds_per_step"] == "0.5"


def test_tensorboard_has_them_apart_from_the_losses(tmp_path):
    files = open_run(str(tmp_path))
    history = History(files, 0, tensorboard=True)
    history.add(25, 1, 0.5, {"cycle": 2.0} | signals_of([[0, 0], [2, 0.5]]))
    history.board.flush()
    [events] = (tmp_path / "tensorboard").iterdir()
    tags = {value.tag for event in tf.compat.v1.train.summary_iterator(str(events)) for value in event.summary.value}
    assert tags == {"loss/cycle", "overfitting/d_trained", "overfitting/d_fake", "overfitting/r_t", "seconds_per_step"}


@pytest.fixture(scope="module")
def with_and_without(small_root, small_data, tmp_path_factory):
    """Two runs of all that has random numbers or a state of its own: one reads the signals after each step, the other
    never. Also the number of times that the judging function was traced."""
    trainers, traced = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readings, "READ_EVERY", 1)
        patch.setattr(readings, "SIGNALS_EVERY", 1)

        def counted(system, config):
            judge = judging(system, config)
            return lambda *pictures: (traced.append(1), judge(*pictures))[1]

        patch.setattr(engine, "judging", counted)
        for name in ("with", "without"):
            config = make_config(**{
                **PLAIN, "generator_filters": 2, "generator_levels": 2, "discriminator_filters": 2, "epochs": 1,
                "discriminator_levels": 1, "steps_per_epoch": 4, "norm": "batch", "image_pool": 2,
                "diffaugment": "translation", "hold_out": 0.2, "data": small_root, "tensorboard": False,
                "out": str(tmp_path_factory.mktemp(name) / "out")})
            trainer = Trainer(config, small_data, tf.distribute.get_strategy())
            if name == "without":
                trainer.readings.overfitting = None
            trainer.fit()
            trainers.append(trainer)
    return *trainers, len(traced)


def test_training_is_the_same_whether_or_not_signals_are_read(with_and_without):
    read, not_read, _ = with_and_without
    arrays = {name: np.asarray(array) for name, array in not_read.engine.state()}
    assert any("moving" in name for name in arrays) and any("pool" in name for name in arrays)
    for name, array in read.engine.state():
        np.testing.assert_array_equal(np.asarray(array), arrays[name], err_msg=name)


def test_each_reading_has_other_numbers_from_one_trace(with_and_without):
    read, not_read, traced = with_and_without
    rows = rows_of(read.files)
    assert len({row["d_trained"] for row in rows}) == len(rows) == 4
    assert all(row[name] for row in rows for name in OVERFITTING)
    assert "r_t" not in rows_of(not_read.files)[0]
    assert traced == 1


def test_a_run_without_a_hold_out_records_what_it_can(trained_folder):
    with open(trained_folder / "history.csv", newline="", encoding="utf-8") as file:
        [row] = csv.DictReader(file)
    assert all(row[name] for name in ("d_trained", "d_fake", "r_t"))
    assert (row["d_held_out"], row["r_v"]) == ("", "")
