"""Settings that change while a run is resumed: said, recorded by step, or refused."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from monet.core.array_files import read_arrays
from monet.core.config import FIELDS, make_config
from monet.core.errors import UserError
from monet.core.presets import resolve_config
from monet.training.changes import FREE_FIELDS, resumed_settings
from monet.training.checkpoint import Meta, list_checkpoints, read_meta
from monet.training.trainer import Trainer

COUNTS = {"monet": 10, "photo": 16, "swap_sides": False}


def meta_of(step, changes=(), **values):
    """What a checkpoint of 10 steps an epoch says."""
    config = make_config(**{"steps_per_epoch": 10, "epochs": 4, **values})
    return Meta(step, dataclasses.asdict(config), COUNTS, changes=changes)


def resumed(meta, **values):
    asked = make_config(**{"steps_per_epoch": 10, "epochs": 4, **values})
    recorded, _, changes = resumed_settings(meta, asked, asked)
    return recorded, changes


def change(step, setting, was, now):
    return {"step": step, "setting": setting, "was": was, "now": now}


def test_what_changes_is_said_and_recorded_with_its_step(caplog):
    caplog.set_level("INFO")
    asked, changes = resumed(meta_of(20), learning_rate=0.001, seed=7, out="elsewhere", num_images=40)
    assert changes == [change(20, "seed", 0, 7), change(20, "learning_rate", 2e-4, 0.001)]
    assert asked.learning_rate == 0.001
    for part in ("step 20", "learning_rate 0.001 (was 0.0002)", "seed 7 (was 0)"):
        assert part in caplog.text
    assert "num_images" not in caplog.text


def test_an_unchanged_run_says_nothing(caplog):
    caplog.set_level("INFO")
    assert resumed(meta_of(20, [change(10, "seed", 1, 0)])) == (
        make_config(steps_per_epoch=10, epochs=4), [change(10, "seed", 1, 0)])
    assert caplog.text == ""


def test_changes_accumulate_and_one_without_a_step_of_its_own_is_undone():
    """The last was made at step 20, and nothing was trained with it."""
    earlier = [change(10, "seed", 0, 7), change(20, "learning_rate", 2e-4, 0.001)]
    meta = meta_of(20, earlier, seed=7, learning_rate=0.001)
    assert resumed(meta, seed=7)[1] == earlier[:1]
    assert resumed(meta, seed=7, learning_rate=0.01)[1] == [*earlier[:1], change(20, "learning_rate", 2e-4, 0.01)]
    assert resumed(meta, seed=7, learning_rate=0.001)[1] == earlier


def test_before_the_first_step_only_the_seed_has_had_an_effect():
    assert resumed(meta_of(0), learning_rate=0.001, epochs=9)[1] == []
    assert resumed(meta_of(0), seed=7)[1] == [change(0, "seed", 0, 7)]


@pytest.mark.parametrize(("before", "now", "warned"), [
    ({}, {"hold_out": 0.1}, True), ({"hold_out": 0.1}, {"hold_out": 0.2}, True),
    ({"hold_out": 0.2}, {"hold_out": 0.1}, False),
    ({"hold_out": 0.1}, {}, False), ({"hold_out": 0.1}, {"hold_out": 0.1, "seed": 7}, True), ({}, {"seed": 7}, False)])
def test_another_hold_out_is_said_and_so_is_what_was_trained_on_before(before, now, warned, caplog):
    caplog.set_level("INFO")
    changes = resumed(meta_of(20, **before), **now)[1]
    assert {change["setting"] for change in changes} == {name for name in ("hold_out", "seed")
                                                         if before.get(name) != now.get(name)}
    assert "hold_out" in caplog.text or "seed" in caplog.text
    assert ("trained on before" in caplog.text) == warned


def test_a_run_from_before_the_hold_out_resumes_without_one(caplog):
    caplog.set_level("INFO")
    meta = meta_of(20)
    del meta.config["hold_out"]
    asked, changes = resumed(meta)
    assert (asked.hold_out, changes, caplog.text) == (0.0, [], "")


@pytest.mark.parametrize("schedule", [{"decay_start": 0.5}, {"cycle_fall": 0.9}, {"feature_cycle": 0.9}])
def test_a_new_length_moves_the_schedules_and_that_is_said(schedule, caplog):
    resumed(meta_of(20), epochs=9)
    resumed(meta_of(20, **schedule), **schedule, seed=7)
    assert "schedules" not in caplog.text
    resumed(meta_of(20, **schedule), **schedule, epochs=9)
    assert "a run of 90 steps" in caplog.text


def test_what_an_earlier_version_settled_or_named_otherwise_is_no_change():
    asked = make_config(steps_per_epoch=0, epochs=4)
    run = dataclasses.replace(asked, steps_per_epoch=704, precision="float32")
    values = dataclasses.asdict(make_config(jitter=300)) | {"steps_per_epoch": 704, "epochs": 4, "precision": "float32"}
    values["jitter_size"] = values.pop("jitter")
    del values["ema_decay"]
    assert resumed_settings(Meta(20, values, COUNTS), asked, run)[2] == [change(20, "jitter", 300, 286)]


@pytest.mark.parametrize("values", [{"gamma_mean": 1.0}, {"gamma_stddev": 0.5}])
@pytest.mark.parametrize("step", [20, 40])
def test_what_only_counts_at_the_start_is_refused(values, step):
    name, = values
    with pytest.raises(UserError, match=f"{name} was .*--resume false"):
        resumed(meta_of(step), **values)


@pytest.mark.parametrize(("step", "values", "epochs"), [
    (40, {"learning_rate": 0.001}, 5), (40, {"epochs": 1}, 5), (25, {"epochs": 2}, 3),
    (40, {"steps_per_epoch": 5}, 9), (40, {}, 5)])
def test_a_run_with_nothing_left_says_so_and_what_would_train_it(step, values, epochs, caplog):
    caplog.set_level("INFO")
    before = [change(10, "seed", 1, 0)]
    asked, changes = resumed(meta_of(step, before), **values, num_images=40)
    assert asked == make_config(steps_per_epoch=10, epochs=4, num_images=40)
    assert changes == before
    assert "Nothing is left to train" in caplog.text and f"--epochs {epochs} or more" in caplog.text
    assert ("no effect" in caplog.text) == bool(values)
    assert resumed(meta_of(step), **{**values, "epochs": epochs})[0].epochs == epochs


def test_free_fields_exist():
    assert set(FREE_FIELDS) <= set(FIELDS)


def resumed_run(config, data):
    trainer = Trainer(config, data, tf.distribute.get_strategy())
    trainer.fit()
    return trainer


def settings_in(out):
    return json.loads((out / "config.json").read_text())


def test_config_json_tells_what_trained_the_run(tiny, small_data, trained_out, caplog):
    """A finished run: settings without an effect are not claimed; settings of further epochs are, from their step."""
    caplog.set_level("INFO")
    trainer = resumed_run(tiny(learning_rate=0.001, ema_decay=0.9, epochs=1), small_data)
    assert trainer.state.step == 6
    assert settings_in(trained_out) == dataclasses.asdict(tiny())
    assert "from step 6 to" not in caplog.text
    resumed_run(tiny(learning_rate=0.001, epochs=3), small_data)
    changes = [change(6, "epochs", 2, 3), change(6, "learning_rate", 2e-4, 0.001)]
    assert settings_in(trained_out)["changes"] == changes
    [newest, *_] = list_checkpoints(str(trained_out / "checkpoints"))
    assert (read_meta(newest).step, read_meta(newest).changes) == (9, changes)
    resumed_run(tiny(learning_rate=0.01, epochs=3), small_data)
    assert (settings_in(trained_out)["learning_rate"], settings_in(trained_out)["changes"]) == (0.001, changes)


def test_a_run_resumes_with_its_hold_out_or_with_another(tiny, small_data, trained_out):
    """A finished run without one goes on with one, as long as there is something to train."""
    trainer = resumed_run(tiny(hold_out=0.2, epochs=1), small_data)
    assert trainer.data.held_out is None and settings_in(trained_out)["hold_out"] == 0.0
    first = resumed_run(tiny(hold_out=0.2, epochs=3), small_data)
    assert settings_in(trained_out)["changes"] == [change(6, "hold_out", 0.0, 0.2), change(6, "epochs", 2, 3)]
    again = Trainer(tiny(hold_out=0.2, epochs=4), small_data, tf.distribute.get_strategy())
    assert (first.data.monet.count, first.data.held_out.count) == (8, 2)
    assert again.data == first.data == again.engine.data


def test_a_config_json_with_changes_repeats_a_run_with_its_last_settings(tiny, small_data, trained_out, capsys):
    resumed_run(tiny(seed=3, epochs=3), small_data)
    assert resolve_config({}, str(trained_out / "config.json")) == tiny(seed=3, epochs=3)
    assert "changed during that run" in capsys.readouterr().err


def test_a_finished_run_paints_with_the_average_that_it_kept(tiny, small_data, tmp_path):
    resumed_run(tiny(ema_decay=0.9, epochs=1), small_data)
    exported = read_arrays(str(tmp_path / "out" / "photo_to_monet.npz"))
    resumed_run(tiny(ema_decay=0.0, epochs=1), small_data)
    again = read_arrays(str(tmp_path / "out" / "photo_to_monet.npz"))
    for name, values in exported.items():
        np.testing.assert_array_equal(again[name], values, err_msg=name)
