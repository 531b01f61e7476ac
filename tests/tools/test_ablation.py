"""tools/compare.py --ablation: its file, its runs, how they are judged, and that none is done twice."""

import functools
import json
import os
import signal
import subprocess
import sys
import time

import compare
import numpy as np
import pytest
from comparison.ablation import EXAMPLE, ablation_runs, command_words, read_ablation
from comparison.ablation_report import report
from comparison.examiner import last_signals, minutes_of
from comparison.paintings import Judge, first_pictures, kernel_distance_of_all, network_features, networks_at_hand
from comparison.sheet import CELL, GAP, HEADER, LABEL
from PIL import Image
from support.settings import ROOT, TINY, TOOLS

from monet.cli import parse_command_line
from monet.core.errors import UserError
from monet.core.pixels import float_to_pixels
from monet.core.presets import PRESETS, resolve_config
from monet.data.pipeline import first_images
from monet.data.validation import find_data
from monet.scoring.health import find_faults
from monet.training.checkpoint import load_newest

CUT = "[changes.cut]\nsystem = 'cut'\ncycle_weight = 0\nidentity_weight = 0\n"


def write_file(folder, text):
    path = folder / "changes.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def runs_of(folder, text):
    path = write_file(folder, text)
    return ablation_runs(read_ablation(path), path, "somewhere", 300)


# The file.


@pytest.mark.parametrize(("text", "words"), [
    ("steps = ", "not TOML"),
    ("stepz = 3\n" + CUT, "Did you mean steps"),
    ("steps = 3\n", "no changes"),
    ("steps = 3\n[changes.nothing]\n", "no changes"),
    ("steps = 3\nchanges = ['cut']\n", "wrong type"),
    ("steps = '3'\n" + CUT, "wrong type"),
    ("steps = true\n" + CUT, "wrong type"),
    ("steps = 0\n" + CUT, "above 0"),
    ("seconds = nan\n" + CUT, "above 0"),
    ("steps = 3\nseconds = 9\n" + CUT, "either steps or seconds"),
    (CUT, "either steps or seconds"),
    ("steps = 3\nseeds = []\n" + CUT, "seeds is empty"),
    ("steps = 3\nseeds = ['one']\n" + CUT, "expected int"),
    ("steps = 3\npreset = 'cpuu'\n" + CUT, "Did you mean cpu"),
    ("steps = 3\n[changes.mine]\nmirorr = false\n", "Did you mean mirror"),
    ("steps = 3\n[settings]\nmirorr = false\n" + CUT, "Did you mean mirror"),
    ("steps = 3\n[changes.mine]\nmirror = 'no'\n", "changes.toml, mine: --mirror no"),
    ("steps = 3\n[changes.mine]\nepochs = 9\n", "epochs is no setting of a change"),
    ("steps = 3\n[changes.mine]\ncycle_weight = 2.0\n", "--cycle-weight"),
])
def test_a_mistake_in_the_file_is_a_sentence(tmp_path, capsys, text, words):
    out = tmp_path / "out"
    assert compare.main(["--ablation", write_file(tmp_path, text), "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and words in message and "changes.toml" in message
    assert not out.exists()


@pytest.mark.parametrize(("options", "words"), [
    (["--ablation", "nowhere.toml"], "nowhere.toml cannot be read"),
    (["--ablation", "some.toml", "--width", "8"], "takes no width"),
    (["--ablation", "some.toml", "cpu"], "takes no presets"),
    (["cpu", "--reference", "some.zip"], "--ablation"),
])
def test_options_that_do_not_go_together_are_refused(tmp_path, capsys, options, words):
    assert compare.main([*options, "--out", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_example_is_one(tmp_path):
    ablation = read_ablation(str(ROOT / EXAMPLE))
    names = [run.name for run in ablation_runs(ablation, EXAMPLE, "somewhere", 300)]
    assert names == ["base", *ablation.changes]


def test_a_reference_is_beside_the_file(tmp_path):
    path = write_file(tmp_path, "steps = 3\nreference = 'others.zip'\n" + CUT)
    assert read_ablation(path).reference == str(tmp_path / "others.zip")


# The runs.


def test_every_seed_trains_the_base_and_each_change(tmp_path):
    runs = runs_of(tmp_path, "steps = 3\nseeds = [1, 2, 1]\n" + CUT + "[changes.still]\nmirror = false\n")
    assert [(run.name, run.seed) for run in runs] == [
        (name, seed) for seed in (1, 2) for name in ("base", "cut", "still")]
    assert len({run.folder for run in runs}) == 6


def test_a_run_is_the_preset_at_full_size_with_its_change(tmp_path):
    runs = runs_of(tmp_path, "preset = 'gpu'\nsteps = 300\n[settings]\nbatch_size = 2\n"
                   "[changes.still]\nmirror = false\njitter = 0\n")
    base, still = (parse_command_line(command_words(run, tmp_path / "a run"))[1] for run in runs)
    expected = resolve_config({"preset": "gpu", "batch_size": 2, "epochs": 1, "steps_per_epoch": 300, "num_images": 300,
                               "data": "somewhere", "out": str(tmp_path / "a run")})
    assert base == expected
    assert {name for name in vars(base) if getattr(base, name) != getattr(still, name)} == {
        "mirror", "jitter"}


def test_a_run_ends_by_its_seconds_or_its_steps_whatever_the_preset_says(tmp_path):
    assert PRESETS["cpu"]["max_minutes"] > 0 and PRESETS["cpu"]["minutes"] > 1.5
    runs = runs_of(tmp_path, "seconds = 90\n" + CUT)
    assert all(resolve_config(run.values).minutes == 1.5 for run in runs)
    for run in runs_of(tmp_path, "steps = 90\n" + CUT):
        config = resolve_config(run.values)
        assert (config.total_steps, config.max_minutes) == (90, 0)


def test_runs_are_the_same_if_their_settings_are(tmp_path):
    base, still, default = runs_of(tmp_path, "steps = 3\n[changes.still]\nmirror = false\n"
                                   "[changes.default]\nmirror = true\n")
    assert base.digest == default.digest != still.digest
    [other, _] = runs_of(tmp_path, "steps = 4\n[changes.still]\nmirror = false\n")
    assert other.digest != base.digest and other.folder != base.folder


# The measurements.


def test_kid_is_the_unbiased_mean_discrepancy_of_the_cubic_kernel():
    random = np.random.default_rng(0)
    ours, theirs = random.normal(size=[5, 7]).astype(np.float32), random.normal(1, 1, [4, 7]).astype(np.float32)

    def mean_kernel(first, second, same):
        values = [(float(a @ b) / 7 + 1) ** 3 for i, a in enumerate(first) for j, b in enumerate(second)
                  if not same or i != j]
        return sum(values) / len(values)

    expected = mean_kernel(ours, ours, True) + mean_kernel(theirs, theirs, True) - 2 * mean_kernel(ours, theirs, False)
    assert kernel_distance_of_all(ours, theirs) == pytest.approx(1000 * expected, rel=1e-5)


def plain(*levels):
    """Pictures of one colour each, uint8 `[n, 256, 256, 3]`."""
    return np.stack([np.full([256, 256, 3], level, np.uint8) for level in levels])


def test_what_is_left_is_a_share_of_the_photos_distance():
    judge = Judge(plain((90, 90, 90), (110, 110, 110)), plain((200, 90, 90), (220, 110, 110)), networks=())
    assert judge.measure(plain((200, 90, 90), (220, 110, 110)))["left"] == {"colour": pytest.approx(1)}
    assert judge.measure(plain((90, 90, 90), (110, 110, 110)))["left"] == {"colour": pytest.approx(0, abs=1e-6)}
    assert 0.1 < judge.measure(plain((145, 90, 90), (165, 110, 110)))["left"]["colour"] < 0.9
    same = Judge(plain(90, 110), plain(90, 110), networks=())
    assert same.measure(plain(100, 200))["left"] == {"colour": None}


def write_pictures(folder, images):
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:04d}.png")
    return str(folder)


def test_pictures_are_taken_by_name_and_resized(tmp_path):
    folder = write_pictures(tmp_path / "some", [*plain(10, 20, 30, 40), np.full([64, 100, 3], 50, np.uint8)])
    assert first_pictures(folder).shape == (5, 256, 256, 3)
    assert list(first_pictures(folder, 4, every=2)[:, 0, 0, 0]) == [10, 30]
    (tmp_path / "some" / "0002.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"0002\.png"):
        first_pictures(folder)


def test_the_minutes_and_signals_of_a_history():
    rows = [{"step": "10", "seconds_per_step": "3"}, {"step": "40", "seconds_per_step": "1", "r_t": "0.25", "r_v": ""}]
    assert minutes_of(rows) == pytest.approx((10 * 3 + 30 * 1) / 60)
    assert last_signals(rows) == {"r_t": 0.25}


@pytest.fixture
def networks(peers):
    """The names of the networks that judge. Without them a test is skipped, or fails in CI."""
    names = networks_at_hand()
    if not names:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("PyTorch's environment has no networks that judge")
    return names


@pytest.mark.lengthy
def test_to_networks_other_photos_are_nearer_than_noise(networks, full_root):
    """And a picture's features do not depend on what stands beside it in a batch."""
    photos = float_to_pixels(first_images(find_data(full_root).photo, 16, 256))
    noise = np.random.default_rng(0).integers(0, 256, photos.shape, np.uint8)
    for network in networks:
        features = network_features(network, np.concatenate([photos, noise, photos[::-1]]))
        assert features.shape == (3 * 16, 1280) and np.isfinite(features).all()
        np.testing.assert_allclose(features[32:][::-1], features[:16], rtol=1e-3, atol=1e-3)
        first, second = features[:8], features[8:16]
        assert kernel_distance_of_all(first, second) < kernel_distance_of_all(features[16:32], features[:16])


# The table.

RESULT = {"name": "base", "seed": 0, "updates": 4800, "seconds_per_step": 0.1, "faults": [], "signals": {"r_t": 0.5},
          "left": {"kid_lite0": 0.75, "fid_lite0": 0.9, "colour": None}}


def test_the_table_has_the_columns_that_were_measured():
    other = {**RESULT, "name": "cut", "faults": ["collapse"], "signals": {}}
    text = report([RESULT, other, {"name": "odd", "seed": 0, "error": "a|b"}], "head")
    assert "| change | seed | updates | seconds a step | KID left (lite0) | colour left | health | r_t |" in text
    assert "| base | 0 | 4,800 | 0.100 | 0.75 | – | ok | 0.50 |" in text
    assert "| cut | 0 | 4,800 | 0.100 | 0.75 | – | collapse | – |" in text
    assert "| odd | 0 |  |  |  |  | failed: a/b |  |" in text
    bare = report([{**RESULT, "left": {}, "signals": {}}], "head")
    assert "| change | seed | updates | seconds a step | health |" in bare


# All together.

SMALL = {name: TINY[name] for name in ("generator_filters", "generator_levels", "discriminator_filters", "image_size",
                                       "jitter", "batch_size")}
TEXT = "steps = 3\n[settings]\n{}\n[changes.odd]\nimage_pool = 1\n".format(
    "\n".join(f"{name} = {value}" for name, value in {**SMALL, "tensorboard": "false"}.items()))


@pytest.mark.lengthy
def test_what_is_done_is_not_done_again_and_a_run_that_fails_stops_no_other(small_root, tmp_path, monkeypatch, capsys):
    """A pool of one picture cannot hold a batch of two, which only the run itself notices."""
    monkeypatch.setenv("MONET_PEERS", str(tmp_path / "nothing"))
    out, others = tmp_path / "out", write_pictures(tmp_path / "others", plain(60, 90, 120))
    start = functools.partial(compare.main, ["--ablation", write_file(tmp_path, TEXT), "--data", small_root, "--out",
                                             str(out)])
    assert start() == 1
    assert "--reference" in capsys.readouterr().err
    base, odd = json.loads((out / "ablation.json").read_text())
    assert (base["name"], base["updates"], base["faults"]) == ("base", 3, find_faults(base["health"]))
    assert "--image-pool 1" in odd["error"]
    assert Image.open(out / "ablation.jpg").size == (LABEL + 4 * (CELL + GAP), HEADER + 2 * (CELL + GAP))
    [log] = out.glob("base-*/run.log")
    trained = log.read_bytes()
    assert compare.main(["--ablation", str(tmp_path / "changes.toml"), "--data", small_root, "--out", str(out),
                         "--reference", others]) == 1
    assert "make peers" in capsys.readouterr().err
    again = json.loads((out / "ablation.json").read_text())
    assert log.read_bytes() == trained
    assert set(again[0]["left"]) == {"colour"} and "left" not in base
    assert "| odd | 0 |" in (out / "ablation.md").read_text()


@pytest.mark.lengthy
def test_an_interrupted_run_is_saved(small_root, tmp_path):
    out, path = tmp_path / "out", write_file(tmp_path, TEXT.replace("steps = 3", "steps = 100000"))
    command = [sys.executable, str(TOOLS / "compare.py"), "--ablation", path, "--data", small_root, "--out", str(out)]
    # Where the tests run in the background, a shell has SIGINT ignored, which a child inherits.
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True,
                          preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as process:
        while not (history := list(out.glob("base-*/history.csv"))) or len(history[0].read_text().splitlines()) < 3:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert "Interrupted" in errors and "Traceback" not in errors
    folder = history[0].parent
    assert load_newest(str(folder / "checkpoints"))[0].step >= 25
    assert not (folder / "result.json").exists()
