"""monet.training.history: the history survives a resumption, and the preview shows the pairs."""

import csv
import os

import numpy as np
import pytest
from PIL import Image

from monet.core.errors import UserError
from monet.training.history import History, write_preview
from monet.training.run_files import open_run


def rows_of(files):
    with open(files.history, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_history_has_a_row_per_reading(tmp_path):
    files = open_run(str(tmp_path))
    history = History(files, 0, tensorboard=True)
    history.add(25, 1, 0.5, {"cycle": 2.0, "identity": 1.0})
    history.add(50, 2, 0.4, {"cycle": 1.5, "identity": 0.5})
    assert rows_of(files)[1] == {"step": "50", "epoch": "2", "seconds_per_step": "0.4000", "cycle": "1.50000",
                                 "identity": "0.50000"}
    history.add_picture(50, np.zeros([8, 8, 3], np.uint8))
    assert os.listdir(tmp_path / "tensorboard")


def test_a_resumed_history_drops_steps_that_will_be_repeated(tmp_path):
    files = open_run(str(tmp_path))
    history = History(files, 0, tensorboard=False)
    for step in (25, 50, 75):
        history.add(step, 1, 0.5, {"cycle": float(step)})
    resumed = History(files, 50, tensorboard=False)
    resumed.add(75, 1, 0.5, {"cycle": -1.0})
    assert [(row["step"], float(row["cycle"])) for row in rows_of(files)] == [("25", 25), ("50", 50), ("75", -1)]
    History(files, 0, tensorboard=False)
    assert rows_of(files) == []
    assert not (tmp_path / "tensorboard").exists()


def test_preview_shows_each_photo_beside_its_painting(tmp_path):
    photos = np.stack([np.full((16, 16, 3), level, np.float32) for level in (-1.0, -0.5, 0.0)])
    painted = photos + 0.5
    sheet = write_preview(photos, painted, str(tmp_path / "preview.jpg"))
    assert sheet.shape == (32, 64, 3)  # two columns of pairs
    centres = sheet[8::16, 8::16, 0]
    np.testing.assert_array_equal(centres, [[0, 64, 128, 191], [64, 128, 0, 0]])
    assert Image.open(tmp_path / "preview.jpg").size == (64, 32)
    assert os.listdir(tmp_path) == ["preview.jpg"]


def test_out_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match=r"--out \S*/out .*folder"):
        open_run(str(tmp_path / "out"))
