"""A run in a mock of Kaggle's folders: its data, its time limit, how it resumes, and which files it leaves."""

import json
import re
import socket
import sys
from pathlib import Path

import pytest
from benchmark.inception_state import random_state, write_state_dict
from support.settings import NUM_MONET, NUM_PHOTO, TINY

from monet.core.config import make_config
from monet.core.errors import UserError
from monet.core.presets import PRESETS
from monet.kaggle_run import KERNEL_DECIDES, kernel_config, run_on_kaggle, try_on_kaggle, working_files
from monet.machine.kaggle_machine import OTHER_MINUTES, TPU_MINUTES, TPU_VARIABLES
from monet.scoring.inception_weights import WEIGHTS_VARIABLE
from monet.training.checkpoint import list_checkpoints
from monet.training.run_files import RunFiles
from monet.training.smoke import FullRun

pytestmark = pytest.mark.lengthy

SETTINGS = {**{name: value for name, value in TINY.items() if name not in KERNEL_DECIDES}, "accelerator": "cpu",
            "num_images": 20, "checkpoint_epochs": 1}
LEFT = ["config.json", "history.csv", "images.zip", "photo_to_monet.npz", "preview.jpg", "previews/step-00000000.jpg",
        "previews/step-00000006.jpg", "report.html", "report.json", "run.log"]


@pytest.fixture(autouse=True)
def kaggle(tmp_path, monkeypatch, small_root) -> Path:
    """A folder with Kaggle's input folder, in which the competition is mounted, and working folder."""
    (tmp_path / "input/competitions").mkdir(parents=True)
    (tmp_path / "input/competitions/gan-getting-started").symlink_to(small_root)
    (tmp_path / "working").mkdir()
    monkeypatch.setenv("MONET_KAGGLE_INPUT", str(tmp_path / "input"))
    monkeypatch.setenv("MONET_KAGGLE_WORKING", str(tmp_path / "working"))
    for name in (*TPU_VARIABLES, "MONET_STARTED"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def attach(kaggle: Path, place: str) -> None:
    """Moves the last run's output to the input, as Kaggle does if it is attached, and empties the working folder."""
    (kaggle / "input" / place).parent.mkdir(parents=True, exist_ok=True)
    (kaggle / "working").rename(kaggle / "input" / place)
    (kaggle / "working").mkdir()


def test_run_leaves_its_results_and_the_next_resumes_from_them(kaggle, capsys):
    assert run_on_kaggle(SETTINGS, "") == 0
    assert files_in(kaggle / "working") == ["checkpoints/step-00000006.npz", *LEFT]
    written = json.loads((kaggle / "working/config.json").read_text())
    assert written["max_minutes"] == 285 and written["epochs"] == 2
    history = (kaggle / "working/history.csv").read_text()
    attach(kaggle, "notebooks/someone/monet-cyclegan")
    capsys.readouterr()
    assert run_on_kaggle({**SETTINGS, "epochs": 3}, "monet-cyclegan") == 0
    assert "from step 6 to 9" in capsys.readouterr().err
    # The previews of both sessions are there, for the page.
    assert files_in(kaggle / "working") == sorted(["checkpoints/step-00000009.npz", *LEFT,
                                                   "previews/step-00000009.jpg"])
    assert (kaggle / "working/history.csv").read_text().startswith(history)
    # The cells are run again in the same session: it resumes from its own checkpoint, and nothing is left to do.
    assert run_on_kaggle({**SETTINGS, "epochs": 3}, "monet-cyclegan") == 0
    assert "Nothing is left to train" in capsys.readouterr().err


def test_the_best_generator_is_carried_to_the_next_session(kaggle, monkeypatch, capsys):
    """With an attached file of weights, named by a variable because they are not the published ones."""
    write_state_dict(kaggle / "input/narrow.pth", random_state(narrow=16))
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(kaggle / "input/narrow.pth"))
    scoring = {**SETTINGS, "select_by": "mifid", "max_minutes": 30.0}
    assert run_on_kaggle(scoring, "") == 0
    assert {"best.npz", "scores.csv"} <= set(files_in(kaggle / "working"))
    best, scores = ((kaggle / "working" / name).read_bytes() for name in ("best.npz", "scores.csv"))
    attach(kaggle, "monet-cyclegan")
    assert run_on_kaggle(scoring, "monet-cyclegan") == 0  # only painting is left to do
    assert (kaggle / "working/best.npz").read_bytes() == best
    assert (kaggle / "working/scores.csv").read_bytes() == scores
    assert "MiFID was the best" in capsys.readouterr().err


def test_failed_run_leaves_only_its_newest_checkpoint(kaggle, monkeypatch, capsys):
    """Training succeeds, then images.zip cannot be written."""
    (kaggle / "working/images.zip.part").mkdir()
    assert run_on_kaggle(SETTINGS, "") == 2
    assert "images.zip" in capsys.readouterr().err
    assert files_in(kaggle / "working/checkpoints") == ["step-00000006.npz"]


def test_smoke_run_leaves_a_table_and_nothing_else(kaggle, monkeypatch, capsys):
    """With an earlier run in the working folder, which it neither resumes nor changes."""
    before = {"images.zip": b"a zip", "checkpoints/step-00000006.npz": b"a checkpoint", "config.json": b"{}"}
    (kaggle / "working/checkpoints").mkdir()
    for name, content in before.items():
        (kaggle / "working" / name).write_bytes(content)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("MONET_INTERNET_HOST", f"127.0.0.1:{server.getsockname()[1]}")
        capsys.readouterr()
        assert try_on_kaggle({**SETTINGS, "steps_per_epoch": 4000, "epochs": 500, "num_images": 7000}) == 0
    said = capsys.readouterr().err
    after = {name: (kaggle / "working" / name).read_bytes() for name in files_in(kaggle / "working")}
    report = json.loads(after.pop("smoke.json"))
    assert after.pop("run.log") and after == before
    table = dict(report["rows"])
    assert re.fullmatch(r"1 CPU \(found: .*\)", table["device"]) and table["engine"].startswith("tensorflow, float32")
    assert f"{NUM_MONET} paintings and {NUM_PHOTO} photos found, 64 " in table["images"]
    assert table["internet"] == "on" and table["zip"].startswith("checked")
    assert "not needed" in table["Inception's weights"]
    assert "2,000,000 steps" in table["the full run"] and "the limit of 285" in table["the full run"]
    assert re.fullmatch(r"--max-minutes 285 --epochs \d+", report["options"])
    assert all(f"{name} " in said and text in said for name, text in table.items()) and report["options"] in said
    assert "refuses fewer" not in said  # 64 images are meant


@pytest.mark.parametrize(("start", "step", "painting", "minutes", "options"), [
    (300.0, 0.1, 120.0, 60, "--max-minutes 69"),  # 5 + 52.5 + 2.5 minutes; a margin of 15%
    (300.0, 0.25, 120.0, 138.75, "--max-minutes 160"),
    (600.0, 0.4, 600.0, 232.5, "--max-minutes 170 --epochs 20"),  # 10 + 210 + 12.5; 170 minutes are enough for 139
])
def test_full_runs_time_is_estimated_from_the_smoke_runs(start, step, painting, minutes, options):
    full_run = FullRun(make_config(epochs=30, steps_per_epoch=1000, max_minutes=170.0), start, step, painting)
    assert full_run.minutes == pytest.approx(minutes)
    assert full_run.options() == options


@pytest.mark.parametrize(("minutes", "presets", "needed", "options"), [
    (60.0, 0.0, 70.5, "--max-minutes 82"), (400.0, 0.0, 427.5, "--max-minutes 170 --minutes 146"),
    (400.0, 400.0, 170.0, "--max-minutes 170")])
def test_minutes_of_training_are_part_of_the_estimate(minutes, presets, needed, options, monkeypatch):
    """Those of a preset shrink by themselves."""
    monkeypatch.setitem(PRESETS, "tutorial", {"minutes": presets})
    full_run = FullRun(make_config(minutes=minutes, max_minutes=170.0), 300.0, 0.1, 120.0)
    assert full_run.minutes == pytest.approx(needed)
    assert full_run.options() == options
    assert ("earlier" in full_run.describe()) == ("--minutes" in options)


def test_resuming_without_a_checkpoint_is_refused(kaggle, capsys):
    assert run_on_kaggle(SETTINGS, "monet-cyclegan") == 2
    said = capsys.readouterr().err
    assert "monet-cyclegan" in said and "RESUME=1" in said
    assert files_in(kaggle / "working") == []


def test_attached_run_of_another_architecture_is_refused(kaggle, capsys):
    assert run_on_kaggle(SETTINGS, "") == 0
    attach(kaggle, "monet-cyclegan")
    assert run_on_kaggle({**SETTINGS, "generator_filters": 3}, "monet-cyclegan") == 2
    assert "generator_filters was 2, now 3" in capsys.readouterr().err


def test_time_limit_follows_the_machine_unless_one_is_given(monkeypatch):
    assert kernel_config({}, RunFiles("out")).max_minutes == OTHER_MINUTES == 285
    assert kernel_config({"max_minutes": 14.0}, RunFiles("out")).max_minutes == 14
    monkeypatch.setenv("ISTPUVM", "1")
    assert kernel_config({}, RunFiles("out")).max_minutes == TPU_MINUTES == 170
    assert kernel_config({"max_minutes": 14.0}, RunFiles("out")).max_minutes == 14


def test_time_limit_counts_from_the_kernels_start_not_from_the_restart(kaggle, monkeypatch, capsys):
    """If building the environment used up the time, the run paints with what it has at once."""
    monkeypatch.setenv("MONET_STARTED", "1.0")
    assert run_on_kaggle({**SETTINGS, "epochs": 100_000, "max_minutes": 0.01}, "") == 0
    assert "Stopping at step 0 of 300000" in capsys.readouterr().err
    assert "images.zip" in files_in(kaggle / "working")


def test_config_has_the_folders_of_this_machine(kaggle):
    config = kernel_config({"epochs": 3, "tensorboard": True}, working_files())
    assert config.data == f"{kaggle}/input/competitions/gan-getting-started"
    assert (config.out, config.resume, config.tensorboard) == (f"{kaggle}/working", True, False)
    assert config.epochs == 3
    assert kernel_config({"data": "gs://bucket/monets"}, working_files()).data == "gs://bucket/monets"


def test_settings_with_a_mistake_are_refused(kaggle, capsys):
    assert run_on_kaggle({"epoch": 3}, "") == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "Did you mean epochs" in said and said.count("\n") == 1
    assert run_on_kaggle({**SETTINGS, "epochs": "many"}, "") == 2
    assert "--epochs many" in capsys.readouterr().err


def test_outside_of_kaggle_it_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("MONET_KAGGLE_WORKING", "/nowhere")
    assert run_on_kaggle(SETTINGS, "") == 2
    assert "/kaggle/working" in capsys.readouterr().err


def plant_kaggle_datasets(folder: Path, monkeypatch, answer: str) -> None:
    """Writes a stand-in for Kaggle's own package, which exists only there; it returns the expression `answer`."""
    (folder / "kaggle_datasets.py").write_text(
        f"class KaggleDatasets:\n    def get_gcs_path(self, name):\n        assert name == 'gan-getting-started'\n"
        f"        return {answer}\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "kaggle_datasets", raising=False)


def test_bucket_is_used_if_nothing_is_mounted(kaggle, monkeypatch):
    plant_kaggle_datasets(kaggle, monkeypatch, "'gs://kds-bucket/gan'")
    assert kernel_config({}, working_files()).data == f"{kaggle}/input/competitions/gan-getting-started"
    (kaggle / "input/competitions/gan-getting-started").unlink()
    assert kernel_config({}, working_files()).data == "gs://kds-bucket/gan"


@pytest.mark.parametrize(("answer", "says"), [
    ("'/kaggle/input/gan-getting-started'", "competition_sources"),  # a TPU VM names the mount, which does not exist
    ("1 / 0", "division by zero"),
])
def test_missing_data_is_an_error_that_says_what_to_attach(kaggle, monkeypatch, answer, says):
    (kaggle / "input/competitions/gan-getting-started").unlink()
    plant_kaggle_datasets(kaggle, monkeypatch, answer)
    with pytest.raises(UserError, match=says):
        kernel_config({}, working_files())
    assert list_checkpoints(str(kaggle / "working")) == []
