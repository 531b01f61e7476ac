"""The submission: what the zip holds, that failures lose nothing, and what `check` finds."""

import contextlib
import io
import logging
import os
import resource
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin
from support.settings import REAL_DATA

from monet.core.config import Config
from monet.core.errors import UserError
from monet.data.records import ImageSet
from monet.data.validation import find_data
from monet.data.writing import write_records
from monet.submission.check import check
from monet.submission.images_zip import PAINT_BATCH, generate_submission, number_of_images


def scene(number: int, height: int = 256, width: int = 256) -> np.ndarray:
    """A smooth asymmetric image: red grows to the right, green downwards, blue identifies it."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([255 * x / width, 255 * y / height, np.full_like(x, 37 * number % 256)], axis=-1).astype(np.uint8)


def jpeg(picture, **options) -> bytes:
    file = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(file, "JPEG", **{"quality": 98, "subsampling": "4:4:4", **options})
    return file.getvalue()


def decode(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data))).astype(int)


def photo_set(tmp_path: Path, pictures: list, names: list | None = None) -> ImageSet:
    path = tmp_path / "photos.tfrec"
    encoded = [picture if isinstance(picture, bytes) else jpeg(picture) for picture in pictures]
    write_records(str(path), zip(names or [f"photo{i}" for i in range(len(encoded))], encoded, strict=True), "photo")
    return ImageSet((str(path),), "tfrec", len(encoded))


def scenes(tmp_path: Path, count: int) -> ImageSet:
    return photo_set(tmp_path, [scene(i) for i in range(count)])


def unchanged(images):
    return images


def inverted(images):
    return -images


def generate(tmp_path: Path, photos: ImageSet, paint=unchanged, name: str = "images.zip", **knobs) -> dict[str, bytes]:
    """Generates a submission and returns its files in the zip's order."""
    count = generate_submission(paint, photos, str(tmp_path / name), Config(**knobs))
    with zipfile.ZipFile(tmp_path / name) as archive:
        assert len(archive.namelist()) == count
        assert {(info.date_time, info.compress_type) for info in archive.infolist()} == {
            ((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED)}
        return {info.filename: archive.read(info) for info in archive.infolist()}


# Contents of the zip


def test_every_photo_once_in_order_and_painted(tmp_path):
    files = generate(tmp_path, scenes(tmp_path, 5), inverted, num_images=5)
    assert list(files) == ["0001.jpg", "0002.jpg", "0003.jpg", "0004.jpg", "0005.jpg"]
    for i, data in enumerate(files.values()):
        assert Image.open(io.BytesIO(data)).size == (256, 256)
        assert np.abs(decode(data) - (255 - decode(jpeg(scene(i))))).max() <= 4


@pytest.mark.parametrize(("painted", "level"), [
    (-1.7, 0), (-1.0, 0), (1.0, 255), (3.0, 255), (100.4 / 127.5 - 1, 100), (100.6 / 127.5 - 1, 101)])
def test_levels_are_rounded_and_clipped(tmp_path, painted, level):
    files = generate(tmp_path, scenes(tmp_path, 1), lambda x: np.full_like(x, painted), num_images=1, jpeg_quality=100)
    assert np.unique(decode(files["0001.jpg"])).tolist() == [level]


@pytest.mark.parametrize(("quality", "subsampling", "code"), [(95, "4:4:4", 0), (60, "4:2:2", 1), (87, "4:2:0", 2)])
def test_the_config_sets_quality_and_subsampling(tmp_path, quality, subsampling, code):
    files = generate(tmp_path, scenes(tmp_path, 1), num_images=1, jpeg_quality=quality, jpeg_subsampling=subsampling)
    image = Image.open(io.BytesIO(files["0001.jpg"]))
    expected = Image.open(io.BytesIO(jpeg(scene(0), quality=quality)))
    assert image.quantization == expected.quantization
    assert JpegImagePlugin.get_sampling(image) == code


def test_image_names_are_made_safe_and_unique(tmp_path):
    names = ["cc8a1", "monet/../x.jpg", "CC8A1", "cc8a1", "cc8a1-2", "", ".hidden", "a b\n", "n" * 300]
    photos = photo_set(tmp_path, [scene(i) for i in range(len(names))], names)
    files = generate(tmp_path, photos, num_images=11, image_names="image_name")
    assert list(files) == ["cc8a1.jpg", "monet_.._x.jpg", "CC8A1-2.jpg", "cc8a1-3.jpg", "cc8a1-2-2.jpg", "image.jpg",
                           "hidden.jpg", "a_b_.jpg", "n" * 100 + ".jpg", "cc8a1-4.jpg", "monet_.._x-2.jpg"]
    assert check(str(tmp_path / "images.zip"), fewest=11) == []


def test_photos_of_any_size_and_kind_become_256(tmp_path):
    gray = np.asarray(Image.fromarray(scene(0, 100, 90)).convert("L"))
    files = generate(tmp_path, photo_set(tmp_path, [scene(3, 300, 400), gray]), num_images=2)
    wide, small = map(decode, files.values())
    assert np.abs(wide - scene(3)).max() <= 6
    assert small.shape == (256, 256, 3)
    assert np.ptp(small, axis=-1).max() <= 1


def test_the_number_of_images():
    def number(photos: int, **knobs) -> int:
        return number_of_images(ImageSet(("photos.tfrec",), "tfrec", photos), Config(**knobs))

    assert [number(count) for count in (5, 7000, 7038, 12000)] == [7000, 7000, 7038, 10000]
    assert number(7038, num_images=3) == 3


def test_only_the_first_photos_are_painted_if_fewer_are_wanted(tmp_path):
    photos = scenes(tmp_path, 5)
    files = generate(tmp_path, photos, num_images=2)
    assert list(files.values()) == list(generate(tmp_path, photos, num_images=5).values())[:2]


def test_the_network_always_gets_full_batches(tmp_path):
    shapes = []

    def paint(images):
        shapes.append(tuple(images.shape))
        assert np.asarray(images).dtype == np.float32
        assert np.abs(images).max() <= 1
        return images

    generate(tmp_path, scenes(tmp_path, 3), paint, num_images=PAINT_BATCH + 1)
    assert shapes == [(PAINT_BATCH, 256, 256, 3)] * 2


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    photos = scenes(tmp_path, 3)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        generate(tmp_path, photos, name=name, num_images=12, seed=seed)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


# Variants


def test_mirrored_photos_come_after_all_photos(tmp_path):
    pictures = [decode(data) for data in generate(tmp_path, scenes(tmp_path, 3), num_images=6).values()]
    for plain, mirrored in zip(pictures[:3], pictures[3:], strict=True):
        assert np.abs(plain[:, ::-1] - mirrored).max() <= 3
        assert np.abs(plain - mirrored).max() > 200


def test_then_come_different_crops_of_the_photos(tmp_path):
    files = list(generate(tmp_path, scenes(tmp_path, 2), num_images=64).values())
    assert len(set(files)) == 64
    directions, corners = set(), set()
    for i, data in enumerate(files[4:]):
        red, green, blue = np.moveaxis(decode(data), -1, 0)
        left, right = red[:, 0].mean(), red[:, -1].mean()  # red gives the position in the photo from left to right
        top, bottom = green[0].mean(), green[-1].mean()
        assert 0.79 <= abs(right - left) / 255 <= 0.98
        assert abs(abs(right - left) - (bottom - top)) <= 6  # the crop is square
        assert abs(np.median(blue) - 37 * (i % 2)) <= 3  # every photo in turn
        directions.add(right > left)
        corners.add((round(min(left, right)), round(top)))
    assert directions == {True, False}
    assert len(corners) > 40


def test_a_duplicate_photo_is_replaced_by_a_variant(tmp_path, caplog):
    photos = photo_set(tmp_path, [scene(0), scene(1), scene(0), scene(2)])
    with caplog.at_level(logging.INFO):
        pictures = list(generate(tmp_path, photos, num_images=5).values())
    assert len(set(pictures)) == 5
    for number, picture in zip((0, 1, 2, 0, 1), pictures, strict=True):
        assert abs(np.median(decode(picture)[..., 2]) - 37 * number) <= 3
    assert "1 paintings equalled others" in caplog.text


def test_a_network_that_paints_all_photos_alike_is_reported(tmp_path):
    calls = []

    def paint(images):
        calls.append(1)
        return np.zeros(images.shape, np.float32)

    generate(tmp_path, scenes(tmp_path, 3), paint, num_images=40)
    assert len(calls) <= 7
    problem, = check(str(tmp_path / "images.zip"), fewest=40)
    assert "0002.jpg (= 0001.jpg)" in problem
    assert "(39 in all)" in problem


# Failures lose nothing


@pytest.fixture
def earlier(tmp_path):
    """An earlier zip, and the check that it is unchanged and alone afterwards."""
    path = tmp_path / "images.zip"
    path.write_bytes(b"from before")
    yield path
    assert path.read_bytes() == b"from before"
    assert not (tmp_path / "images.zip.part").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["images.zip", "photos.tfrec"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_failure_half_way_keeps_the_earlier_zip(tmp_path, earlier, error):
    calls = []

    def paint(images):
        calls.append(1)
        if len(calls) == 5:
            assert Path(f"{earlier}.part").stat().st_size > 10_000  # the zip is written while photos are painted
            raise error
        return images

    with pytest.raises(error):
        generate_submission(paint, scenes(tmp_path, 2), str(earlier), Config(num_images=200))
    assert len(calls) == 5


def test_a_full_disk_keeps_the_earlier_zip_and_reports_the_space_needed(tmp_path, earlier):
    os.symlink("/dev/full", f"{earlier}.part")  # every write there fails as on a full disk
    with pytest.raises(UserError, match=rf"disk is full.* 0 MB in {tmp_path}.* \d+ MB"):
        generate_submission(unchanged, scenes(tmp_path, 2), str(earlier), Config(num_images=3))


@contextlib.contextmanager
def largest_file(size: int):
    """Files cannot grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_half_way(tmp_path, earlier):
    photos = photo_set(tmp_path, [np.random.default_rng(i).integers(0, 256, (256, 256, 3), np.uint8) for i in range(2)])
    with pytest.raises(UserError, match="The disk is full") as error, largest_file(1_500_000):
        generate_submission(unchanged, photos, str(earlier), Config(num_images=100))
    needed = float(str(error.value).split("needs about ")[1].split(" MB")[0])
    assert 9 <= needed <= 17  # noise takes some 130 kB per image


def test_a_path_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be written"):
        generate_submission(unchanged, scenes(tmp_path, 1), str(tmp_path / "file" / "images.zip"), Config(num_images=1))


@pytest.mark.parametrize("batches", [1, 3])
def test_when_time_runs_out_the_zip_has_what_was_painted(tmp_path, batches):
    calls = []

    def paint(images):
        calls.append(1)
        return images

    photos = scenes(tmp_path, 2)
    count = generate_submission(paint, photos, str(tmp_path / "images.zip"), Config(num_images=200),
                                is_late=lambda: len(calls) >= batches or batches == 1)
    assert count == PAINT_BATCH * batches == PAINT_BATCH * len(calls)
    assert len(check(str(tmp_path / "images.zip"), fewest=count)) == 0


def test_paintings_that_are_not_finite_are_refused(tmp_path, earlier):
    with pytest.raises(UserError, match="NaN"):
        generate_submission(lambda x: x * np.nan, scenes(tmp_path, 1), str(earlier), Config(num_images=3))


def test_photos_that_were_removed(tmp_path):
    photos = scenes(tmp_path, 1)
    os.remove(photos.files[0])
    with pytest.raises(UserError, match="there is no such"):
        generate_submission(unchanged, photos, str(tmp_path / "images.zip"), Config(num_images=1))
    assert os.listdir(tmp_path) == []


# Progress


def test_log_lines_without_a_terminal(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("monet.core.progress.LOG_INTERVAL", 0)
    with caplog.at_level(logging.INFO):
        generate(tmp_path, scenes(tmp_path, 2), num_images=5)
    assert "5 images: 2 originals and 3 variants" in caplog.text
    assert "4 of 5" in caplog.text
    assert "00:00 left" in caplog.text


def test_a_bar_and_no_lines_on_a_terminal(tmp_path, caplog, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("monet.core.progress.LOG_INTERVAL", 0)
    with caplog.at_level(logging.INFO):
        generate(tmp_path, scenes(tmp_path, 2), num_images=5)
    assert "5/5" in terminal.getvalue()
    assert "of 5 images" not in caplog.text


# What `check` finds


def numbered(number: int) -> bytes:
    """A small JPEG, different for each number below 2 ** 16."""
    bits = [number >> i & 1 for i in range(16)]
    picture = np.full((256, 256, 3), 90, np.uint8)
    picture[:16] = np.repeat(np.array(bits, np.uint8), 16)[:, None] * 255
    return jpeg(picture, quality=60, subsampling="4:2:0")


GOOD = {f"{i + 1:04d}.jpg": numbered(i) for i in range(8)}


def write_zip(path: Path, files: dict, **options) -> str:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return str(path)


def problems_with(tmp_path: Path, files: dict) -> list[str]:
    """What `check` says about good files and these."""
    return check(write_zip(tmp_path / "images.zip", GOOD | files), fewest=8)


@pytest.fixture(scope="session")
def full_zip(tmp_path_factory) -> str:
    return write_zip(tmp_path_factory.mktemp("full") / "my.zip", {f"{i:05d}.jpg": numbered(i) for i in range(7000)})


def test_a_full_submission_passes(full_zip):
    assert check(full_zip) == []


def test_one_too_few(full_zip, tmp_path):
    with zipfile.ZipFile(full_zip) as archive:
        files = {name: archive.read(name) for name in archive.namelist()[1:]}
    problem, = check(write_zip(tmp_path / "a.zip", files))
    assert "6,999" in problem and "7,000 to 10,000" in problem


def test_one_too_many(tmp_path):
    path = write_zip(tmp_path / "a.zip", {f"{i}.jpg": b"" for i in range(10_001)})
    assert "10,001" in check(path)[0]


def test_real_photos_pass(tmp_path):
    photos = find_data(str(REAL_DATA)).photo if REAL_DATA.exists() else scenes(tmp_path, 5)
    generate(tmp_path, photos, inverted, num_images=70)
    assert check(str(tmp_path / "images.zip"), fewest=70) == []
    assert check(str(tmp_path / "images.zip"), fewest=71) != []


def png(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


NOISE = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)


@pytest.mark.parametrize(("data", "fault"), [
    (png(NOISE), "Not a JPEG"),
    (b"", "Not a JPEG"),
    (jpeg(NOISE)[:10], "Truncated or damaged"),
    (jpeg(NOISE)[:-2], "Truncated or damaged"),
    (jpeg(NOISE)[:-1], "Truncated or damaged"),
    (jpeg(NOISE)[:-300], "Truncated or damaged"),
    (jpeg(NOISE)[:70_000], "Truncated or damaged"),
    (jpeg(scene(1), progressive=True)[:-2], "Truncated or damaged"),
    (jpeg(NOISE)[:-2] + bytes(2), "Truncated or damaged"),  # a crash may leave a file of full size
    (jpeg(NOISE)[:70_000] + bytes(90_000), "Truncated or damaged"),
    (jpeg(NOISE).replace(b"\xff\xc4\x00\x1f\x00\x00\x01", b"\xff\xc4\x00\x1f\x00\xff\xff"), "Truncated or damaged"),
    (jpeg(NOISE[..., 0]), "Not RGB"),
    (jpeg(Image.fromarray(NOISE).convert("CMYK")), "Not RGB"),
    (jpeg(NOISE[:255]), "Not 256x256 pixels"),
    (jpeg(np.zeros((512, 512, 3), np.uint8)), "Not 256x256 pixels"),
    (b"0" * (21 << 20), "Larger than 20 MB"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_bad_image_is_named(tmp_path, data, fault):
    problem, = problems_with(tmp_path, {"bad.jpg": data})
    assert fault in problem
    assert ": bad.jpg (1 in all)." in problem


@pytest.mark.parametrize("data", [
    jpeg(scene(1), progressive=True), jpeg(scene(1), optimize=True), jpeg(NOISE) + b"\0\0"])
def test_unusual_but_valid_images_pass(tmp_path, data):
    assert problems_with(tmp_path, {"odd.jpg": data}) == []


def test_a_truncated_image_with_a_complete_thumbnail(tmp_path):
    thumbnail = jpeg(NOISE[:64, :64])
    exif = b"\xff\xe1" + (len(thumbnail) + 8).to_bytes(2, "big") + b"Exif\0\0" + thumbnail
    data = jpeg(NOISE)
    whole = data[:2] + exif + data[2:]
    assert problems_with(tmp_path, {"odd.jpg": whole}) == []
    assert "Truncated" in problems_with(tmp_path, {"odd.jpg": whole[:-2]})[0]


@pytest.mark.parametrize("name", ["images/0001.jpg", "__MACOSX/._0001.jpg", ".DS_Store", "._0001.jpg", "folder/",
                                  "0001.jpeg", "0001.JPG", "notes.txt", "..\\0001.jpg", "/0001.jpg", "../0001.jpg"])
def test_a_file_that_is_not_allowed_is_named(tmp_path, name):
    problem, = problems_with(tmp_path, {name: b"" if name.endswith("/") else jpeg(NOISE)})
    assert "Not allowed" in problem
    assert f": {name} (1 in all)." in problem


def test_a_duplicate_is_named_with_its_original(tmp_path):
    problem, = problems_with(tmp_path, {"again.jpg": GOOD["0003.jpg"]})
    assert problem == "Duplicate image: again.jpg (= 0003.jpg) (1 in all)."


def test_a_name_used_twice_is_reported(tmp_path):
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        warnings.simplefilter("ignore")  # zipfile warns about duplicate names
        for i in range(3):
            archive.writestr("0001.jpg", numbered(i))
    problem, = check(str(tmp_path / "a.zip"), fewest=3)
    assert "more than once: 0001.jpg (1 in all)." in problem


def test_a_wrong_checksum_is_found(tmp_path):
    path = tmp_path / "a.zip"
    data = Path(write_zip(path, GOOD)).read_bytes()
    at = data.index(GOOD["0004.jpg"]) + 700
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
    problem, = check(str(path), fewest=8)
    assert "checksum: 0004.jpg (1 in all)." in problem


def test_an_encrypted_file_is_found(tmp_path):
    path = tmp_path / "a.zip"
    data = bytearray(Path(write_zip(path, GOOD)).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag in the zip's directory, of its first file
    path.write_bytes(data)
    assert check(str(path), fewest=8) == ["Encrypted: 0001.jpg (1 in all)."]


def test_compressed_files_pass(tmp_path):
    assert check(write_zip(tmp_path / "a.zip", GOOD, compression=zipfile.ZIP_DEFLATED), fewest=8) == []


@pytest.mark.parametrize("cut", [0, 10, -1, -30, 5000])
def test_an_incomplete_zip(tmp_path, cut):
    path = tmp_path / "a.zip"
    path.write_bytes(Path(write_zip(path, GOOD)).read_bytes()[:cut])
    problem, = check(str(path))
    assert "not a readable zip" in problem


def test_five_names_are_listed_and_the_others_counted(tmp_path):
    problem, = problems_with(tmp_path, {f"bad{i}.jpg": b"%d" % i for i in range(9)})
    assert "bad0.jpg, bad1.jpg, bad2.jpg, bad3.jpg, bad4.jpg and 4 more (9 in all)." in problem
    problem, = problems_with(tmp_path, {"\x1b[2Jbad.jpg": b""})
    assert ": ?[2Jbad.jpg (1 in all)." in problem


def test_all_faults_are_reported_at_once(tmp_path):
    problems = problems_with(tmp_path, {"a.txt": b"", "b.jpg": b"", "c.jpg": jpeg(NOISE)[:-2]})
    assert [problem.split(": ")[1] for problem in problems] == [f"{name} (1 in all)." for name in (
        "a.txt", "b.jpg", "c.jpg")]


def test_folders(tmp_path):
    for name, data in GOOD.items():
        (tmp_path / name).write_bytes(data)
    assert check(str(tmp_path), fewest=8) == []
    (tmp_path / "0009.jpg").write_bytes(jpeg(NOISE)[:-2])
    (tmp_path / "sub").mkdir()
    cut, other = check(str(tmp_path), fewest=8)
    assert cut == "Truncated or damaged JPEG: 0009.jpg (1 in all)."
    assert ": sub/ (1 in all)." in other
    write_zip(tmp_path / "images.zip", GOOD)
    listing = sorted(os.listdir(tmp_path))
    assert check(str(tmp_path), fewest=8) == []  # only the zip in the folder is handed in
    assert sorted(os.listdir(tmp_path)) == listing  # nothing was unpacked


def test_nothing_there(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        check(str(tmp_path / "images.zip"))
