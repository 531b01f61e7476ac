"""monet.cli: every command as a user types it, on real records, and the messages for mistakes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import zipfile

import pytest
from PIL import Image

from monet import cli
from monet.core.presets import PRESETS, resolve_config
from monet.data.records import read_examples
from monet.data.writing import write_records
from monet.networks.build import build_generator
from monet.training.arrays import export_network

TINY = ["--generator-filters", "2", "--generator-levels", "3", "--discriminator-filters", "2", "--image-size", "64",
        "--jitter", "72", "--epochs", "1", "--steps-per-epoch", "2", "--tensorboard", "false"]


def monet(*arguments):
    return cli.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def run_folder(small_root, tmp_path_factory):
    """A finished small run."""
    out = tmp_path_factory.mktemp("run") / "out"
    assert monet("run", "--data", small_root, "--out", out, "--num-images", "40", *TINY) == 0
    return out


def test_run_trains_generates_and_checks(run_folder):
    expected = {"checkpoints", "config.json", "history.csv", "images.zip", "photo_to_monet.npz", "preview.jpg",
                "previews", "report.html", "report.json", "run.log"}
    assert {path.name for path in run_folder.iterdir()} == expected
    with zipfile.ZipFile(run_folder / "images.zip") as archive:
        assert archive.namelist() == [f"{number:04d}.jpg" for number in range(1, 41)]
        for name in archive.namelist():
            picture = Image.open(archive.open(name))
            assert (picture.size, picture.mode, picture.format) == ((256, 256), "RGB", "JPEG")
    log = (run_folder / "run.log").read_text()
    assert "40 images" in log and "7000" in log


def test_check_rejects_a_submission_that_run_allows_as_a_trial(run_folder, capsys):
    assert monet("check", run_folder / "images.zip") == 2
    assert "40" in capsys.readouterr().out


def test_generate_paints_the_submission_of_a_run(run_folder, small_root):
    first = (run_folder / "images.zip").read_bytes()
    assert monet("generate", "--out", run_folder) == 0
    assert (run_folder / "images.zip").read_bytes() == first


def test_generate_falls_back_to_the_exported_generator(run_folder):
    first = (run_folder / "images.zip").read_bytes()
    (run_folder / "checkpoints").rename(run_folder / "kept")
    try:
        assert monet("generate", "--out", run_folder) == 0
        assert (run_folder / "images.zip").read_bytes() == first
    finally:
        (run_folder / "kept").rename(run_folder / "checkpoints")


def test_a_run_resumes_from_the_checkpoint_before_a_damaged_one(run_folder, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(run_folder, out)
    newest = out / "checkpoints" / "step-00000002.npz"
    shutil.copy(newest, out / "checkpoints" / "step-00000003.npz")
    os.truncate(out / "checkpoints" / "step-00000003.npz", 1000)
    assert monet("train", "--config", out / "config.json", "--out", out, "--steps-per-epoch", "4") == 0
    log = (out / "run.log").read_text()
    assert "step-00000003.npz cannot be read" in log
    assert "Resuming from step 2" in log
    assert (out / "checkpoints" / "step-00000004.npz").exists()


def test_a_full_disk_ends_a_run_with_a_message(small_root, tmp_path):
    """A limit of 20 kB per file makes writes fail as on a full disk."""
    code = """
        import resource, signal, sys
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        from monet.cli import main
        sys.exit(main(sys.argv[1:]))
        """
    out = tmp_path / "out"
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code), "run", "--data", small_root, "--out", str(out),
                          *TINY], capture_output=True, text=True, timeout=120)
    assert run.returncode == 2, run.stderr
    assert "error: The disk is full" in run.stderr
    assert "Traceback" not in run.stderr
    assert not list(out.rglob("*.part"))


def test_generate_paints_any_pictures(run_folder, tmp_path):
    (tmp_path / "mine").mkdir()
    Image.new("RGB", (100, 37), "red").save(tmp_path / "mine" / "red.png")
    Image.new("L", (300, 200), 90).save(tmp_path / "mine" / "grey.jpg")
    out = tmp_path / "out"
    Image.new("RGB", (32, 32), "blue").save(tmp_path / "blue.png")
    assert monet("generate", "--config", run_folder / "config.json", "--out", out, "--images", tmp_path / "mine",
                 tmp_path / "blue.png", "--weights", run_folder / "photo_to_monet.npz") == 0
    assert {path.name: Image.open(path).size for path in (out / "painted").iterdir()} == {
        "red.jpg": (100, 37), "grey.jpg": (300, 200), "blue.jpg": (32, 32)}


@pytest.mark.parametrize("direction", ["photo_to_monet", "monet_to_photo"])
def test_generate_paints_with_an_older_checkpoint(run_folder, tmp_path, direction):
    """Named from here or from the run's folder. It has other weights than the newest, which paint otherwise."""
    out = shutil.copytree(run_folder, tmp_path / "out")
    old = shutil.copy(out / "checkpoints" / "step-00000002.npz", tmp_path / "old.npz")
    Image.linear_gradient("L").save(tmp_path / "grey.png")

    def painted(*weights):
        assert monet("generate", "--out", out, "--direction", direction, "--images", tmp_path / "grey.png",
                     *weights) == 0
        folder = "painted" if direction == "photo_to_monet" else "painted-back"
        return (out / folder / "grey.jpg").read_bytes()

    first = painted()
    assert monet("train", "--config", out / "config.json", "--out", out, "--epochs", "9") == 0
    shutil.copy(old, out / "checkpoints" / "step-00000001.npz")
    assert painted() != first
    assert painted("--weights", old) == first
    assert painted("--weights", "checkpoints/step-00000001.npz") == first


def test_generate_paints_in_the_other_direction(run_folder, small_root, tmp_path):
    assert monet("generate", "--out", run_folder, "--direction", "monet_to_photo") == 0
    with zipfile.ZipFile(run_folder / "photos.zip") as archive:
        assert len(archive.namelist()) == 40  # the run's --num-images
    assert monet("generate", "--out", run_folder, "--direction", "monet_to_photo", "--num-images", "0") == 0
    with zipfile.ZipFile(run_folder / "photos.zip") as archive:
        assert len(archive.namelist()) == 10  # every painting once
    (run_folder / "photos.zip").unlink()


def test_generate_rejects_the_generator_of_the_other_direction(run_folder, capsys):
    assert monet("generate", "--out", run_folder, "--direction", "monet_to_photo", "--weights",
                 run_folder / "photo_to_monet.npz") == 2
    printed = capsys.readouterr().err
    assert "photo_to_monet.npz" in printed and "--direction" in printed


@pytest.mark.parametrize("preset", PRESETS)
def test_generate_works_for_every_preset_and_direction(preset, small_root, tmp_path, capsys):
    small = ["--generator-filters", "2", "--data", small_root, "--out", tmp_path / "out"]
    config = resolve_config({"preset": preset, "generator_filters": 2})
    Image.new("RGB", (70, 50), "red").save(tmp_path / "red.png")
    for direction in ("photo_to_monet", "monet_to_photo"):
        export_network(build_generator(config, direction), str(tmp_path / "weights.npz"))
        command = ["generate", "--preset", preset, *small, "--weights", tmp_path / "weights.npz",
                   "--direction", direction]
        if config.system == "cut" and direction == "monet_to_photo":
            assert monet(*command) == 2
            assert "--direction monet_to_photo: --system cut" in capsys.readouterr().err
            continue
        assert monet(*command, "--images", tmp_path / "red.png") == 0
        folder = tmp_path / "out" / ("painted" if direction == "photo_to_monet" else "painted-back")
        assert Image.open(folder / "red.jpg").size == (70, 50)


def test_describe_shows_settings_networks_device_and_data(run_folder, capsys):
    assert monet("describe", "--config", run_folder / "config.json") == 0
    printed = capsys.readouterr().out
    for part in ("* generator_filters      2", "  learning_rate          0.0002", "photo_to_monet", "parameters", "CPU",
                 "10 paintings and 16 photos"):
        assert part in printed


def test_a_run_can_be_repeated_from_its_config_json(run_folder, tmp_path):
    assert monet("run", "--config", run_folder / "config.json", "--out", tmp_path / "again") == 0
    settings = [json.loads((out / "config.json").read_text()) for out in (run_folder, tmp_path / "again")]
    assert {name for name in settings[0] if settings[0][name] != settings[1][name]} == {"out"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_config_json_may_come_out_of_any_editor(encoding, tmp_path):
    (tmp_path / "config.json").write_text('{"epochs": 3, "jitter_size": 300}', encoding=encoding)
    _, config = cli.parse_command_line(["run", "--config", str(tmp_path / "config.json")])
    assert (config.epochs, config.jitter) == (3, 300)


def test_a_quoted_tilde_is_the_home_folder_in_every_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "config.json").write_text('{"epochs": 3, "data": "~/monets"}')
    arguments, config = cli.parse_command_line([
        "generate", "--config", "~/config.json", "--out=~/out", "--images", "~/mine", "--weights", "~/w.npz"])
    paths = (config.data, config.out, *arguments.images, arguments.weights)
    assert paths == tuple(str(tmp_path / name) for name in ("monets", "out", "mine", "w.npz"))
    assert cli.parse_command_line(["check", "~/images.zip"])[0].path == str(tmp_path / "images.zip")


@pytest.mark.parametrize(("arguments", "message"), [
    (["run", "--epoch", "3"], "'epoch'. Did you mean epochs?"),
    (["run", "--epochs"], "expected one argument"),
    (["run", "--epochs", "0"], "--epochs 0: must be at least 1"),
    (["run", "--preset", "tutorail"], "Did you mean tutorial or tf-tutorial?"),
    (["run", "photos"], "argument photos"),
    (["paint"], "invalid choice: 'paint'"),
    ([], "required: command"),
    (["run", "--data", "nowhere"], "nowhere"),
    (["check", "nowhere.zip"], "nowhere.zip"),
    (["describe", "--system", "cyclgan"], "Did you mean cyclegan?"),
    (["run", "--config", "nowhere.json"], "nowhere.json cannot be read"),
    (["describe", "--diffaugment", "colour"], "--diffaugment colour: there is no such diffaugment. Did you mean color"),
    (["describe", "--cycle-loss", "l3"], "--cycle-loss l3: there is no such cycle_loss."),
    (["describe", "--discriminator-loss", "wgan"], "--discriminator-loss wgan: there is no such discriminator_loss."),
    (["generate", "--direction", "back"], "Argument --direction: invalid choice: 'back'"),
])
def test_mistakes_end_with_a_message_and_status_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert monet(*arguments) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed


def test_without_any_data_the_message_says_where_it_is_expected(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MONET_KAGGLE_INPUT", str(tmp_path))
    assert monet("run") == 2
    printed = capsys.readouterr().err
    assert "data/gan-getting-started" in printed and "--data FOLDER" in printed


def test_out_that_is_a_file_is_rejected(small_root, tmp_path, capsys):
    (tmp_path / "out").write_text("precious")
    assert monet("run", "--data", small_root, "--out", tmp_path / "out", *TINY) == 2
    assert f"--out {tmp_path}/out" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "precious"


def test_weights_that_are_none_are_rejected(run_folder, tmp_path, capsys):
    for weights in (tmp_path / "absent.npz", run_folder / "checkpoints", run_folder / "config.json"):
        assert monet("generate", "--out", run_folder, "--weights", weights, "--images", "x.jpg") == 2
        assert f"{weights} is no generator" in capsys.readouterr().err


def test_generate_without_a_run_is_an_error(small_root, tmp_path, capsys):
    assert monet("generate", "--data", small_root, "--out", tmp_path, *TINY) == 2
    assert "no trained generator" in capsys.readouterr().err


def test_one_bad_picture_of_many_is_skipped_and_logged(small_data, tmp_path):
    """One of 120 photos is not a JPEG."""
    rows = [("same", example["image"].numpy()) for example in read_examples(small_data.photo)]
    for side, count in (("monet", 10), ("photo", 120)):
        (tmp_path / f"{side}_tfrec").mkdir()
        images = [rows[k % len(rows)] for k in range(count)]
        images[3] = ("broken", b"no JPEG") if side == "photo" else images[3]
        write_records(str(tmp_path / f"{side}_tfrec" / f"{side}.tfrec"), images, side)
    assert monet("train", "--data", tmp_path, "--out", tmp_path / "out", *TINY) == 0
    assert "10 paintings and 119 photos" in (tmp_path / "out" / "run.log").read_text()


def wait_for(condition, seconds, process):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "timed out"
        time.sleep(0.1)


@pytest.mark.lengthy
def test_ctrl_c_saves_and_exits_with_130(small_root, tmp_path, capsys):
    """A real process gets a real SIGINT; then the same command resumes from there."""
    out = tmp_path / "out"
    command = ["train", "--data", small_root, "--out", str(out), *TINY, "--epochs", "100000", "--checkpoint-minutes",
               "0.02"]
    process = subprocess.Popen([sys.executable, "-m", "monet", *command], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    wait_for(lambda: os.path.isdir(out / "checkpoints") and os.listdir(out / "checkpoints"), 120, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    steps = max(int(name[5:13]) for name in os.listdir(out / "checkpoints"))
    assert monet(*command, "--epochs", str(steps // 2 + 1)) == 0
    assert f"Resuming from step {steps}" in capsys.readouterr().err
