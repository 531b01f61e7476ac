"""The page of tools/mifid.py --report, as headless Chromium shows it."""

import io
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from xml.etree import ElementTree

import mifid
import numpy as np
import pytest
from PIL import Image
from scoring.plots import curve, principal_map, scatter, ticks
from scoring.report import unlikeness
from support.mifid_sets import features_of, make_known, write_zip

IMAGES, REFERENCES = 30, 14
PAINTED, REAL_DATA = (250, 20, 220), (20, 240, 60)  # colours that the page itself does not have
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-component-update", "--disable-background-networking", "--disable-sync", "--disable-extensions",
         "--hide-scrollbars"]


def coloured(colour, number):
    """A picture that JPEG keeps, and that differs from the next in some pixels."""
    pixels = np.full([256, 256, 3], colour, np.uint8)
    pixels[:8, :8 * (number + 1)] = 0
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report of pictures in two colours, a history beside the zip, and names that HTML could take for its own."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        (folder / "weights.pth").write_bytes(b"some weights")
        (folder / "history.csv").write_text("step,epoch,seconds_per_step,cycle,identity\n" + "".join(
            f"{step},1,0.5,{10 / step:.5f},{'nan' if step == 75 else 2}\n" for step in range(25, 500, 25)))
        for name, count, colour, shift in (("images", IMAGES, PAINTED, 0.2), ("real", REFERENCES, REAL_DATA, 0.0)):
            images = {f"<b>{number}&.jpg": coloured(colour, number) for number in range(count)}
            write_zip(folder / f"{name}.zip", images)
            make_known(folder / f"{name}.zip", features_of(count, count, shift), folder / "weights.pth")
        report = folder / "out" / "report.html"
        assert mifid.main([str(folder / "images.zip"), "--reference", str(folder / "real.zip"), "--report", str(report),
                           "--weights", str(folder / "weights.pth"), "--no-check"]) == 0
    return report


def browse(page, folder, *words):
    """What Chromium prints when it opens the page."""
    if not CHROMIUM:
        if os.environ.get("CI"):
            pytest.fail("CI has no Chromium: apt-get install chromium")
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    return subprocess.run([CHROMIUM, *QUIET, f"--user-data-dir={folder / 'profile'}", *words, page.as_uri()],
                          capture_output=True, text=True, timeout=120, check=True).stdout


class Tags(HTMLParser):
    """All tags, as (name, attributes)."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_the_page_loads_nothing(page):
    text = page.read_text(encoding="utf-8")
    tags = Tags(text).found
    assert not {"script", "link", "iframe", "object", "embed", "base"} & {name for name, _ in tags}
    for _, attributes in tags:
        for name, value in attributes.items():
            assert name not in ("srcset", "href", "background", "xlink:href", "data")
            assert name != "src" or value.startswith("data:image/jpeg;base64,")
            assert not name.startswith("on")
    assert not re.search(r"https?://|@import|url\(", text)


def test_the_page_shows_what_it_should(page):
    text = page.read_text(encoding="utf-8")
    pictures = [attributes for name, attributes in Tags(text).found if name == "img"]
    assert len(pictures) == 4 * 12  # nearest pairs, most and least
    assert {attributes["alt"] for attributes in pictures} > {"<b>3&.jpg"}
    assert "<b>3&" not in text  # the name is shown as it is
    for words in ("Nearest to the reference", "Most Monet-like", "Least Monet-like", "Map of the features", "cycle",
                  "not comparable with Kaggle", "memorization distance", "95%: "):
        assert words in text
    assert text.count("<circle class=\"dot\"") == IMAGES and text.count("<circle class=\"ring\"") == REFERENCES
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(svg)  # well-formed
    assert "nan" not in "".join(re.findall(r'points="[^"]*"', text))


@pytest.mark.parametrize("dark", [False, True])
def test_chromium_draws_it_in_light_and_dark(page, dark, tmp_path):
    """Not blank, its pictures decoded, its text readable on its background."""
    shot = tmp_path / "shot.png"
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    browse(page, tmp_path, *scheme, "--window-size=1100,3200", f"--screenshot={shot}")
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    back = pixels[-5, 5]
    assert (back.mean() < 80) == dark
    for colour, pictures in ((PAINTED, 36), (REAL_DATA, 12)):
        area = (np.abs(pixels - colour).max(axis=2) < 12).sum()
        assert area > pictures * 130 * 130  # of pixels, each picture is 140 a side or more
    title = pixels[:80, :400].astype(int)
    assert np.abs(title - back).max() > 150
    assert (np.abs(pixels - back).max(axis=2) > 30).mean() > 0.2


def test_chromium_reads_it_as_it_was_written(page, tmp_path):
    """Nothing was dropped or moved for being malformed."""
    shown, written = Tags(browse(page, tmp_path, "--dump-dom")).found, Tags(page.read_text(encoding="utf-8")).found
    for name in ("figure", "img", "svg", "circle", "polyline", "h2", "figcaption"):
        assert [tag for tag, _ in shown].count(name) == [tag for tag, _ in written].count(name) > 0


def test_features_alone_make_a_page_without_pictures(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", features=features_of(20, 1))
    report = tmp_path / "a.html"
    assert mifid.main([str(tmp_path / "a.npz"), "--reference", str(tmp_path / "a.npz"), "--report", str(report)]) == 0
    assert "<img" not in report.read_text(encoding="utf-8")
    assert "Map of the features" in report.read_text(encoding="utf-8")
    assert "history.csv" not in report.read_text(encoding="utf-8")


def test_beside_features_alone_a_real_image_stays_on_the_right(tmp_path, capsys):
    """Where the page says that it is; of the other there is no picture."""
    (tmp_path / "weights.pth").write_bytes(b"some weights")
    write_zip(tmp_path / "real.zip", {f"{number}.jpg": coloured(REAL_DATA, number) for number in range(REFERENCES)})
    np.savez(tmp_path / "a.npz", features=features_of(IMAGES, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        make_known(tmp_path / "real.zip", features_of(REFERENCES, 2), tmp_path / "weights.pth")
        assert mifid.main([str(tmp_path / "a.npz"), "--reference", str(tmp_path / "real.zip"), "--weights",
                           str(tmp_path / "weights.pth"), "--report", str(tmp_path / "a.html")]) == 0
    page, side = tmp_path / "a.html", "--screenshot=" + str(tmp_path / "shot.png")
    assert page.read_text(encoding="utf-8").count("<figure><div><span></span><img ") == 12
    browse(page, tmp_path, "--window-size=700,900", side)
    pixels = np.asarray(Image.open(tmp_path / "shot.png").convert("RGB")).astype(int)
    columns = np.flatnonzero((np.abs(pixels - REAL_DATA).max(axis=2) < 12).any(axis=0))
    assert columns.min() > 100  # of two columns of pairs, the left half of the first is empty


def test_a_page_that_cannot_be_written_is_an_error(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", features=features_of(20, 1))
    (tmp_path / "file").touch()
    words = [str(tmp_path / "a.npz"), "--reference", str(tmp_path / "a.npz"), "--report", str(tmp_path / "file" / "a")]
    assert mifid.main(words) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_the_map_keeps_distances_and_the_curve_its_shape():
    random = np.random.default_rng(0)
    plane = random.normal(0, 1, [50, 2]) * [3, 1]
    directions = np.linalg.qr(random.normal(0, 1, [9, 2]))[0].T
    points, rings, share = principal_map(plane[:30] @ directions, plane[30:] @ directions)
    assert share == pytest.approx(1)
    assert np.linalg.norm(points[0] - rings[0]) == pytest.approx(np.linalg.norm(plane[0] - plane[30]))
    assert scatter(points[:1], rings[:1] * 0 + points[:1]).count("<circle") == 2  # one place for all
    assert ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert curve("loss", [1], [float("nan")]) == ""
    assert 'points="' in curve("loss", [1], [2.0])
    assert len(re.findall(r"[\d.]+,[\d.]+", curve("loss", range(10_000), np.arange(10_000.0)))) <= 401


def test_unlikeness_orders_images_by_their_distance_from_the_reference():
    random = np.random.default_rng(0)
    spread = np.array([5, 3, 1, 0.5, 0.2, 0.1])
    real = random.normal(0, 1, [200, 6]) * spread
    probes = np.zeros([4, 6])
    probes[1, 0], probes[2, 1], probes[3, 5] = 10, 12, 8
    found = unlikeness(probes, real)
    assert (np.diff(found) > 0).all()
    assert unlikeness(real, real).mean() == pytest.approx(1, abs=0.15)
