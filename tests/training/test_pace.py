"""monet.training.pace: a run of `minutes` measures its pace, and its schedules end when the minutes do."""

import importlib.util
import math
from types import SimpleNamespace

import numpy as np
import pytest

from monet.cli import main
from monet.core.config import make_config
from monet.core.errors import UserError
from monet.core.presets import PRESETS, resolve_config
from monet.core.progress import Interval
from monet.kaggle_run import kernel_config
from monet.machine.cluster import ONE_MACHINE, Cluster, Task
from monet.training.changes import known_steps, resumed_settings
from monet.training.checkpoint import Meta, list_checkpoints, read_meta
from monet.training.deadline import Clock
from monet.training.describe import length_in_words
from monet.training.engines import choose_devices
from monet.training.pace import Pace
from monet.training.report import read_json
from monet.training.run_files import RunFiles
from monet.training.trainer import Trainer

SMALL = {"image_size": 32, "jitter": 40, "generator_levels": 2, "discriminator_levels": 1, "decay_start": 0.5,
         "cycle_fall": 0.5, "norm_epsilon": 1.0, "gamma_mean": 1.0, "learning_rate": 2e-5, "minutes": 1.0}
COUNTS = {"monet": 10, "photo": 16}


class Time:
    """A clock that only work advances, in seconds."""

    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def on_a_clock(config, data, seconds=1.0, real=False, stops_at=0, breaks_at=0, **options):
    """A trainer on a clock that only steps advance, by `seconds` each; unless `real`, they compute nothing. It is told
    to terminate when it arrives at step `stops_at`, and the losses of step `breaks_at` are once NaN."""
    time, terminated, broken = Time(), [], [breaks_at]
    trainer = Trainer(config, data, choose_devices(config), terminated=terminated, now=time, **options)
    steps_of_engine = trainer.engine.run_steps

    def run_steps(step, count):
        time.now += seconds * count
        if step + count == stops_at:
            terminated.append(stops_at)
        if real:
            return steps_of_engine(step, count)
        trainer.engine.position += count
        return np.full([len(trainer.engine.loss_names)], math.nan if step + count == broken[0] else 1.0)

    def restore(*given):
        broken[0] = 0
        type(trainer).restore(trainer, *given)

    trainer.engine.run_steps, trainer.restore = run_steps, restore
    trainer.fit()
    return trainer


def state_of(trainer):
    return {name: np.asarray(array) for name, array in trainer.engine.state()}


def newest_meta(trainer):
    return read_meta(list_checkpoints(trainer.files.checkpoints)[0])


# --- The pace ---


def measured_pace(time, config):
    """A pace that measures from now on, after the first call."""
    clock = Clock(None, 0.0, time)
    clock.seconds["first call"] = 1000.0
    pace = Pace(config, clock)
    pace.start(25, 25)
    return pace


def engine_at(position):
    return SimpleNamespace(position=position, cluster=ONE_MACHINE)


@pytest.mark.parametrize(("preview", "save", "settings"), [
    (0.0, 0.0, {}), (6.0, 0.0, {"preview_minutes": 1.0}), (6.0, 12.0, {"preview_minutes": 1.0}),
    (0.0, 7.0, {"checkpoint_epochs": 2, "steps_per_epoch": 30}), (1.0, 0.0, {"preview_minutes": 0.0}),
    (2.0, 3.0, {"preview_minutes": 0.0, "checkpoint_minutes": 3.0})])
def test_the_planned_steps_and_all_that_comes_between_take_the_minutes(preview, save, settings):
    """Half a second a step, the first 200 twice as long, as a trainer makes them."""
    time = Time()
    config = make_config(minutes=100.0, steps_per_call=25, **{"steps_per_epoch": 300, **settings})
    pace = measured_pace(time, config)
    preview_due, save_due = Interval(60 * config.preview_minutes, time), Interval(60 * config.checkpoint_minutes, time)
    step, planned, plans = 25, math.inf, []
    while step < planned:
        if step % config.checkpoint_steps < 25 if config.checkpoint_steps else save_due.due():
            time.now += save
        if preview_due.due():
            time.now += preview
        time.now += 25.0 if step < 200 else 12.5
        step += 25
        if again := pace.plan(step, engine_at(step), time.now):
            planned = again
            plans.append(time.now)
    assert time.now == pytest.approx(6000, rel=0.02)
    assert plans == pytest.approx([300, 1500], abs=40)


def test_steps_that_are_undone_do_not_change_the_pace():
    time = Time()
    pace = measured_pace(time, make_config(minutes=100.0, steps_per_call=1))
    time.now += 400
    assert pace.of_a_step(25 + 800) == pytest.approx(0.5)
    assert pace.plan(100, engine_at(25 + 800), 1000.0) == 100 + 10000


def test_the_second_plan_measures_only_what_came_after_the_first():
    time = Time()
    pace = measured_pace(time, make_config(minutes=100.0, steps_per_call=1))
    assert pace.plan(25, engine_at(25), 0.0) is None
    time.now = 250.0
    assert pace.plan(275, engine_at(275), 250.0) is None
    time.now = 350.0
    assert pace.plan(375, engine_at(375), 350.0) == 375 + 5650
    time.now = 1400.0
    assert pace.plan(2475, engine_at(2475), 1400.0) is None
    time.now = 1600.0
    assert pace.plan(2875, engine_at(2875), 1600.0) == 2875 + 8800
    time.now = 5000.0
    assert pace.plan(9675, engine_at(9675), 5000.0) is None


def test_a_run_whose_length_is_known_is_not_planned_again():
    time = Time()
    clock = Clock(None, 0.0, time)
    pace = Pace(make_config(minutes=100.0), clock, is_planned=True)
    clock.seconds["first call"] = 1.0
    pace.start(25, 25)
    time.now = 3000.0
    assert pace.plan(3025, engine_at(3025), 3000.0) is None


# --- A whole run ---


@pytest.mark.lengthy
@pytest.mark.parametrize("engine", ["tensorflow", pytest.param("jax", marks=pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="JAX is not installed"))])
def test_a_resumed_run_is_the_same_run_on_any_machine_and_engine(tiny, small_data, tmp_path, engine):
    """After 25 steps of a second, 35 more fit into the minute. A session on a machine ten times as fast ends there,
    too."""
    settings = {**SMALL, "accelerator": "cpu"}
    whole = on_a_clock(tiny(**settings, out=str(tmp_path / "whole")), small_data, real=True)
    assert (whole.state.step, whole.state.total_steps, whole.clock.now()) == (60, 60, 60.0)
    for optimizer in whole.engine.system.optimizers.values():
        assert float(optimizer.iterations) == 60
        rate = optimizer._learning_rate
        assert float(rate(59)) == pytest.approx(2e-5 / 30) and float(rate(60)) == 0
    settings["out"] = str(tmp_path / "parts")
    first = on_a_clock(tiny(**settings), small_data, real=True, stops_at=40)
    assert (newest_meta(first).step, newest_meta(first).total_steps) == (40, 60)
    assert read_json(first.files.facts)["total_steps"] == 60
    resumed = on_a_clock(tiny(**settings, engine=engine), small_data, seconds=0.1, real=True)
    assert (resumed.engine.name, resumed.state.step, resumed.state.total_steps) == (engine, 60, 60)
    found = state_of(resumed)
    for name, expected in state_of(whole).items():
        if "/adam/" not in name:
            np.testing.assert_allclose(found[name], expected, atol=1e-5 if engine == "tensorflow" else 1e-4,
                                       err_msg=name)


@pytest.mark.lengthy
def test_a_run_that_ends_before_its_plan_is_planned_when_it_resumes(tiny, small_data):
    first = on_a_clock(tiny(**SMALL), small_data, stops_at=10)
    assert newest_meta(first).total_steps is None
    assert read_json(first.files.facts)["total_steps"] is None
    resumed = on_a_clock(tiny(**SMALL), small_data)
    assert (resumed.state.step, resumed.state.total_steps) == (60, 60)
    assert newest_meta(resumed).seconds == 60


def test_a_setback_before_the_plan_costs_only_its_time(tiny, small_data):
    trainer = on_a_clock(tiny(**SMALL), small_data, breaks_at=10)
    assert (trainer.state.skipped, trainer.state.total_steps, trainer.clock.now()) == (25, 35, 60.0)


def test_a_setback_after_the_last_plan_does_not_change_it(tiny, small_data):
    trainer = on_a_clock(tiny(**SMALL), small_data, breaks_at=59)
    assert (trainer.state.skipped, trainer.state.step, trainer.state.total_steps) == (60, 60, 60)


@pytest.mark.lengthy
def test_other_minutes_are_planned_anew(tiny, small_data, caplog):
    caplog.set_level("INFO")
    on_a_clock(tiny(**SMALL), small_data)
    again = on_a_clock(tiny(**SMALL), small_data)
    assert again.clock.now() == 0 and "--minutes 2 or more" in caplog.text
    more = on_a_clock(tiny(**{**SMALL, "minutes": 3.0}), small_data, seconds=0.5)
    assert (more.state.step, more.state.total_steps, more.clock.now()) == (300, 300, 120.0)
    assert "a run of 3 minutes" in caplog.text
    assert [change["setting"] for change in newest_meta(more).changes] == ["minutes"]


def test_minutes_too_short_for_a_reading_make_one_and_say_so(tiny, small_data, caplog):
    trainer = on_a_clock(tiny(**{**SMALL, "minutes": 0.001}), small_data)
    assert (trainer.state.step, trainer.state.total_steps) == (25, 25)
    assert "at least --minutes 1.7" in caplog.text


# --- A time limit ---


def test_a_limit_too_short_for_the_minutes_is_said_at_the_start_and_ends_the_session(tiny, small_data, caplog):
    trainer = on_a_clock(tiny(**{**SMALL, "minutes": 10.0}, max_minutes=2.0), small_data, deadline=120.0)
    assert (trainer.state.step, trainer.state.total_steps) == (111, 600)  # 120 s less 5% and 3 s
    assert "--minutes 10 of training do not fit" in caplog.text


def test_a_limit_shortens_the_minutes_that_a_preset_supplies(tiny, small_data, caplog, monkeypatch):
    """After 50 s, 61 s are left before the limit; the schedule takes 95% of them."""
    caplog.set_level("INFO")
    monkeypatch.setitem(PRESETS, "tutorial", {"minutes": 10.0})
    trainer = on_a_clock(tiny(**{**SMALL, "minutes": 10.0}, max_minutes=2.0), small_data, deadline=120.0)
    assert trainer.state.step == trainer.state.total_steps == 50 + 57
    assert "The preset's 10 minutes" in caplog.text and "Stopping" not in caplog.text


def test_on_kaggle_the_presets_minutes_meet_the_machines_limit(tmp_path, small_root, monkeypatch):
    monkeypatch.setitem(PRESETS, "gpu", {**PRESETS["gpu"], "minutes": 270.0})
    monkeypatch.setenv("ISTPUVM", "1")
    settings = {"preset": "gpu", "data": small_root, "minutes": resolve_config({"preset": "gpu"}).minutes}
    config = kernel_config(settings, RunFiles(str(tmp_path)))
    assert (config.minutes, config.max_minutes) == (270, 170)
    pace = measured_pace(Time(), config)
    pace.config = make_config(**settings, steps_per_call=25)
    pace.clock.deadline, pace.clock.limit = 60 * 170.0, 60 * 170.0
    pace.clock.now.now = 1200.0
    planned = pace.plan(25 + 1200, engine_at(25 + 1200), 1200.0)
    assert planned - 1225 == pytest.approx(0.95 * (170 * 60 * 0.95 - 3 - 1200), abs=2)


# --- What resumes, and what the command line says ---


def meta_of(step, seconds, total_steps=None, **values):
    return Meta(step, dict(vars(make_config(**values))), COUNTS, seconds=seconds, total_steps=total_steps)


@pytest.mark.parametrize(("meta", "minutes", "expected"), [
    (None, 10.0, None),
    (meta_of(0, 5.0, minutes=10.0), 10.0, None),
    (meta_of(50, 100.0, 300, minutes=10.0), 10.0, 300),  # as planned
    (meta_of(50, 100.0, 300, minutes=10.0), 20.0, None),  # more, or fewer: planned anew
    (meta_of(50, 100.0, 300, minutes=10.0), 2.0, None),
    (meta_of(50, 100.0, 300, minutes=10.0), 1.0, 50),  # over
    (meta_of(50, 100.0, None, minutes=10.0), 10.0, None),
    (meta_of(50, 700.0, None, minutes=10.0), 10.0, 50),
    (meta_of(50, 100.0, 7500), 10.0, None),  # by epochs before
    (meta_of(50, 100.0, 300, minutes=10.0), 0.0, 7500),  # by epochs from now on
])
def test_the_length_of_a_resumed_run(meta, minutes, expected):
    assert known_steps(meta, make_config(minutes=minutes)) == expected


def test_minutes_that_are_over_leave_nothing_to_train(caplog):
    caplog.set_level("INFO")
    asked = make_config(minutes=1.0)
    kept, _, changes = resumed_settings(meta_of(50, 100.0, 300, minutes=10.0), asked, asked)
    assert (kept.minutes, changes) == (10.0, [])
    assert "Nothing is left to train" in caplog.text and "--minutes 2 or more" in caplog.text


def test_a_length_given_by_hand_wins_over_the_presets(monkeypatch, tmp_path):
    monkeypatch.setitem(PRESETS, "gpu", {**PRESETS["gpu"], "minutes": 270.0})
    assert resolve_config({"preset": "gpu"}).total_steps == 0
    assert resolve_config({"preset": "gpu", "epochs": 2}).total_steps == 600
    assert resolve_config({"preset": "gpu", "minutes": 5.0}).minutes == 5
    (tmp_path / "config.json").write_text('{"minutes": 7, "epochs": 3}')
    assert resolve_config({}, str(tmp_path / "config.json")).minutes == 7
    assert resolve_config({"epochs": 2}, str(tmp_path / "config.json")).total_steps == 600


def test_epochs_and_minutes_exclude_each_other(capsys):
    assert main(["describe", "--epochs", "3", "--minutes", "5"]) == 2
    assert "--epochs and --minutes" in capsys.readouterr().err
    with pytest.raises(UserError, match="--minutes -1.*at least 0"):
        make_config(minutes=-1.0)


@pytest.mark.parametrize(("values", "words"), [
    ({"minutes": 7.5}, "7.5 minutes of training"), ({"epochs": 3, "steps_per_epoch": 40}, "3 epochs, each of 40 steps"),
    ({"epochs": 3, "steps_per_epoch": 0}, "3 epochs, each of one pass")])
def test_describe_tells_how_long_a_run_is(values, words):
    assert words in length_in_words(make_config(**values))


def test_the_chief_decides_for_all_machines(monkeypatch):
    """On each of two machines with two devices."""
    monkeypatch.setattr(Cluster, "gather", lambda self, numbers: np.array([[7, 0], [7, 0], [9, 1], [9, 1]]))
    for chief in (False, True):
        assert Cluster(Task("worker", int(not chief), 2, chief)).from_chief(9 if chief else 7) == 9
    assert ONE_MACHINE.from_chief(3) == 3
