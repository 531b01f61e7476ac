"""The loss curves as SVG: what is drawn, and where."""

import re
from xml.etree import ElementTree

from monet.training.curves import loss_curves

HISTORY = """step,epoch,seconds_per_step,cycle,photo_to_monet
25,1,0.1,3.0,0.5
50,1,0.1,2.0,0.5
100,2,0.1,1.0,0.5
"""


def write(tmp_path, text):
    (tmp_path / "history.csv").write_text(text)
    return str(tmp_path / "history.csv")


def test_each_loss_has_a_curve_from_its_first_to_its_last_step(tmp_path):
    picture = loss_curves(write(tmp_path, HISTORY))
    root = ElementTree.fromstring(picture)
    lines = [element.get("points").split() for element in root.iter("{http://www.w3.org/2000/svg}polyline")]
    assert len(lines) == 2
    [(x, y), (_, middle), (right, bottom)] = [tuple(map(float, point.split(","))) for point in lines[0]]
    assert (x, y) == (0, 0) and right > 0 and bottom > 0 and abs(middle - bottom / 2) < 0.1
    assert "cycle 1<" in picture and "photo_to_monet 0.5<" in picture and "step 100" in picture
    assert not re.search("nan|inf", picture)  # the second loss never changes


def test_a_history_without_losses_gives_a_sentence(tmp_path):
    assert loss_curves(write(tmp_path, "")).endswith(".")
    assert loss_curves(str(tmp_path / "none.csv")).endswith(".")


def test_a_history_of_one_row_is_drawn(tmp_path):
    assert loss_curves(write(tmp_path, "\n".join(HISTORY.splitlines()[:2]))).startswith("<svg")
