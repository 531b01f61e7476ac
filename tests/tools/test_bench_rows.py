"""The rows of tools/bench.py that are about growth, and those for accelerators, whose code runs on a CPU, too."""
import numpy as np
import pytest
from bench import local_train_rows
from benchmark.accelerator import accelerator_rows, has_accelerator
from benchmark.rows import Row
from benchmark.scaling import line_of, line_rows, step_rows
from support.settings import TINY


def test_the_slope_of_a_line_and_how_far_a_point_is_from_it():
    assert line_of([1, 2, 4], [3.0, 5.0, 9.0]) == pytest.approx((2.0, 0.0))
    slope, bend = line_of([0, 1, 2], [1.0, 2.5, 1.0])  # the flat line at 1.5
    assert (slope, bend) == pytest.approx((0.0, 2 / 3))


def test_a_curve_shows_in_the_row_for_straightness():
    slope, straight = line_rows("growth", "it grows", "s", (1, 2, 4, 8), [[1, 4, 16, 64], [1, 2, 4, 8]])
    assert slope.ours[1] == pytest.approx(1.0)
    assert straight.ours[0] > 0.5
    assert straight.ours[1] == pytest.approx(0.0, abs=1e-9)
    assert "1, 2, 4, 8" in slope.line()


def test_small_and_large_figures_keep_three_digits():
    assert "| 0.0158 s | theirs: 2,452 | 6.44e-06 (" in Row("row", "claim", "s", [0.01579], "theirs", (2452.08,)).line()
    assert "| 17.8 s | theirs: 0.00155 |" in Row("row", "claim", "s", [17.77], "theirs", (0.00155,)).line()
    assert "| 10.0 s | theirs: 100 |" in Row("row", "claim", "s", [9.999], "theirs", (99.96,)).line()
    assert "| 0.00 of each |" in Row("row", "claim", "of each", [0.0]).line()


@pytest.mark.lengthy
def test_steps_of_every_batch_are_measured():
    slope, straight = step_rows("cpu", (1, 4))
    assert len(slope.ours) == len(straight.ours) == 5
    assert min(slope.ours) > 0  # of the step at 4 over that at 1


@pytest.mark.lengthy
def test_the_memory_of_local_train_is_its_own(small_data):
    """Not that of the process which starts it, and which may have measured much before."""
    held = np.ones(2**28)  # 2 GiB
    minutes, memory = local_train_rows(small_data, "--num-images", "8", "--epochs", "1", "--steps-per-epoch", "1",
                                       "--generator-filters", "2", "--discriminator-filters", "2")
    assert held.all()
    assert 0 < minutes.ours[0] < 5
    assert 0.2 < memory.ours[0] < 2


@pytest.mark.lengthy
def test_the_rows_for_accelerators_measure_what_they_say(small_data):
    settings = {name: TINY[name] for name in TINY if name not in ("batch_size", "epochs", "steps_per_epoch")}
    rows = accelerator_rows(small_data, call=3, batch=2, batches=(1, 2), **settings)
    assert [(row.name, row.peer_name) for row in rows] == [
        ("precision", "--precision float32"), ("xla", "--xla off"), ("steps-per-call", "--steps-per-call 1"),
        ("batch 2", "batch 1")]
    assert all(len(row.ours) == len(row.peer) == 5 and min(*row.ours, *row.peer) > 0 for row in rows)


def test_the_rows_for_accelerators_are_left_out_without_one():
    assert not has_accelerator()
