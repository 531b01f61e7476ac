"""A history.csv that was damaged, or saved by another program: what can be read stays, and nothing is lost."""

import csv

import pytest

from monet.training.history import History, kept_rows
from monet.training.run_files import RunFiles

HEADER = "step,epoch,seconds_per_step,photo_to_monet\r\n"
ROWS = "25,1,0.5,1.25\r\n50,2,0.4,1.20\r\n"


def reopened(folder, content):
    """The steps in the history after a run was resumed at step 60 and has recorded step 75; and the other files."""
    files = RunFiles(str(folder))
    (folder / "history.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    History(files, 60, tensorboard=False).add(75, 3, 0.5, {"photo_to_monet": 1.0})
    with open(files.history, newline="", encoding="utf-8") as file:
        steps = [row["step"] for row in csv.DictReader(file)]
    return steps, {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "history.csv"}


@pytest.mark.parametrize("content", [
    HEADER + ROWS, (HEADER + ROWS).replace("\r", ""), (HEADER + ROWS).replace("\n", ""), "\ufeff" + HEADER + ROWS,
    HEADER + ROWS + "75,3,,\r\n", HEADER + "25,1,0.5,\r\n50,2,0.4,1.20\r\n"])
def test_every_row_of_a_whole_file_is_kept(tmp_path, content, caplog):
    """Also with the line ends and the byte order mark of other programs, and where a loss has no value."""
    assert reopened(tmp_path, content) == (["25", "50", "75"], {})
    assert caplog.text == ""


@pytest.mark.parametrize(("content", "steps"), [
    (HEADER + ROWS + "\0\0\0\0", ["25", "50"]),
    (HEADER + "25,1,\0,1\r\n50,2,0.4,1.20\r\n", ["50"]),
    (HEADER + "²,1,0.5,1.25\r\n50,2,0.4,1.20\r\n", ["50"]),
    (HEADER + "25,1\r\n50,2,0.4,1.20,9\r\n", []),
    (HEADER + "25,1,0.5,abc\r\n50,2,0.4,1.20\r\n", ["50"]),
    (HEADER + f"{'9' * 5000},1,0.5,1\r\n50,2,0.4,1.20\r\n", ["50"]),
    (HEADER + f"25,1,0.5,{'9' * 200_000}\r\n", []),
    ("step;epoch;seconds_per_step;photo_to_monet\r\n25;1;0,5;1,25\r\n", []),
    (b"\xff\xfe" + (HEADER + ROWS).encode("utf-16-le"), []),
    ((HEADER + ROWS).encode() + b"\xff\xfe,1,2,3\r\n", ["25", "50"]),
    ("\0" * 40 + ROWS, []),
])
def test_a_damaged_file_is_set_aside_whole_and_said(tmp_path, content, steps, caplog):
    found, others = reopened(tmp_path, content)
    assert found == [*steps, "75"]
    assert others == {"history-damaged-1.csv": content if isinstance(content, bytes) else content.encode()}
    assert "history-damaged-1.csv" in caplog.text
    assert [row["step"] for row in kept_rows(str(tmp_path / "history.csv"), 99)] == [*steps, "75"]


def test_a_second_damaged_file_does_not_replace_the_first(tmp_path):
    reopened(tmp_path, "\0\n" + ROWS)
    _, others = reopened(tmp_path, "\0\n" + ROWS)
    assert set(others) == {"history-damaged-1.csv", "history-damaged-2.csv"}


def test_a_folder_of_that_name_is_set_aside(tmp_path):
    (tmp_path / "history.csv").mkdir()
    History(RunFiles(str(tmp_path)), 60, tensorboard=False)
    assert (tmp_path / "history-damaged-1.csv").is_dir() and (tmp_path / "history.csv").is_file()
