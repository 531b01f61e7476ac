"""The page of tools/mifid.py --report, also as headless Chromium shows it."""

import io
import re
from xml.etree import ElementTree

import mifid
import numpy as np
import pytest
from PIL import Image
from scoring.plots import principal_map, scatter
from scoring.report import unlikeness
from support.browser import Tags, assert_self_contained, browse
from support.mifid_sets import features_of, make_known, write_zip

IMAGES, REFERENCES = 30, 14
PAINTED, REAL = (250, 20, 220), (20, 240, 60)  # colours that the page itself does not use


def coloured(colour, number):
    """An image of one colour that survives JPEG, with a few black pixels that depend on the number."""
    pixels = np.full([256, 256, 3], colour, np.uint8)
    pixels[:8, :8 * (number + 1)] = 0
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report on images of two colours, with a history beside the zip and names that contain HTML."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        (folder / "weights.pth").write_bytes(b"some weights")
        (folder / "history.csv").write_text("step,epoch,seconds_per_step,cycle,identity\n" + "".join(
            f"{step},1,0.5,{10 / step:.5f},{'nan' if step == 75 else 2}\n" for step in range(25, 500, 25)))
        for name, count, colour, shift in (("images", IMAGES, PAINTED, 0.2), ("real", REFERENCES, REAL, 0.0)):
            images = {f"<b>{number}&.jpg": coloured(colour, number) for number in range(count)}
            write_zip(folder / f"{name}.zip", images)
            make_known(folder / f"{name}.zip", features_of(count, count, shift), folder / "weights.pth")
        report = folder / "out" / "report.html"
        assert mifid.main([str(folder / "images.zip"), "--reference", str(folder / "real.zip"), "--report", str(report),
                           "--weights", str(folder / "weights.pth"), "--no-check"]) == 0
    return report


def test_the_page_loads_nothing(page):
    text = page.read_text(encoding="utf-8")
    assert_self_contained(text)
    assert not any(name.startswith("on") for _, attributes in Tags(text).found for name in attributes)


def test_the_page_has_all_sections(page):
    text = page.read_text(encoding="utf-8")
    images = [attributes for name, attributes in Tags(text).found if name == "img"]
    assert len(images) == 4 * 12  # pairs of the nearest, most and least Monet-like
    assert {attributes["alt"] for attributes in images} > {"<b>3&.jpg"}
    assert "<b>3&" not in text  # names are escaped
    for words in ("Nearest to the reference", "Most Monet-like", "Least Monet-like", "Map of the features", "cycle",
                  "not comparable", "memorization distance", "95%: "):
        assert words in text
    assert text.count("<circle class=\"dot\"") == IMAGES and text.count("<circle class=\"ring\"") == REFERENCES
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(svg)  # well-formed
    assert "nan" not in "".join(re.findall(r'points="[^"]*"', text))


@pytest.mark.parametrize("dark", [False, True])
def test_chromium_draws_it_in_light_and_dark(page, dark, tmp_path):
    """Not blank, its images decoded, its text readable on the background."""
    shot = tmp_path / "shot.png"
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    browse(page, tmp_path, *scheme, "--window-size=1100,3200", f"--screenshot={shot}")
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    background = pixels[-5, 5]
    assert (background.mean() < 80) == dark
    for colour, count in ((PAINTED, 36), (REAL, 12)):
        area = (np.abs(pixels - colour).max(axis=2) < 12).sum()
        assert area > count * 130 * 130  # pixels; each image has at least 140 per side
    title = pixels[:80, :400].astype(int)
    assert np.abs(title - background).max() > 150
    assert (np.abs(pixels - background).max(axis=2) > 30).mean() > 0.2


def test_chromium_parses_all_that_was_written(page, tmp_path):
    """Nothing is malformed and dropped or moved."""
    shown, written = Tags(browse(page, tmp_path, "--dump-dom")).found, Tags(page.read_text(encoding="utf-8")).found
    for name in ("figure", "img", "svg", "circle", "polyline", "h2", "figcaption"):
        assert [tag for tag, _ in shown].count(name) == [tag for tag, _ in written].count(name) > 0


def test_features_alone_make_a_page_without_images(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", features=features_of(20, 1))
    report = tmp_path / "a.html"
    assert mifid.main([str(tmp_path / "a.npz"), "--reference", str(tmp_path / "a.npz"), "--report", str(report)]) == 0
    assert "<img" not in report.read_text(encoding="utf-8")
    assert "Map of the features" in report.read_text(encoding="utf-8")
    assert "history.csv" not in report.read_text(encoding="utf-8")


def test_a_real_image_stays_on_the_right_if_the_submission_is_features(tmp_path, capsys):
    """Where the page says it is, with a placeholder on the left."""
    (tmp_path / "weights.pth").write_bytes(b"some weights")
    write_zip(tmp_path / "real.zip", {f"{number}.jpg": coloured(REAL, number) for number in range(REFERENCES)})
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
    columns = np.flatnonzero((np.abs(pixels - REAL).max(axis=2) < 12).any(axis=0))
    assert columns.min() > 100  # of two columns of pairs, the left half of the first is empty


def test_a_report_that_cannot_be_written_is_an_error(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", features=features_of(20, 1))
    (tmp_path / "file").touch()
    words = [str(tmp_path / "a.npz"), "--reference", str(tmp_path / "a.npz"), "--report", str(tmp_path / "file" / "a")]
    assert mifid.main(words) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_the_map_keeps_distances():
    random = np.random.default_rng(0)
    plane = random.normal(0, 1, [50, 2]) * [3, 1]
    directions = np.linalg.qr(random.normal(0, 1, [9, 2]))[0].T
    points, rings, share = principal_map(plane[:30] @ directions, plane[30:] @ directions)
    assert share == pytest.approx(1)
    assert np.linalg.norm(points[0] - rings[0]) == pytest.approx(np.linalg.norm(plane[0] - plane[30]))
    assert scatter(points[:1], rings[:1] * 0 + points[:1]).count("<circle") == 2  # all points coincide


def test_unlikeness_orders_images_by_their_distance_from_the_reference():
    random = np.random.default_rng(0)
    spread = np.array([5, 3, 1, 0.5, 0.2, 0.1])
    real = random.normal(0, 1, [200, 6]) * spread
    probes = np.zeros([4, 6])
    probes[1, 0], probes[2, 1], probes[3, 5] = 10, 12, 8
    distances = unlikeness(probes, real)
    assert (np.diff(distances) > 0).all()
    assert unlikeness(real, real).mean() == pytest.approx(1, abs=0.15)
