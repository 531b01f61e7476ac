"""The built-in sample: its layout, its determinism, and how its paintings differ from its photos."""

import functools
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from console import run_tool

import numpy as np
import pytest
import sample_data
from PIL import Image
from sample.brush import paint
from sample.canvas import SIZE, Scene
from sample.dataset import draw_picture, write_domain, write_sample
from sample.sky import choose_light
from support.settings import TOOLS

from monet.core.errors import UserError
from monet.data.records import read_examples
from monet.data.validation import find_data


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@functools.cache
def decode(domain: str, count: int) -> np.ndarray:
    """The first pictures of a domain in [0, 1]: [count, 256, 256, 3]."""
    pictures = [Image.open(io.BytesIO(draw_picture(5, domain, index)[1])) for index in range(count)]
    return np.stack([np.asarray(picture, np.float32) / 255 for picture in pictures])


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


@pytest.mark.parametrize(("domain", "count"), [("monet", 5), ("photo", 6)])
def test_seed_fixes_every_byte(sample, tmp_path, domain, count):
    """Drawn again in this process; the sample was drawn by several."""
    write_domain(tmp_path / "again", domain, count, (draw_picture(3, domain, index) for index in range(count)))
    assert files_of(tmp_path / "again") == files_of(sample / f"{domain}_tfrec")
    assert draw_picture(3, domain, 0) != draw_picture(4, domain, 0)


# Mean red, green and blue of the first pictures of seed 5; the photos show all four kinds of landscape.
MEAN_COLOURS = {
    "monet": [(166.8, 136.3, 148.3), (158.8, 158.3, 172.4), (173.6, 176.0, 156.5), (135.4, 162.7, 183.8)],
    "photo": [(109.7, 115.6, 109.7), (102.6, 99.4, 52.3), (110.2, 103.4, 71.9), (108.7, 112.4, 102.0),
              (105.4, 104.3, 79.8)],
}


@pytest.mark.parametrize("domain", ["monet", "photo"])
def test_seed_draws_the_same_pictures_as_before(domain):
    """Not by the byte: other versions of NumPy and Pillow round differently."""
    expected = MEAN_COLOURS[domain]
    colours = 255 * decode(domain, 10)[:len(expected)].mean(axis=(1, 2))
    np.testing.assert_allclose(colours, expected, rtol=0, atol=0.5)


def test_paintings_are_brighter_in_the_shadows_than_any_photo():
    """The palette has no black. Measured: at least 0.42 in paintings, at most 0.22 in photos."""
    monet, photo = (np.quantile(decode(domain, 10).mean(axis=-1), 0.05, axis=(1, 2)) for domain in ("monet", "photo"))
    assert monet.min() > photo.max() + 0.05


def test_paintings_have_strokes_even_where_photos_are_smooth():
    """The mean gradient in each picture's smoothest tenth of 16x16 blocks. Measured: twice as large."""
    def smoothest(domain: str) -> np.ndarray:
        down, right = np.gradient(decode(domain, 10).mean(axis=-1), axis=(1, 2))
        blocks = np.hypot(down, right).reshape(-1, 16, 16, 16, 16).mean(axis=(2, 4))
        return np.quantile(blocks.reshape(len(blocks), -1), 0.1, axis=1)

    assert smoothest("monet").min() > 1.4 * np.median(smoothest("photo"))


@pytest.mark.parametrize(("angle", "across"), [(0.0, 0), (np.pi / 2, 1)])
def test_strokes_run_along_the_surface(angle, across):
    """On an even grey, a painting changes more across its strokes than along them."""
    rng = np.random.default_rng(0)
    grey = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    scene = Scene(grey, np.full((SIZE, SIZE), angle, np.float32), 128, choose_light(rng))
    gradients = [np.square(gradient).mean() for gradient in np.gradient(paint(rng, scene).mean(axis=-1))]
    assert gradients[across] > 1.5 * gradients[1 - across]


def test_folder_that_is_not_empty_is_refused(sample, capsys):
    before = files_of(sample)
    with pytest.raises(UserError, match="not an empty folder"):
        write_sample(sample, num_monet=1, num_photo=1)
    assert run_tool(functools.partial(sample_data.main, [str(sample)])) == 2
    assert f"error: {sample}" in capsys.readouterr().err
    assert files_of(sample) == before


def test_folder_that_cannot_be_made_is_an_error(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert run_tool(functools.partial(sample_data.main, [str(tmp_path / "file/sample")])) == 2
    assert f"error: {tmp_path}/file/sample" in capsys.readouterr().err


def test_killed_run_leaves_no_half_sample(tmp_path):
    root = tmp_path / "sample"
    process = subprocess.Popen([sys.executable, TOOLS / "sample_data.py", root, "--monet", "4", "--photo", "400"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "sample.part/monet_tfrec/monet03-1.tfrec").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert (tmp_path / "sample.part/monet_tfrec/monet03-1.tfrec").exists() and not root.exists()
    root.mkdir()  # neither an empty folder nor what the killed run left is an obstacle
    write_sample(root, num_monet=1, num_photo=1)
    assert find_data(str(root)).photo.count == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sample"]
