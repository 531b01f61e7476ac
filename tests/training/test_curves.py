"""The loss curves as SVG: what is drawn, and where."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from monet.core.line_plot import ACROSS_X, ACROSS_Y, MAX_POINTS, curve, ticks
from monet.training.curves import loss_curves

HISTORY = """step,epoch,seconds_per_step,cycle,photo_to_monet
25,1,0.1,3.0,0.5
50,1,0.1,2.0,0.5
100,2,0.1,1.0,0.5
"""


def write(tmp_path, text):
    (tmp_path / "history.csv").write_text(text)
    return str(tmp_path / "history.csv")


def lines_of(picture):
    """The points of each line, `[n, 2]`."""
    return [np.array([point.split(",") for point in text.split()], float)
            for text in re.findall(r'points="([^"]*)"', picture)]


def test_each_loss_has_a_curve_from_its_first_to_its_last_step(tmp_path):
    picture = loss_curves(write(tmp_path, HISTORY))
    ElementTree.fromstring(picture.replace("<br>", "<br/>"))  # well-formed
    lines = lines_of(picture)
    assert len(lines) == 2 * 2  # each value, and the running mean
    (x, y), (_, middle), (right, bottom) = lines[0]
    assert (x, y) == (ACROSS_X[0], ACROSS_Y[1]) and (right, bottom) == (ACROSS_X[1], ACROSS_Y[0])
    assert middle == pytest.approx((y + bottom) / 2, abs=0.1)
    assert "cycle</b> 1<" in picture and "photo_to_monet</b> 0.5<" in picture and ">100<" in picture
    assert not re.search("nan|inf", "".join(re.findall(r'points="[^"]*"', picture)))  # the second loss never changes


def test_a_history_without_losses_gives_a_sentence(tmp_path):
    assert loss_curves(write(tmp_path, "")).endswith(".")
    assert loss_curves(str(tmp_path / "none.csv")).endswith(".")


def test_a_history_of_one_row_is_drawn(tmp_path):
    assert "<svg" in loss_curves(write(tmp_path, "\n".join(HISTORY.splitlines()[:2])))


def test_values_that_are_no_numbers_are_left_out(tmp_path):
    picture = loss_curves(write(tmp_path, HISTORY.replace("2.0", "nan").replace("3.0", "oops") + "125,2,0.1\n"))
    assert len(lines_of(picture)[0]) == 1
    assert curve("loss", [1], [float("nan")]) == ""


def test_a_long_history_is_thinned_and_an_outlier_does_not_flatten_it():
    values = np.linspace(1, 0, 10_000)
    values[5000] = 1e6
    line, mean = lines_of(curve("loss", range(10_000), values))
    assert len(line) == len(mean) == MAX_POINTS
    for y in (line[:, 1], mean[:, 1]):
        assert np.ptp(y) > 0.9 * abs(np.subtract(*ACROSS_Y))
        assert y.min() >= ACROSS_Y[1] and y.max() <= ACROSS_Y[0]


def test_a_name_is_escaped():
    assert "<script" not in curve('<script>"', [1], [2.0])


def test_ticks_are_round_numbers():
    assert ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])


OVERFITTING = """step,epoch,seconds_per_step,cycle,d_trained,d_held_out,d_fake,r_t,r_v
25,1,0.1,3.0,,,,,
50,1,0.1,2.0,0.5,0.4,-0.5,0.2,77.0
75,2,0.1,2.0,0.75,0.25,-0.25,0.5,0.5
"""


def test_signals_of_overfitting_share_a_frame_and_outputs_another(tmp_path):
    picture = loss_curves(write(tmp_path, OVERFITTING))
    ElementTree.fromstring(picture.replace("<br>", "<br/>"))
    [_, signals, outputs] = picture.split("<figure")[1:]
    for words in ("r_t</b> 0.5", "r_v</b> 0.5"):
        assert words in signals
    for words in ("d_trained</b> 0.75", "d_held_out</b> 0.25", "d_fake</b> -0.25"):
        assert words in outputs
    assert [len(lines_of(part)) for part in (signals, outputs)] == [2 * 3, 3 * 3]  # with a piece in the caption
    assert [len(line) for line in lines_of(signals.split("figcaption")[-1])] == [2] * 4


def test_what_was_not_held_out_has_no_curve(tmp_path):
    text = "step,d_trained,d_held_out,d_fake,r_t,r_v\n25,0.5,,0.1,0.2,\n50,0.5,,0.1,0.3,\n"
    picture = loss_curves(write(tmp_path, text))
    assert "r_v</b>" not in picture and "d_held_out</b>" not in picture and "r_t</b> 0.3" in picture
    assert loss_curves(write(tmp_path, text.splitlines()[0] + "\n25,,,,,\n")).endswith(".")
