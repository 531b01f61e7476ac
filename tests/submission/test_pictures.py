"""Pictures of any size and format: what the network is given, and what comes out."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import GifImagePlugin, Image

from monet.core.config import Config
from monet.core.errors import UserError
from monet.submission.names import unique_name
from monet.submission.painter import make_painter
from monet.submission.pictures import paint_files

BEST_QUALITY = Config(jpeg_quality=100)


def scene(width: int, height: int) -> np.ndarray:
    """A smooth asymmetric picture: red grows to the right, green downwards."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([255 * x / width, 255 * y / height, 80 + 0 * x], axis=-1).astype(np.uint8)


def inverted(images):
    return -images


def paint_one(tmp_path: Path, image: Image.Image, suffix: str = "png", paint=inverted, multiple: int = 4,
              **options) -> np.ndarray:
    """Saves the image, paints the file by inverting it, and inverts the result: the image as the network saw it."""
    image.save(tmp_path / f"in.{suffix}", **options)
    path, = paint_files(paint, [str(tmp_path / f"in.{suffix}")], str(tmp_path / "painted"), BEST_QUALITY, multiple)
    assert path == str(tmp_path / "painted" / "in.jpg")
    with Image.open(path) as result:
        assert (result.format, result.mode) == ("JPEG", "RGB")
        return 255 - np.asarray(result).astype(int)


def is_near(seen: np.ndarray, expected, tolerance: int = 4) -> bool:
    expected = np.asarray(expected)
    return seen.shape == expected.shape and np.abs(seen - expected).max() <= tolerance


@pytest.mark.parametrize("size", [(1, 1), (300, 200), (7, 513), (256, 256), (1024, 3), (2, 90)])
def test_a_picture_of_any_size_keeps_its_size(tmp_path, size):
    shapes = []

    def paint(images):
        shapes.append(images.shape)
        assert np.asarray(images).dtype == np.float32
        assert np.abs(images).max() <= 1
        return -images

    assert is_near(paint_one(tmp_path, Image.fromarray(scene(*size)), paint=paint, multiple=256), scene(*size))
    width, height = (-(-side // 256) * 256 for side in size)
    assert shapes == [(1, height, width, 3)]


def test_padding_larger_than_the_picture_reflects_it_repeatedly(tmp_path):
    given = []

    def paint(images):
        given.append((np.asarray(images)[0] + 1) * 127.5)
        return images

    row = np.array([[[10, 20, 30], [200, 100, 50]]], np.uint8)
    paint_one(tmp_path, Image.fromarray(row), paint=paint, multiple=8)
    # Two columns in the middle of eight, reflected at each of their edges.
    expected = row[0][[1, 1, 0, 0, 1, 1, 0, 0]][None].repeat(8, axis=0)
    assert np.abs(given[0] - expected).max() < 0.01


@pytest.mark.parametrize(("size", "seen"), [
    ((1500, 100), (1024, 68)), ((100, 3000), (34, 1024)), ((1024, 9), (1024, 9)), ((5000, 1), (1024, 1))])
def test_a_large_picture_is_shrunk_and_that_is_logged(tmp_path, caplog, size, seen):
    caplog.set_level("INFO")
    assert is_near(paint_one(tmp_path, Image.fromarray(scene(*size))), scene(*seen), 6)
    sizes = f"{seen[0]}x{seen[1]} pixels instead of {size[0]}x{size[1]}"
    assert (sizes in caplog.text) == (max(size) > 1024)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_rotated_by_exif_is_painted_upright(tmp_path, orientation):
    upright = Image.fromarray(scene(60, 40))
    undo = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_270}
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert is_near(paint_one(tmp_path, stored, "jpg", exif=exif, quality=100, subsampling="4:4:4"), scene(60, 40), 6)
    with Image.open(tmp_path / "painted" / "in.jpg") as result:
        assert 0x0112 not in result.getexif()


def test_transparent_parts_become_white(tmp_path):
    alpha = np.full((40, 60, 1), 255, np.uint8)
    alpha[:, 30:] = 0
    expected = scene(60, 40)
    expected[:, 30:] = 255
    seen = paint_one(tmp_path, Image.fromarray(np.concatenate([scene(60, 40), alpha], axis=-1)))
    assert is_near(np.delete(seen, slice(24, 40), axis=1), np.delete(expected, slice(24, 40), axis=1), 6)


def test_a_transparent_palette_becomes_white(tmp_path):
    image = Image.fromarray(np.array([[0] * 32 + [1] * 32] * 64, np.uint8))
    image.putpalette([0, 0, 0, 10, 200, 10])
    seen = paint_one(tmp_path, image, transparency=0)
    assert is_near(seen[:, :24], np.full((64, 24, 3), 255))
    assert is_near(seen[:, 40:], np.full((64, 24, 3), [10, 200, 10]))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_keep_their_brightness(tmp_path, suffix):
    gray = scene(60, 40)[..., 0]
    seen = paint_one(tmp_path, Image.fromarray(gray.astype(np.uint16) * 256 + 200), suffix)
    assert is_near(seen, np.repeat(gray[..., None], 3, axis=-1))


def test_grayscale_two_colours_and_cmyk(tmp_path):
    gray = Image.fromarray(scene(64, 48)[..., 0])
    assert is_near(paint_one(tmp_path, gray), gray.convert("RGB"))
    two = Image.fromarray(np.arange(64 * 48).reshape(48, 64) % 64 < 32)
    assert is_near(paint_one(tmp_path, two), two.convert("RGB"))
    cmyk = Image.fromarray(scene(64, 48)).convert("CMYK")
    assert is_near(paint_one(tmp_path, cmyk, "jpg", quality=100), scene(64, 48), 8)


def test_the_config_sets_the_quality(tmp_path):
    Image.fromarray(scene(64, 64)).save(tmp_path / "in.png")
    low, = paint_files(inverted, [str(tmp_path / "in.png")], str(tmp_path / "low"), Config(jpeg_quality=30), 64)
    high, = paint_files(inverted, [str(tmp_path / "in.png")], str(tmp_path / "high"), BEST_QUALITY, 64)
    Image.fromarray(scene(64, 64)).save(tmp_path / "expected.jpg", quality=30)
    with Image.open(low) as picture, Image.open(tmp_path / "expected.jpg") as expected:
        assert picture.quantization == expected.quantization
    assert os.path.getsize(low) < os.path.getsize(high)


def write_pictures(folder: Path, *names: str) -> str:
    """One picture per name, each of a different brightness."""
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        image = Image.fromarray(np.full((8, 8, 3), 20 * i, np.uint8))
        image.save(folder / name, "JPEG" if name.lower().endswith(("jpg", "jpeg", "jfif")) else "PNG")
    return str(folder)


def test_names_that_would_clash_in_a_folder(tmp_path, caplog):
    source = write_pictures(tmp_path / "in", "a.jpg", "a.png", "A.JPEG", "b.PNG", ".hidden.jpg")
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    (tmp_path / "in" / "folder.jpg").mkdir()
    paths = paint_files(inverted, [source], str(tmp_path / "out" / "painted"), BEST_QUALITY, 8)
    assert [os.path.basename(path) for path in paths] == ["A.jpg", "a-2.jpg", "a-3.jpg", "b.jpg"]
    assert sorted(os.listdir(tmp_path / "out" / "painted")) == sorted(map(os.path.basename, paths))
    levels = [round(255 - np.asarray(Image.open(path)).mean()) for path in paths]
    assert levels == [40, 0, 20, 60]
    assert caplog.text == ""


def test_unique_names():
    taken = {}
    assert [unique_name(name, taken) for name in ("a", "a-2", "a", "A", "a-2")] == ["a", "a-2", "a-3", "A-4", "a-2-2"]
    assert len({unique_name("x", taken).lower() for _ in range(10_000)}) == 10_000


def test_pictures_and_folders_together(tmp_path):
    """In the order given; a picture that is named twice, as by `a.png *.png`, is painted once."""
    folder = write_pictures(tmp_path / "in", "b.png", "a.png")
    other = write_pictures(tmp_path / "other", "a.png")
    paths = paint_files(inverted, [f"{folder}/b.png", folder, f"{other}/a.png"], str(tmp_path / "out"), BEST_QUALITY, 8)
    assert [os.path.basename(path) for path in paths] == ["b.jpg", "a.jpg", "a-2.jpg"]
    with pytest.raises(UserError, match="absent.jpg does not exist"):
        paint_files(inverted, [folder, f"{folder}/absent.jpg"], str(tmp_path / "none"), BEST_QUALITY, 8)
    with pytest.raises(UserError, match="would overwrite"):
        paint_files(inverted, [folder, f"{other}/a.png"], other, BEST_QUALITY, 8)
    assert not (tmp_path / "none").exists() and os.listdir(other) == ["a.png"]


@pytest.mark.parametrize("letter", ["a", "é", "画"])
def test_the_longest_names_are_shortened(tmp_path, letter):
    """255 bytes are all that a name may have, and .jpg, a number and the suffix of an unfinished file need some."""
    longest = letter * (250 // len(letter.encode()))
    source = write_pictures(tmp_path / "in", f"{longest}.png", f"{longest[:-1]}.png", "0.png")
    names = [os.path.basename(path) for path in
             paint_files(inverted, [source], str(tmp_path / "out"), BEST_QUALITY, 8)]
    assert sorted(names) == sorted(os.listdir(tmp_path / "out"))
    short, first, second = names
    assert short == "0.jpg" and second == first.replace(".jpg", "-2.jpg")
    stem = first.removesuffix(".jpg")
    assert longest.startswith(stem) and 230 < len(stem.encode()) <= 240


def test_unreadable_pictures_among_others_are_skipped(tmp_path, caplog):
    source = write_pictures(tmp_path / "in", "a.jpg", "b.jpg", "d.png")
    data = (tmp_path / "in" / "a.jpg").read_bytes()
    (tmp_path / "in" / "a.jpg").write_bytes(data[:-20])
    (tmp_path / "in" / "c.jpg").write_bytes(b"no picture")
    data = (tmp_path / "in" / "d.png").read_bytes()
    (tmp_path / "in" / "d.png").write_bytes(data[:40] + b"?" + data[41:])
    (tmp_path / "in" / "e.gif").write_bytes(b"")
    paths = paint_files(inverted, [source], str(tmp_path / "out"), BEST_QUALITY, 8)
    assert [os.path.basename(path) for path in paths] == ["b.jpg"]
    for name in ("a.jpg", "c.jpg", "d.png", "e.gif"):
        assert f"{name} cannot be read" in caplog.text
    assert "4 of 5" in caplog.text


# A Windows metafile of 0 units per millimetre, by which Pillow's plugin divides.
EMF = struct.pack("<2L8l4s", 1, 108, *[0] * 8, b" EMF") + bytes(64)


def test_only_the_documented_formats_are_opened(tmp_path, caplog):
    source = write_pictures(tmp_path / "in", "b.jpg")
    (tmp_path / "in" / "a.jpg").write_bytes(EMF)
    with pytest.raises(ZeroDivisionError):
        Image.open(tmp_path / "in" / "a.jpg")
    paths = paint_files(inverted, [source], str(tmp_path / "out"), BEST_QUALITY, 8)
    assert [os.path.basename(path) for path in paths] == ["b.jpg"]
    assert "a.jpg cannot be read" in caplog.text


@pytest.mark.parametrize("error", [MemoryError, ZeroDivisionError, KeyError, RecursionError])
def test_whatever_pillow_raises_is_one_pictures_failure(tmp_path, caplog, monkeypatch, error):
    def load(file):
        raise error

    source = write_pictures(tmp_path / "in", "b.jpg")
    Image.new("RGB", (8, 8)).save(tmp_path / "in" / "a.gif")
    monkeypatch.setattr(GifImagePlugin.GifImageFile, "load_prepare", load)
    paths = paint_files(inverted, [source], str(tmp_path / "out"), BEST_QUALITY, 8)
    assert [os.path.basename(path) for path in paths] == ["b.jpg"]
    assert f"a.gif cannot be read as a picture ({error.__name__})" in caplog.text


def test_pictures_of_very_many_pixels(tmp_path, monkeypatch, recwarn):
    source = write_pictures(tmp_path / "in", "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)  # of the 64 that it has: Pillow warns, and refuses twice as many
    assert len(paint_files(inverted, [source], str(tmp_path / "out"), BEST_QUALITY, 8)) == 1
    assert not [warning for warning in recwarn if warning.category is Image.DecompressionBombWarning]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    with pytest.raises(UserError, match="pixels.*fewer"):
        paint_files(inverted, [source], str(tmp_path / "out"), BEST_QUALITY, 8)


def test_what_a_folder_holds_besides_is_named(tmp_path, caplog):
    source = write_pictures(tmp_path / "in", "a.jpg", "b.jfif")
    (tmp_path / "in" / "lost.jpg").symlink_to("nowhere.jpg")
    write_pictures(tmp_path / "in" / "2019", "deep.jpg")
    (tmp_path / "in" / "z.HEIC").touch()
    assert len(paint_files(inverted, [source], str(tmp_path / "out"), BEST_QUALITY, 8)) == 2
    for words in ("1 in 2019/", "1 .heic (z.HEIC)", "lost.jpg cannot be read", "link to a file that does not exist"):
        assert words in caplog.text


def test_pictures_one_folder_deeper_name_the_subfolder(tmp_path):
    source = write_pictures(tmp_path / "in")
    write_pictures(tmp_path / "in" / "2019", "deep.jpg")
    with pytest.raises(UserError, match="no picture.* 1 in 2019/"):
        paint_files(inverted, [source], str(tmp_path / "out"), BEST_QUALITY, 8)


@pytest.mark.parametrize("strategy", [None, tf.distribute.get_strategy()])
def test_pictures_of_many_sizes_share_a_graph(caplog, strategy):
    traced = []

    def network(inputs, training):
        traced.append(inputs[0].shape)
        return inputs[0] + tf.reduce_mean(inputs[0][:, :5])  # the mirrored margin counts

    paint = make_painter(network, 3, strategy, any_size=True)
    for size in range(8, 18):
        picture = np.random.default_rng(size).normal(size=(1, size, 2 * size, 3)).astype(np.float32)
        border = np.pad(picture, ((0, 0), (3, 0), (3, 3), (0, 0)), "reflect")[:, :5]
        np.testing.assert_allclose(paint(picture), picture + border.mean(), atol=1e-5)
    assert len(traced) == 2
    assert "retracing" not in caplog.text


@pytest.mark.parametrize(("names", "words"), [
    (("a.jpg",), "a.jpg cannot be read"), (("a.jpg", "b.png"), "None of the 2 .*a.jpg")])
def test_only_unreadable_pictures(tmp_path, names, words):
    for name in names:
        (tmp_path / name).write_bytes(b"no picture")
    source = tmp_path if len(names) > 1 else tmp_path / names[0]
    with pytest.raises(UserError, match=words):
        paint_files(inverted, [str(source)], str(tmp_path / "out"), BEST_QUALITY, 8)
    assert not (tmp_path / "out").exists()


def test_nothing_to_paint(tmp_path):
    with pytest.raises(UserError, match="absent.jpg does not exist"):
        paint_files(inverted, [str(tmp_path / "absent.jpg")], str(tmp_path / "out"), BEST_QUALITY, 8)
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(UserError, match="no picture"):
        paint_files(inverted, [str(tmp_path)], str(tmp_path / "out"), BEST_QUALITY, 8)


@pytest.mark.parametrize("source", ["in", "in/a.jpg"])
def test_originals_are_never_overwritten(tmp_path, source):
    write_pictures(tmp_path / "in", "a.jpg")
    before = (tmp_path / "in" / "a.jpg").read_bytes()
    with pytest.raises(UserError, match="would overwrite"):
        paint_files(inverted, [str(tmp_path / source)], f"{tmp_path}/in/../in/", BEST_QUALITY, 8)
    assert (tmp_path / "in" / "a.jpg").read_bytes() == before


def test_a_full_disk_keeps_an_earlier_picture(tmp_path):
    source = write_pictures(tmp_path / "in", "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.jpg").write_bytes(b"from before")
    os.symlink("/dev/full", tmp_path / "out" / "a.jpg.part")  # every write there fails as on a full disk
    with pytest.raises(UserError, match=r"a\.jpg.*No space left"):
        paint_files(inverted, [source], str(tmp_path / "out"), BEST_QUALITY, 8)
    assert os.listdir(tmp_path / "out") == ["a.jpg"]
    assert (tmp_path / "out" / "a.jpg").read_bytes() == b"from before"


def test_an_output_folder_that_is_a_file(tmp_path):
    source = write_pictures(tmp_path / "in", "a.png")
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be written"):
        paint_files(inverted, [source], str(tmp_path / "out"), BEST_QUALITY, 8)
