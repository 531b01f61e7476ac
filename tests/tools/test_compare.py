"""tools/compare.py: how presets are reduced, how long they train, what the tables and the pictures show."""

import dataclasses
import json
import time

import compare
import numpy as np
import pytest
import tensorflow as tf
from benchmark.inception_state import random_state, write_state_dict
from compare import failure_reason, make_jobs, make_parser
from comparison.job import Job, job_config
from comparison.judge import judge, paintings_source, score
from comparison.report import report
from comparison.sheet import CELL, GAP, HEADER, LABEL, draw_sheet, overlay, write_maps, write_pictures
from comparison.training import Training, paint_in_batches, patch_logits
from PIL import Image
from support.settings import TINY

from monet.core.config import make_config
from monet.core.errors import UserError
from monet.core.pixels import decode_image, float_to_pixels
from monet.core.presets import PRESETS, resolve_config
from monet.data.pipeline import first_images
from monet.data.records import read_examples
from monet.networks.build import build_generator
from monet.submission.painter import make_painter
from monet.training.run_lock import only_writer

TINY_SETTINGS = ["image_size=64", "generator_filters=2", "generator_levels=3", "discriminator_filters=2"]


def job(preset="tutorial", **values):
    return Job(preset, data="somewhere", out="out", seconds=1.0, **values)


def jobs_of(*arguments):
    return make_jobs(make_parser().parse_args(list(arguments)))


def test_two_comparisons_in_one_folder_are_refused(small_root, tmp_path, capsys):
    with only_writer(str(tmp_path)):
        assert compare.main(["cpu", "--data", small_root, "--out", str(tmp_path)]) == 2
    assert "is in use" in capsys.readouterr().err


def test_without_an_accelerator_networks_and_batches_are_reduced_and_listed():
    config, reduced = job_config(job(values={"batch_size": 32}), accelerated=False)
    assert (config.generator_filters, config.discriminator_filters, config.batch_size) == (8, 8, 32)
    assert reduced == ["generator_filters 64 to 8", "discriminator_filters 64 to 8"]
    assert job_config(job(batch_size=4), accelerated=False)[0].batch_size == 1  # the preset's own is smaller


def test_with_an_accelerator_a_preset_is_left_as_it_is():
    config, reduced = job_config(job(), accelerated=True)
    assert reduced == []
    own = resolve_config({"preset": "tutorial"})
    assert {name for name in vars(own) if getattr(own, name) != getattr(config, name)} <= {
        "data", "out", "resume", "tensorboard", "accelerator"}


def test_a_width_is_a_limit_on_every_machine_and_widens_nothing():
    for accelerated in (False, True):
        config, reduced = job_config(job("cpu", width=20), accelerated)
        assert (config.generator_filters, config.discriminator_filters) == (16, 20)
        assert reduced == ["discriminator_filters 32 to 20"]


def test_settings_take_precedence_over_reductions():
    config, reduced = job_config(job(values={"generator_filters": 48, "precision": "bfloat16"}), accelerated=False)
    assert (config.generator_filters, config.precision) == (48, "bfloat16")
    assert reduced == ["discriminator_filters 64 to 8"]


def test_minutes_are_refused_because_seconds_are_the_length():
    with pytest.raises(UserError, match="--seconds"):
        job_config(job(values={"minutes": 5.0}), accelerated=False)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains_on_this_machine(preset):
    """Whatever device and number format it was made for."""
    config, _ = job_config(job(preset), accelerated=False)
    assert (config.accelerator, config.max_minutes) == ("auto", 0)
    assert config.precision != "bfloat16"
    assert max(config.generator_filters, config.discriminator_filters) <= 8
    assert config.batch_size <= 4


@pytest.mark.parametrize(("arguments", "message"), [
    (["cpuu"], "Did you mean cpu"),
    (["--set", "cycle_wait=3"], "Did you mean cycle_weight"),
    (["--set", "cycle_weight"], "--set cycle_weight: expected NAME=VALUE"),
    (["--set", "out=elsewhere"], "--set out=elsewhere: expected NAME=VALUE"),
    (["--set", "cycle_weight=-1"], "at least 0"),
    (["--seconds", "nan"], "--seconds nan"),
    (["--width", "-1"], "--width -1"),
    (["--data", "no such folder"], "no such folder"),
])
def test_mistakes_are_reported_before_anything_is_trained(arguments, message, tmp_path, capsys):
    assert compare.main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_all_presets_are_compared_unless_some_are_named(small_root):
    assert [one.preset for one in jobs_of("--data", small_root)] == list(PRESETS)
    assert [one.preset for one in jobs_of("cpu", "cpu", "--data", small_root)] == ["cpu"]
    [one] = jobs_of("cpu", "--data", small_root, "--out", "o", "--set", "nce-weight=2", "--set", "mirror=no")
    assert (one.out, one.values) == ("o/cpu", {"nce_weight": 2.0, "mirror": False})


def test_without_weights_it_says_so_once(small_root, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("MONET_INCEPTION_WEIGHTS", raising=False)
    assert [one.weights for one in jobs_of("cpu", "tutorial", "--data", small_root)] == ["", ""]
    assert capsys.readouterr().err.count("FID, MiFID and KID") == 1
    (tmp_path / "some.pth").write_bytes(b"some")
    monkeypatch.setenv("MONET_INCEPTION_WEIGHTS", str(tmp_path / "some.pth"))
    assert [one.weights for one in jobs_of("cpu", "--data", small_root)] == [str(tmp_path / "some.pth")]


@pytest.mark.lengthy
def test_a_comparison_writes_its_files_and_survives_a_preset_that_fails(small_root, tmp_path, capsys):
    """The image pool of `paper` holds 50 and cannot take a batch of 51; its process fails while it builds."""
    settings = [word for setting in [*TINY_SETTINGS, "batch_size=51"] for word in ("--set", setting)]
    status = compare.main(["paper", "tutorial", "--data", small_root, "--out", str(tmp_path), "--seconds", "3",
                           "--maps", *settings])
    failed, trained = json.loads((tmp_path / "compare.json").read_text())
    assert status == 1
    assert "--image-pool 50" in failed["error"]
    assert trained["steps"] > 1
    assert 3 <= trained["steps"] * trained["seconds_per_step"] < 6
    assert 0.2 < trained["memory_gib"] < 8
    assert set(trained["losses"]) >= {"cycle", "identity", "photo_to_monet", "monet_discriminator"}
    assert all(np.isfinite(value) for value in trained["losses"].values())
    tables = (tmp_path / "compare.md").read_text()
    assert tables.strip() in capsys.readouterr().out
    assert "| paper | | | | | | failed: error: --image-pool 50" in tables
    assert Image.open(tmp_path / "compare.jpg").size == (LABEL + 6 * (CELL + GAP), HEADER + CELL + GAP)
    assert Image.open(tmp_path / "maps.jpg").size == (LABEL + 4 * (CELL + GAP), HEADER + CELL + GAP)


def start_training(data, folder, **values):
    config = make_config(**{**TINY, "data": data.root, "out": str(folder), **values})
    return Training(config, data, tf.distribute.get_strategy())


@pytest.fixture(scope="module")
def trained(small_data, tmp_path_factory):
    """A training that reached the end of its run, six steps, and what `train` returned."""
    training = start_training(small_data, tmp_path_factory.mktemp("trained"))
    return training, training.train(600.0)


def test_a_run_that_ends_before_its_time_is_judged_by_what_it_learnt(trained, small_data):
    """Not by the networks as they were built: only `finish` gives the weights to the one that paints."""
    training, measured = trained
    assert measured["steps"] == training.config.total_steps - 1 == 5
    judgement, arrays = judge(training, job(maps=True))
    assert set(judgement) == {"health", "faults", "losses"}
    assert arrays["photos"].shape == arrays["painted"].shape == arrays["back"].shape == (2, 256, 256, 3)
    assert arrays["monet_maps"].shape == arrays["photo_maps"].shape == (1, 2, 30, 30)
    photo = first_images(small_data.photo, 1, CELL)
    learnt = make_painter(training.engine.system.networks["photo_to_monet"])(photo)
    np.testing.assert_allclose(arrays["painted"][0], float_to_pixels(learnt)[0], atol=1)


def test_paintings_are_scored_against_those_of_the_data(trained, small_data, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights = tmp_path / "narrow.pth"
    write_state_dict(weights, random_state(narrow=4))
    training = trained[0]
    scores = score(training, str(weights))
    assert scores["count"] == small_data.photo.count  # fewer than it would take
    assert all(np.isfinite(scores[name]) for name in ("fid", "mifid", "kid"))
    assert scores["mifid"] >= scores["fid"] > 0
    assert "not comparable" in scores["note"]
    monkeypatch.setattr(training, "config", dataclasses.replace(training.config, jpeg_quality=1))
    assert score(training, str(weights))["fid"] != pytest.approx(scores["fid"], rel=1e-3)  # of JPEGs


def test_the_datas_paintings_are_a_source(small_data):
    paintings = paintings_source(small_data)
    assert len(paintings.names) == small_data.monet.count
    [first] = [example["image"] for example in read_examples(small_data.monet).take(1)]
    np.testing.assert_array_equal(paintings.decode(paintings.reads[0]())[0], decode_image(first))


def test_the_clock_starts_after_the_first_step(small_data, tmp_path):
    training, began = start_training(small_data, tmp_path, epochs=100_000), time.monotonic()
    measured = training.train(2.0)
    seconds = measured["steps"] * measured["seconds_per_step"]
    assert seconds == pytest.approx(2.0, abs=0.5)
    assert measured["start_seconds"] + seconds <= time.monotonic() - began
    assert measured["steps"] == training.step - 1 > 0
    history = training.loss_rows()
    assert len(history) > 5
    assert [history[0]["step"], history[-1]["step"]] == ["1", str(training.step)]


def test_a_loss_that_is_not_finite_is_an_error(small_data, tmp_path):
    training = start_training(small_data, tmp_path, epochs=1000, cycle_weight=3e38)
    with pytest.raises(UserError, match="became (inf|nan)"):
        training.train(600.0)


def test_a_failure_is_explained_by_the_signal_or_the_last_line(tmp_path):
    log = tmp_path / "log"
    log.write_text("Traceback …\nValueError: too small\n\n")
    assert failure_reason(1, log) == "ValueError: too small"
    assert "signal 9" in failure_reason(-9, log) and "memory" in failure_reason(-9, log)
    assert "signal 11" in failure_reason(-11, log) and "memory" not in failure_reason(-11, log)
    log.write_text("")
    assert "status 3" in failure_reason(3, log)


RESULT = {"preset": "some", "steps": 7, "batch_size": 2, "seconds_per_step": 0.5, "start_seconds": 9.0,
          "memory_gib": 1.25, "device_memory_gib": None, "losses": {"nce": 2.0}, "faults": [], "reduced": [],
          "health": {"shade_correlation": 0.5, "cycle_change": None, "identity_change": None, "grid_ratio": 1.0,
                     "grid_levels": 0.1, "variety": 0.75, "droplet_share": 0.02, "halo_levels": 1.5,
                     "frame_levels": 0.5}}


def test_the_tables_name_faults_and_reductions():
    other = {**RESULT, "preset": "other", "faults": ["inverted", "collapse"], "reduced": ["a 2 to 1"],
             "device_memory_gib": 3.0}
    text = report([RESULT, other, {"preset": "third", "error": "a|b"}], "head")
    assert "| some | 7 of batch 2 | 0.500 | 9 | 1.25 | nce 2.00 | ok | nothing |" in text
    assert "| 1.25 + 3.00 on the device | nce 2.00 | inverted, collapse | a 2 to 1 |" in text
    assert "| some | 0.50 | – | – | 1.00 (0.1) | 0.75 | 0.02 | 1.50 | 0.50 |" in text
    assert "failed: a/b" in text
    assert all(line.count("|") == text.splitlines()[2].count("|") for line in text.splitlines()[2:7])


def test_scores_are_a_table_if_there_are_any():
    scored = {**RESULT, "score": {"fid": 250.0, "mifid": 251.0, "kid": 0.02, "count": 128, "note": "other weights"}}
    text = report([scored, RESULT], "head")
    assert "| some | 250.00 | 251.00 | 0.02 | 128 |" in text
    assert "Note: other weights." in text
    assert "FID" not in report([RESULT], "head")


def plain(level):
    return np.full([CELL, CELL, 3], level, np.uint8)


def test_cells_are_where_their_titles_and_labels_are():
    sheet = np.asarray(draw_sheet(["a", "b"], [(["first"], [plain(10), plain(20)]), (["second"], [None, plain(30)])]))
    assert sheet.shape == (HEADER + 2 * (CELL + GAP), LABEL + 2 * (CELL + GAP), 3)
    middle, right = LABEL + CELL // 2, LABEL + CELL + GAP + CELL // 2
    top, bottom = HEADER + CELL // 2, HEADER + CELL + GAP + CELL // 2
    assert [sheet[top, middle, 0], sheet[top, right, 0], sheet[bottom, middle, 0], sheet[bottom, right, 0]] == [
        10, 20, 236, 30]
    assert sheet[HEADER:HEADER + CELL, :LABEL].min() < 100  # there are letters


def test_a_system_without_a_way_back_leaves_it_blank(tmp_path):
    np.savez(tmp_path / "cut.npz", photos=[plain(50)] * 2, painted=[plain(90)] * 2)
    write_pictures([(RESULT, tmp_path / "cut.npz")], str(tmp_path / "sheet.jpg"))
    sheet = np.asarray(Image.open(tmp_path / "sheet.jpg"), int)[HEADER + CELL // 2, LABEL + CELL // 2:, 0]
    np.testing.assert_allclose(sheet[::CELL + GAP], [50, 90, 236, 50, 90, 236], atol=3)


def test_a_logit_colours_the_square_at_the_centre_of_its_patch():
    """Of 30 x 30 logits at stride 8, the first is centred on pixels 8 to 15."""
    logits = np.zeros([30, 30])
    logits[0, 0], logits[29, 29] = 5, -5
    coloured = overlay(plain(255), logits, middle=0.0, reach=5.0).astype(int)
    warmth = coloured[..., 0] - coloured[..., 2]  # orange above 0, blue below
    assert (warmth[8:16, 8:16] > 150).all()
    assert (warmth[240:248, 240:248] < -150).all()
    assert (warmth[:8] == 0).all()
    assert (warmth[16:200, 16:200] == 0).all()


def two_headed():
    image = tf.keras.Input((None, None, 3))
    heads = [tf.keras.layers.Conv2D(1, 4, strides=16, kernel_initializer=start)(image) for start in ("zeros", "ones")]
    return tf.keras.Model(image, heads)


def test_maps_have_a_row_for_each_head(tmp_path):
    maps = patch_logits(two_headed(), tf.stack([tf.zeros([256, 256, 3]), tf.ones([256, 256, 3])]))
    assert maps.shape == (2, 2, 16, 16)
    np.testing.assert_array_equal(maps[:, :, 0, 0], [[0, 0], [0, 48]])
    pictures = np.stack([plain(0), plain(255)])
    np.savez(tmp_path / "two.npz", monet_pictures=pictures, monet_maps=maps, photo_pictures=pictures,
             photo_maps=maps[:1])
    np.savez(tmp_path / "cut.npz", monet_pictures=pictures, monet_maps=maps[:1])
    write_maps([(RESULT, tmp_path / "two.npz"), (RESULT, tmp_path / "cut.npz")], str(tmp_path / "maps.jpg"))
    sheet = Image.open(tmp_path / "maps.jpg")
    assert sheet.size == (LABEL + 4 * (CELL + GAP), HEADER + 3 * (CELL + GAP))
    second_head, cut = (np.asarray(sheet)[HEADER + row * (CELL + GAP) + CELL // 2, -CELL // 2, 0] for row in (1, 2))
    assert (second_head, cut) == (236, 236)


def test_painting_in_batches_is_painting(tiny):
    generator = build_generator(tiny(), "photo_to_monet")
    images = tf.random.stateless_uniform([6, 64, 64, 3], [1, 2], -1.0, 1.0)

    def paint(batch):
        return generator([batch, tf.zeros([2], tf.int32)], training=False)

    np.testing.assert_allclose(paint_in_batches(paint, images), paint(images), atol=1e-5)
