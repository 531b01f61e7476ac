"""tools/bench.py's rows about scaling, about local-train and about accelerators, whose code runs on a CPU, too."""

import subprocess
import sys
import time

from console import module_environment

import pytest
from benchmark import accelerator
from benchmark.local_train import local_train_rows
from benchmark.measure import peak_memory_gib
from benchmark.process import Worker
from benchmark.quality import NO_REFERENCE, quality_rows
from benchmark.rows import PAIRS, Row, paired_row
from benchmark.scaling import fit_line, line_rows, step_rows
from PIL import Image
from support.settings import TINY

from monet.core.config import Config
from monet.core.errors import UserError

TINY_NETWORKS = {name: TINY[name] for name in TINY if name not in ("batch_size", "epochs", "steps_per_epoch")}


def test_the_slope_of_a_line_and_the_distance_of_a_point_from_it():
    assert fit_line([1, 2, 4], [3.0, 5.0, 9.0]) == pytest.approx((2.0, 0.0))
    assert fit_line([0, 1, 2], [1.0, 2.5, 1.0]) == pytest.approx((0.0, 2 / 3))  # the flat line at 1.5


def test_a_curve_shows_in_the_row_about_straightness():
    slope, straight = line_rows("growth", "it grows", "s", (1, 2, 4, 8), [[1, 4, 16, 64], [1, 2, 4, 8]])
    assert slope.ours[1] == pytest.approx(1.0)
    assert straight.ours[0] > 0.5
    assert straight.ours[1] == pytest.approx(0.0, abs=1e-9)
    assert "1, 2, 4, 8" in slope.line()


def test_small_and_large_figures_keep_three_digits():
    assert "| 0.0158 s | theirs: 2,452 | 6.44e-06 (" in Row("row", "claim", "s", [0.01579], "theirs", [2452.08]).line()
    assert "| 17.8 s | theirs: 0.00155 |" in Row("row", "claim", "s", [17.77], "theirs", [0.00155]).line()
    assert "| 10.0 s | theirs: 100 |" in Row("row", "claim", "s", [9.999], "theirs", [99.96]).line()
    assert "| 0.00 of each |" in Row("row", "claim", "of each", [0.0]).line()


def test_a_ratio_is_ours_over_the_peers_of_the_same_pair():
    row = paired_row("row", "claim", "s", "theirs", [(1.0, 2.0), (9.0, 3.0), (4.0, 4.0)])
    assert row.ratios() == [0.5, 3.0, 1.0]
    assert "| 4.00 s | theirs: 3.00 | 1.00 (0.500 to 3.00) |" in row.line()


WORKER = """
import time
from benchmark.measure import answer_requests, report
report(42.0)
answer_requests(lambda line: time.sleep(float(line)))
"""


def test_a_worker_measures_its_work_and_its_memory():
    with Worker([sys.executable, "-c", WORKER]) as worker:
        assert worker.first_seconds == 42.0
        assert 0.2 <= worker.repeat(0.2) < 5
        assert 0.001 < worker.peak_gib < 0.1
    assert worker.process.returncode == 0


def test_a_worker_that_dies_is_an_error():
    with pytest.raises(RuntimeError, match="status 3"):
        Worker([sys.executable, "-c", "raise SystemExit(3)"])


def test_the_peak_memory_of_a_process_is_its_own():
    """Not its parent's, which may have measured much before; this one holds TensorFlow."""
    command = "from benchmark.measure import peak_memory_gib; print(peak_memory_gib())"
    output = subprocess.run([sys.executable, "-c", command], env=module_environment(), capture_output=True,
                            check=True).stdout
    assert 0.001 < float(output) < 0.1 < peak_memory_gib()


@pytest.mark.lengthy
def test_the_step_grows_with_the_batch():
    slope, straight = step_rows("cpu", (1, 8), **TINY_NETWORKS | {"generator_filters": 8})
    assert len(slope.ours) == len(straight.ours) == PAIRS
    assert min(slope.ours) > 0  # from the step at 8 and that at 1


@pytest.mark.lengthy
def test_local_train_is_measured(small_data):
    minutes, memory = local_train_rows(small_data, "--num-images", "8", "--epochs", "1", "--steps-per-epoch", "1",
                                       "--generator-filters", "2", "--discriminator-filters", "2")
    assert 0 < minutes.ours[0] < 5
    assert 0.2 < memory.ours[0] < 2


def test_without_a_reference_the_quality_is_left_out_and_a_missing_one_is_an_error(small_data, tmp_path):
    [row] = quality_rows(small_data)
    assert (row.ours, row.peer_name) == ([], NO_REFERENCE)
    with pytest.raises(UserError, match=r"none\.zip does not exist"):
        quality_rows(small_data, str(tmp_path / "none.zip"))


@pytest.mark.lengthy
def test_the_quality_of_local_train_is_measured(small_data, tmp_path, monkeypatch):
    """By colour alone, as without PyTorch's environment; the reference is any folder of pictures."""
    monkeypatch.setenv("MONET_PEERS", str(tmp_path / "nothing"))
    (tmp_path / "others").mkdir()
    for number, level in enumerate((60, 120)):
        Image.new("RGB", (256, 256), (level, level, level)).save(tmp_path / "others" / f"{number}.png")
    rows = quality_rows(small_data, str(tmp_path / "others"), "--epochs", "1", "--steps-per-epoch", "2",
                        "--generator-filters", "2", "--discriminator-filters", "2")
    kid, colour, halos, frame, minutes = rows
    assert not kid.ours and "make peers" in kid.line()
    assert 0 < colour.ours[0] < 3
    assert 0 <= halos.ours[0] < 20 and 0 <= frame.ours[0] < 20
    assert 0 < minutes.ours[0] < 2


class KnownTraining:
    """Stands in for training on an accelerator whose seconds per step are known from the settings."""

    def __init__(self, config: Config, data):
        self.config = config

    def seconds_per_step(self) -> float:
        config = self.config
        return ((0.25 + 0.75 * config.batch_size) * {"auto": 1, "float32": 2}[config.precision]
                * {"auto": 1, "on": 1, "off": 4}[config.xla] * {1: 8, 25: 1}[config.steps_per_call])


def test_accelerator_rows_compare_the_settings_that_they_name(small_data, monkeypatch):
    monkeypatch.setattr(accelerator, "TimedTraining", KnownTraining)
    rows = {row.name: row for row in accelerator.accelerator_rows(small_data, batches=(1, 2, 16))}
    assert {name: row.peer_name for name, row in rows.items()} == {
        "precision": "--precision float32", "xla": "--xla off", "steps-per-call": "--steps-per-call 1",
        "batch 2": "batch 1", "batch 16": "batch 1"}
    at_16 = 0.25 + 0.75 * 16  # seconds per step
    assert rows["precision"].ours == (at_16,) * PAIRS and rows["precision"].ratios() == [1 / 2] * PAIRS
    assert rows["xla"].ours == (at_16,) * PAIRS and rows["xla"].ratios() == [1 / 4] * PAIRS
    assert rows["steps-per-call"].ours == (1.0,) * PAIRS and rows["steps-per-call"].ratios() == [1 / 8] * PAIRS
    assert rows["batch 2"].ours == (2 / 1.75,) * PAIRS  # pairs per second
    assert rows["batch 16"].ours == (16 / at_16,) * PAIRS
    assert rows["batch 2"].peer == rows["batch 16"].peer == (1.0,) * PAIRS


def test_batches_are_of_all_replicas_together(small_data, monkeypatch):
    monkeypatch.setattr(accelerator, "TimedTraining", KnownTraining)
    [row] = accelerator.batch_rows(small_data, {"steps_per_call": 25}, (1, 2), replicas=4)
    assert (row.name, row.peer_name) == ("batch 8", "batch 4")
    assert row.ours[0] == pytest.approx(8 / 6.25) and row.peer[0] == pytest.approx(4 / 3.25)


@pytest.mark.lengthy
@pytest.mark.parametrize("settings", [{"steps_per_call": 3, "xla": "on"}, {"steps_per_call": 1}])
def test_the_seconds_of_a_call_are_divided_by_its_steps(small_data, settings):
    config = accelerator.training_config({**TINY_NETWORKS, "batch_size": 2, **settings})
    assert {name: getattr(config, name) for name in settings} == settings
    training = accelerator.TimedTraining(config, small_data)
    assert training.step == training.engine.position == config.steps_per_call
    started = time.monotonic()
    seconds = [training.seconds_per_step() for _ in range(4)]
    elapsed = time.monotonic() - started
    assert training.step == training.engine.position == 5 * config.steps_per_call
    assert 0.5 * elapsed < config.steps_per_call * sum(seconds) <= elapsed


def test_without_an_accelerator_there_is_none():
    assert not accelerator.has_accelerator()
