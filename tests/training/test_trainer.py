"""monet.training.trainer: a run leaves the right files, resumes where it stopped, and ends well in every case."""

import csv
import re
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from monet.core.array_files import read_arrays
from monet.core.errors import UserError
from monet.core.keras_compat import weight_names
from monet.data.pipeline import training_pairs
from monet.training.arrays import value_of
from monet.training.checkpoint import list_checkpoints
from monet.training.deadline import warn_of_pace
from monet.training.readings import READ_EVERY, Broken
from monet.training.state import system_variables
from monet.training.trainer import MOST_SETBACKS, Trainer


def weights_of(trainer):
    return {name: value_of(variable) for name, variable in system_variables(trainer.engine.system).items()}


def new_trainer(config, data, **options):
    return Trainer(config, data, tf.distribute.get_strategy(), **options)


def rows_of(trainer):
    with open(trainer.files.history, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def trained(config, data):
    trainer = new_trainer(config, data)
    trainer.fit()
    return trainer


def test_a_run_leaves_the_right_files(tiny, small_data, tmp_path):
    trainer = trained(tiny(steps_per_epoch=READ_EVERY, tensorboard=True), small_data)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "checkpoints", "config.json", "history.csv", "photo_to_monet.npz", "preview.jpg", "previews", "report.html",
        "report.json", "run.log", "tensorboard"}
    rows = rows_of(trainer)
    assert [row["step"] for row in rows] == [str(READ_EVERY), str(2 * READ_EVERY)]
    assert [row["epoch"] for row in rows] == ["1", "2"]
    without_hold_out = {"d_held_out", "r_v"}
    assert all(np.isfinite(float(value)) for row in rows for name, value in row.items() if name not in without_hold_out)
    assert Image.open(trainer.files.preview).size == (1024, 1024)
    assert len(list_checkpoints(trainer.files.checkpoints)) == 1


@pytest.mark.lengthy
def test_the_same_seed_gives_the_same_run(tiny, small_data, tmp_path):
    first = weights_of(trained(tiny(out=str(tmp_path / "a")), small_data))
    again = weights_of(trained(tiny(out=str(tmp_path / "b")), small_data))
    other = weights_of(trained(tiny(out=str(tmp_path / "c"), seed=1), small_data))
    for name in first:
        np.testing.assert_allclose(first[name], again[name], atol=1e-5, err_msg=name)
    assert np.abs(first["photo_to_monet/down1_conv/kernel"] - other["photo_to_monet/down1_conv/kernel"]).max() > 1e-3


@pytest.mark.lengthy
@pytest.mark.parametrize("settings", [
    {"dropout": 0.5, "gamma_mean": 1.0},
    {"image_pool": 4, "decay_start": 0.25, "ema_decay": 0.9, "cycle_fall": 0.9, "feature_cycle": 0.9,
     "discriminator": "two_objective", "adversarial_loss": "hinge", "diffaugment": "color,translation,cutout"},
    {"system": "cut", "cycle_weight": 0.0, "identity_weight": 0.0, "norm": "batch", "image_pool": 4},
])
def test_a_run_in_two_parts_ends_where_an_unbroken_one_does(tiny, small_data, tmp_path, settings):
    """The second part restores networks, averages, pools and optimizers, and continues the data, the random numbers and
    every schedule where the first ended."""
    settings = {"gamma_mean": 1.0, "epochs": 3, "steps_per_epoch": 4, **settings}
    unbroken = weights_of(trained(tiny(out=str(tmp_path / "a"), **settings), small_data))
    first = new_trainer(tiny(out=str(tmp_path / "b"), **settings), small_data)
    first.state.total_steps = 7
    first.fit()
    resumed = new_trainer(tiny(out=str(tmp_path / "b"), **settings), small_data)
    assert resumed.state.step == 7
    resumed.fit()
    found = weights_of(resumed)
    assert found["photo_to_monet/adam/iterations"] == 12
    for name, expected in unbroken.items():
        np.testing.assert_allclose(found[name], expected, atol=1e-5, err_msg=name)


@pytest.mark.lengthy
@pytest.mark.parametrize("system", [{}, {"system": "cut", "cycle_weight": 0.0, "identity_weight": 0.0},
                                    {"norm": "batch", "diffaugment": "color,translation,cutout", "image_pool": 4}])
def test_a_run_in_bfloat16_trains_and_paints(tiny, small_data, system):
    trainer = trained(tiny(precision="bfloat16", gamma_mean=1.0, **system), small_data)
    assert all(np.isfinite(value).all() for value in weights_of(trainer).values())
    painted = np.asarray(trainer.engine.paint(trainer.photos))
    assert painted.dtype == np.float32
    assert painted.std() > 0


@pytest.mark.parametrize(("most", "expected"), [(0, "cutout"), (10, "cutout"), (9, "")])
def test_many_paintings_are_not_augmented(tiny, small_data, most, expected):
    """The set has 10."""
    trainer = new_trainer(tiny(diffaugment="cutout", augment_most=most), small_data)
    assert trainer.engine.system.config.diffaugment == expected
    assert trainer.asked.diffaugment == "cutout"


def test_an_epoch_can_be_one_pass_over_the_larger_set(tiny, small_data):
    trainer = new_trainer(tiny(steps_per_epoch=0, batch_size=3), small_data)
    assert trainer.config.total_steps == 2 * 6  # 16 photos in threes
    assert trainer.config.steps_per_epoch == 6


def test_the_residual_blocks_that_a_size_implies_are_remembered(tiny, small_data):
    resnet = {"generator": "resnet", "generator_filters": 1, "steps_per_epoch": 1, "epochs": 1}
    trainer = new_trainer(tiny(**resnet), small_data)
    assert trainer.config.residual_blocks == 6
    trainer.save()
    with pytest.raises(UserError, match="residual_blocks was 6, now 9"):
        new_trainer(tiny(**resnet, image_size=256, jitter=0), small_data)


def test_a_mistake_is_refused_before_an_earlier_run_is_set_aside(tiny, small_data, trained_out):
    for mistake in ({"generator": "rsenet"}, {"generator_levels": 7}, {"adversarial_loss": "gan"}, {"norm": "layer"},
                    {"diffaugment": "colour"}):
        with pytest.raises(UserError):
            new_trainer(tiny(resume=False, **mistake), small_data)
    assert not (trained_out / "previous-1").exists()


def test_a_run_whose_losses_change_keeps_its_columns(tiny, small_data):
    cut = {"system": "cut", "cycle_weight": 0.0, "identity_weight": 0.0}
    trained(tiny(**cut), small_data)
    rows = rows_of(trained(tiny(**cut, nce_identity=False, epochs=3), small_data))
    assert [row["step"] for row in rows] == ["6", "9"]
    assert rows[0]["nce_identity"] and not rows[1]["nce_identity"]
    assert None not in rows[1]


def test_checkpoints_can_be_counted_in_epochs(tiny, small_data):
    trainer = trained(tiny(epochs=5, steps_per_epoch=2, checkpoint_epochs=2, keep_checkpoints=9), small_data)
    steps = [path.rpartition("-")[2] for path in list_checkpoints(trainer.files.checkpoints)]
    assert steps == ["00000010.npz", "00000008.npz", "00000004.npz"]


def test_the_average_paints_and_is_what_is_exported(tiny, small_data):
    trainer = trained(tiny(ema_decay=0.9), small_data)
    names = weight_names(trainer.engine.system.networks["photo_to_monet"])
    exported, everything = read_arrays(trainer.files.generator), weights_of(trainer)
    for name in names:
        np.testing.assert_array_equal(exported[name], everything[f"photo_to_monet/average/{name}"], err_msg=name)
    live = everything["photo_to_monet/down1_conv/kernel"]
    assert np.abs(exported["down1_conv/kernel"] - live).max() > 1e-6


def test_a_finished_run_is_not_trained_again(tiny, small_data, trained_out):
    before = read_arrays(list_checkpoints(str(trained_out / "checkpoints"))[0])
    after = weights_of(trained(tiny(), small_data))
    for name in after:
        np.testing.assert_array_equal(before[name], after[name])


def test_resume_false_starts_anew_and_keeps_the_old_run(tiny, small_data, trained_out):
    for number in (1, 2):
        trainer = new_trainer(tiny(resume=False), small_data)
        assert trainer.state.step == 0
        kept = {path.name for path in (trained_out / f"previous-{number}").iterdir()}
        assert {"config.json", "history.csv"} <= kept
    assert len(list_checkpoints(str(trained_out / "previous-1" / "checkpoints"))) == 1


def test_a_changed_architecture_is_refused_before_anything_is_built(tiny, small_data, trained_out):
    with pytest.raises(UserError, match="generator_filters was 2, now 4"):
        new_trainer(tiny(generator_filters=4), small_data)


def test_losses_that_stay_infinite_end_the_run_and_leave_a_good_checkpoint(tiny, small_data, trained_out, caplog):
    pattern = r"loss \w+ .*(inf|nan) .*step 9, .*\b3 .*setbacks.*step-00000006.npz"
    with pytest.raises(UserError, match=pattern):
        trained(tiny(epochs=3, steps_per_epoch=3, cycle_weight=3e38), small_data)
    assert [path[-12:] for path in list_checkpoints(str(trained_out / "checkpoints"))] == ["00000006.npz"]
    assert sum("going back" in message for message in caplog.messages) == MOST_SETBACKS


def test_a_setback_continues_from_the_last_checkpoint_with_other_data(tiny, small_data):
    trainer = new_trainer(tiny(epochs=4, gamma_mean=1.0), small_data)
    before = weights_of(trainer)
    trainer.save()
    for _ in range(5):
        trainer.advance()
    kernel = trainer.engine.system.networks["photo_to_monet"].trainable_variables[0]
    kernel.assign(np.full(kernel.shape, np.inf))
    trainer.advance()
    with pytest.raises(Broken) as broken:
        trainer.read_losses()
    trainer.go_back(broken.value)
    assert (trainer.state.step, trainer.state.skipped) == (0, 6)
    for name, value in weights_of(trainer).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    trainer.fit()
    assert (trainer.state.step, trainer.state.skipped) == (12, 6)
    resumed = new_trainer(tiny(epochs=4, gamma_mean=1.0), small_data)
    assert (resumed.state.step, resumed.state.skipped) == (12, 6)


def test_setbacks_are_forgotten_once_a_run_gets_past_them(tiny, small_data):
    trainer = new_trainer(tiny(epochs=4), small_data)
    trainer.save()
    for _ in range(MOST_SETBACKS + 1):
        trainer.advance()
        trainer.go_back(Broken("here"))
        trainer.advance()
        trainer.advance()
        trainer.save()
    with pytest.raises(UserError, match="here, .*3 .*setbacks"):
        for _ in range(MOST_SETBACKS + 1):
            trainer.go_back(Broken("here"))


def test_a_diverged_loss_counts_as_broken(tiny, small_data):
    trainer = new_trainer(tiny(gamma_mean=1.0, adversarial_loss="lsgan"), small_data)
    logits = trainer.engine.system.networks["monet_discriminator"].trainable_variables[-1]
    logits.assign([1e6])
    trainer.advance()
    pattern = r"loss (photo_to_monet|monet_disc\w+) .* (1|9\.\d+)e\+1[12]"
    with pytest.raises(Broken, match=pattern):
        trainer.read_losses()


def test_several_steps_per_call_equal_single_steps(tiny, small_data, tmp_path):
    settings = {"gamma_mean": 1.0, "epochs": 1, "steps_per_epoch": 7}
    single = trained(tiny(out=str(tmp_path / "a"), **settings), small_data)
    several = trained(tiny(out=str(tmp_path / "b"), steps_per_call=3, **settings), small_data)
    found = weights_of(several)
    for name, expected in weights_of(single).items():
        np.testing.assert_allclose(found[name], expected, atol=1e-5, err_msg=name)
    [row], [expected] = rows_of(several), rows_of(single)
    for name in several.engine.system.loss_names:
        assert float(row[name]) == pytest.approx(float(expected[name]), rel=1e-3, abs=1e-4)


def test_calls_end_where_checkpoints_are_due(tiny, small_data):
    trainer = trained(tiny(epochs=3, steps_per_epoch=4, checkpoint_epochs=1, steps_per_call=3, keep_checkpoints=9),
                      small_data)
    assert [path[-6:-4] for path in list_checkpoints(trainer.files.checkpoints)] == ["12", "08", "04"]


@pytest.mark.parametrize("system", [
    {}, {"system": "cut", "cycle_weight": 0.0, "identity_weight": 0.0},
    {"system": "cut", "cycle_weight": 0.0, "identity_weight": 0.0, "nce_identity": False}])
def test_the_losses_have_the_systems_names(tiny, small_data, system):
    trainer = new_trainer(tiny(**system), small_data)
    photo, monet = next(iter(training_pairs(small_data, trainer.config)))
    losses, _ = trainer.engine.system.losses_and_gradients(photo, monet, tf.constant([1, 2]))
    assert set(losses) == set(trainer.engine.system.loss_names)


def test_a_time_limit_too_short_for_the_schedules_is_reported(tiny, small_data, caplog):
    """100 steps of 10 s in 500 s, less a reserve of 5% of 10 minutes: 47 fit."""
    trainer = new_trainer(tiny(epochs=10, steps_per_epoch=10, max_minutes=10.0, decay_start=0.5), small_data,
                          deadline=time.monotonic() + 500)
    warn_of_pace(trainer.config, trainer.state, trainer.clock, 10.0)
    assert re.search(r"4[67] of the 100 steps.* --epochs 4\b", caplog.messages[-1])
    before = len(caplog.messages)
    warn_of_pace(trainer.config, trainer.state, trainer.clock, 1.0)
    assert len(caplog.messages) == before


def test_swapped_sides_are_other_data(tiny, small_data, trained_out):
    with pytest.raises(UserError, match="other data"):
        new_trainer(tiny(swap_sides=True), small_data)


def test_broken_weights_are_never_saved(tiny, small_data, trained_out):
    """Weights can break although the loss is finite: the loss is from before the update."""
    again = new_trainer(tiny(epochs=3), small_data)
    kernel = again.engine.system.networks["monet_discriminator"].trainable_variables[0]
    kernel.assign(np.full(kernel.shape, np.nan))
    again.state.step += 1
    with pytest.raises(Broken, match="monet_discriminator/down1_conv/kernel .*NaN .*step 7"):
        again.save()
    assert [path[-12:] for path in list_checkpoints(str(trained_out / "checkpoints"))] == ["00000006.npz"]
    assert new_trainer(tiny(epochs=3), small_data).state.step == 6


def test_a_damaged_history_does_not_stop_a_run(tiny, small_data, trained_out):
    with open(trained_out / "history.csv", "ab") as file:
        file.write(b"25,1\n\xff\x00garbage,,,\n,,\n")
    assert trained(tiny(epochs=3), small_data).state.step == 9


def test_a_first_setback_goes_back_to_the_beginning(tiny, small_data):
    with pytest.raises(UserError, match="step-00000000.npz"):
        trained(tiny(cycle_weight=3e38), small_data)


def test_checkpoints_are_written_during_training(tiny, small_data):
    trainer = trained(tiny(checkpoint_minutes=0.0, keep_checkpoints=3), small_data)
    assert [path[-6:-4] for path in list_checkpoints(trainer.files.checkpoints)] == ["06", "05", "04"]


def test_training_ends_when_painting_needs_the_rest_of_the_time(tiny, small_data):
    """On a clock that only steps advance. Of 100 s, 5% of the 60 that a run may take, 3 for the program to exit and
    1.25 x 40 for painting leave 44 steps of a second each."""
    seconds = [0.0]
    trainer = new_trainer(tiny(epochs=10_000, max_minutes=1.0), small_data, deadline=100.0, now=lambda: seconds[0])
    trainer.clock.seconds["hand in"] = 40.0
    run_steps = trainer.engine.run_steps

    def one_second_each(step, count):
        seconds[0] += count
        return run_steps(step, count)

    trainer.engine.run_steps = one_second_each
    trainer.fit()
    assert trainer.state.step == 44
    assert list_checkpoints(trainer.files.checkpoints)[0].endswith("step-00000044.npz")


def test_a_first_step_that_would_not_end_in_time_is_not_started(tiny, small_data):
    """Tracing its graph takes a hundred times as long as the step, and is not measured yet."""
    trainer = new_trainer(tiny(epochs=10_000, max_minutes=0.1), small_data)
    trainer.preview()
    trainer.save()
    trainer.clock.deadline = deadline = time.monotonic() + trainer.clock.reserve() + 1.0
    trainer.fit()
    assert trainer.state.step == 0
    assert time.monotonic() < deadline


def test_no_time_left_means_no_training_but_a_generator(tiny, small_data):
    trainer = new_trainer(tiny(max_minutes=0.01), small_data, deadline=time.monotonic() + 60)
    trainer.clock.seconds["hand in"] = 100.0
    trainer.fit()
    assert trainer.state.step == 0
    assert np.asarray(trainer.engine.paint(trainer.photos)).shape == (8, 256, 256, 3)
