"""monet.core.progress: intervals and log lines, with a clock that the tests turn."""

import logging

import pytest

from monet.core.progress import LOG_INTERVAL, Interval, progress_bar


class Clock:
    """A clock that shows `time`."""

    def __init__(self):
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock():
    return Clock()


def due_times(interval, clock, times):
    """The times at which the interval is due, when asked at each of `times`."""
    due = []
    for clock.time in times:
        if interval.due():
            due.append(clock.time)
    return due


def test_an_interval_is_due_once_per_period(clock):
    assert due_times(Interval(10.0, clock), clock, range(101, 135)) == [110, 120, 130]


def test_an_interval_starts_anew_when_a_late_caller_is_told(clock):
    assert due_times(Interval(10.0, clock), clock, [100, 109.9, 125, 126, 134, 135, 144.9]) == [125, 135]


def test_an_interval_of_0_is_always_due_and_of_infinity_never(clock):
    assert due_times(Interval(0.0, clock), clock, [100, 100, 101]) == [100, 100, 101]
    assert due_times(Interval(float("inf"), clock), clock, [100, 1e9]) == []


def test_without_a_terminal_progress_is_logged_once_per_interval(clock, caplog):
    caplog.set_level(logging.INFO, "monet")
    with progress_bar("Training", 1000, "step", initial=100, clock=clock) as show:
        for done in range(101, 201):  # 1 step per second
            clock.time += 1
            show(done, f"loss {done}")
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 100 // LOG_INTERVAL
    assert lines[0] == "Training: 130 of 1000 steps, 1.0 a second, 14:30 left: loss 130"


def test_a_total_that_is_found_late_is_shown_from_then_on(clock, caplog):
    caplog.set_level(logging.INFO, "monet")
    with progress_bar("Training", None, "step", clock=clock) as show:
        for done, total in ((30, None), (60, 120)):
            clock.time += LOG_INTERVAL
            show(done, total=total)
    assert [record.getMessage() for record in caplog.records] == [
        "Training: 30 steps, 1.0 a second", "Training: 60 of 120 steps, 1.0 a second, 01:00 left"]


def test_on_a_terminal_a_bar_shows_label_count_and_note(clock, capsys, monkeypatch, caplog):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress_bar("Painting", 40, clock=clock) as show:
        clock.time += 2 * LOG_INTERVAL
        show(30, "so far")
    shown = capsys.readouterr().err
    assert "Painting:  75%" in shown and "30/40" in shown and "so far" in shown
    assert not caplog.records
