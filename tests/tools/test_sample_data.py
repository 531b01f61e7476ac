"""The built-in sample: its layout, that a seed fixes it, and that its paintings differ from its photos."""

import functools
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sample.brush import paint
from sample.sky import SIZE, Scene, choose_light
from sample_data import draw_picture, write_sample
from support.settings import TOOLS

from monet.core.errors import UserError
from monet.data.records import read_examples
from monet.data.validation import find_data

PROGRAM = TOOLS / "sample_data.py"


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@functools.cache
def draw(side: str, count: int) -> np.ndarray:
    """Pictures of a side as grey values in [0, 1]: [count, 256, 256]."""
    pictures = [Image.open(io.BytesIO(draw_picture(5, side, index)[1])) for index in range(count)]
    return np.stack([np.asarray(picture, np.float32).mean(axis=-1) / 255 for picture in pictures])


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "sample"
    write_sample(root, seed=3, num_monet=5, num_photo=6)
    return root


def test_layout_is_the_competitions(sample):
    assert sorted(files_of(sample)) == [
        "SAMPLE",
        "monet_tfrec/monet00-2.tfrec", *(f"monet_tfrec/monet0{number}-1.tfrec" for number in (1, 2, 3)),
        *(f"photo_tfrec/photo0{number}-{count}.tfrec" for number, count in enumerate((2, 2, 1, 1)))]
    data = find_data(str(sample))
    assert (data.monet.count, data.photo.count, data.is_sample) == (5, 6, True)
    assert "drawn by a program" in (sample / "SAMPLE").read_text()


def test_pictures_are_rgb_of_the_right_size_and_all_different(sample):
    data = find_data(str(sample))
    rows = [row for side in (data.monet, data.photo) for row in read_examples(side).as_numpy_iterator()]
    for row in rows:
        picture = Image.open(io.BytesIO(row["image"]))
        assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (256, 256))
    assert len({row["image_name"] for row in rows}) == len({row["image"] for row in rows}) == 11


def test_seed_fixes_every_byte(sample, tmp_path):
    write_sample(tmp_path / "again", seed=3, num_monet=5, num_photo=6)
    assert files_of(tmp_path / "again") == files_of(sample)
    assert draw_picture(3, "photo", 0) == draw_picture(3, "photo", 0) != draw_picture(4, "photo", 0)


def test_paintings_are_brighter_in_the_shadows_than_any_photo():
    """The palette: nothing is black in a painting. Seen: 0.42 and more, against 0.22 and less."""
    monet, photo = (np.quantile(draw(side, 10), 0.05, axis=(1, 2)) for side in ("monet", "photo"))
    assert monet.min() > photo.max() + 0.05


def test_paintings_have_strokes_even_where_photos_are_smooth():
    """The mean slope in each picture's quietest places (its lowest tenth of 16x16 blocks). Seen: twice as much."""
    def quiet(side: str) -> np.ndarray:
        down, right = np.gradient(draw(side, 10), axis=(1, 2))
        blocks = np.hypot(down, right).reshape(-1, 16, 16, 16, 16).mean(axis=(2, 4))
        return np.quantile(blocks.reshape(len(blocks), -1), 0.1, axis=1)

    assert quiet("monet").min() > 1.4 * np.median(quiet("photo"))


@pytest.mark.parametrize(("angle", "across"), [(0.0, 0), (np.pi / 2, 1)])
def test_strokes_run_along_the_surface(angle, across):
    """On an even grey, a painting changes more across its strokes than along them."""
    rng = np.random.default_rng(0)
    grey = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    scene = Scene(grey, np.full((SIZE, SIZE), angle, np.float32), 128, choose_light(rng))
    slopes = [np.square(slope).mean() for slope in np.gradient(paint(rng, scene).mean(axis=-1))]
    assert slopes[across] > 1.5 * slopes[1 - across]


def test_folder_with_something_in_it_is_refused(sample):
    before = files_of(sample)
    with pytest.raises(UserError, match="not an empty folder"):
        write_sample(sample, num_monet=1, num_photo=1)
    result = subprocess.run([sys.executable, PROGRAM, sample], capture_output=True, text=True, timeout=60)
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and str(sample) in result.stderr
    assert files_of(sample) == before


def test_killed_run_leaves_no_half_sample(tmp_path):
    root = tmp_path / "sample"
    process = subprocess.Popen([sys.executable, PROGRAM, root, "--monet", "8", "--photo", "400"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    until = time.monotonic() + 60
    while not (tmp_path / "sample.part/monet_tfrec/monet03-2.tfrec").exists() and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert (tmp_path / "sample.part/monet_tfrec/monet03-2.tfrec").exists() and not root.exists()
    root.mkdir()  # an empty folder is no obstacle, nor is what the killed run left
    write_sample(root, num_monet=1, num_photo=1)
    assert find_data(str(root)).photo.count == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sample"]
