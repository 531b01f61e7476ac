"""Finding, checking, counting, reading and writing images: what is accepted and what is refused."""

import io
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from support.settings import REAL_DATA

from monet.core.errors import UserError
from monet.core.pixels import decode_image
from monet.data.records import read_examples
from monet.data.validation import check_files, find_data
from monet.data.writing import write_records


def noise(seed: int, size: int = 8, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, channels), dtype=np.uint8)


def encode(picture, form: str = "JPEG", **options) -> bytes:
    file = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(file, form, **options)
    return file.getvalue()


def rows(prefix: str, count: int, bad: tuple[int, ...] = ()) -> list[tuple[str, bytes]]:
    """Named noise JPEGs; those at the positions `bad` have a good header but end inside the image data."""
    pictures = [encode(noise(i)) for i in range(count)]
    return [(f"{prefix}{i}", data[:-20] if i in bad else data) for i, data in enumerate(pictures)]


def write_sides(root: Path, monet: int = 3, photo: int = 5, bad: tuple[int, ...] = ()) -> Path:
    """Writes the competition's layout; the counts in the file names are wrong."""
    for side, count, damaged in (("monet", monet, ()), ("photo", photo, bad)):
        folder = root / f"{side}_tfrec"
        folder.mkdir(parents=True)
        write_records(str(folder / f"{side}00-60.tfrec"), rows(side, count, damaged), side)
    return root


def write_folders(root: Path, paintings: str, photos: str) -> Path:
    """Writes image files with three spellings of their suffixes, and files that are not images."""
    for folder, count in ((paintings, 2), (photos, 3)):
        (root / folder).mkdir(parents=True)
        for i, name in enumerate(("a.jpg", "b.PNG", "c.d.JpEg")[:count]):
            (root / folder / name).write_bytes(encode(noise(i), "PNG" if "PNG" in name else "JPEG"))
        (root / folder / "notes.txt").write_text("no image")
        (root / folder / "._a.jpg").write_bytes(b"what macOS leaves on foreign disks")
    return root


def write_arrays(root: Path) -> Path:
    """Writes both sides as arrays."""
    root.mkdir()
    for seed, side in enumerate(("monet", "photo")):
        np.save(root / f"{side}.npy", noise(seed)[None])
    return root


def write_raw(path: Path, **features) -> None:
    """Writes a TFRecord file with one record of these features, lists of bytes or of ints."""
    kinds = {bytes: lambda v: tf.train.Feature(bytes_list=tf.train.BytesList(value=v)),
             int: lambda v: tf.train.Feature(int64_list=tf.train.Int64List(value=v))}
    made = {name: kinds[type(values[0])](values) for name, values in features.items()}
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString())


def read_all(image_set) -> list[tuple[str, bytes]]:
    return [(e["image_name"].decode(), e["image"]) for e in read_examples(image_set).as_numpy_iterator()]


def refusal(root, **options) -> str:
    with pytest.raises(UserError) as error:
        find_data(str(root), **options)
    return str(error.value)


# What is accepted


def test_what_is_written_is_read(tmp_path):
    data = find_data(str(write_sides(tmp_path)))
    assert read_all(data.monet) == rows("monet", 3)
    assert read_all(data.photo) == rows("photo", 5)
    record = tf.train.Example.FromString(next(iter(tf.data.TFRecordDataset(data.photo.files[0]))).numpy())
    assert record.features.feature["target"].bytes_list.value == [b"photo"]


def test_counts_records_and_not_what_file_names_say(tmp_path):
    data = find_data(str(write_sides(tmp_path)))
    assert (data.monet.count, data.photo.count) == (3, 5)
    assert data.describe() == f"3 paintings and 5 photos in TFRecords below {tmp_path}"


def test_files_are_read_in_the_order_of_their_names(tmp_path):
    write_sides(tmp_path)
    write_records(str(tmp_path / "monet_tfrec" / "a.tfrec"), rows("first", 2), "monet")
    assert [name for name, _ in read_all(find_data(str(tmp_path)).monet)] == [
        "first0", "first1", "monet0", "monet1", "monet2"]


def test_records_by_other_usual_names(tmp_path):
    folder = write_sides(tmp_path) / "photo_tfrec"
    for name in ("p.tfrecord", "q.TFRecords", "r.tfrecord-00000-of-00002", "r.tfrecord-00001-of-00002"):
        write_records(str(folder / name), rows(name, 2), "photo")
    (folder / "r.tfrecord.md5").write_text("no records")
    assert find_data(str(tmp_path)).photo.count == 5 + 4 * 2


@pytest.mark.parametrize(("write", "file", "more"), [
    (write_sides, "photo_tfrec/photo00-60.tfrec", 5),
    (lambda root: write_folders(root, "trainA", "trainB"), "trainB/a.jpg", 1),
    (write_arrays, "photo.npy", 0)])
def test_names_that_are_not_utf_8(tmp_path, write, file, more):
    root = write(tmp_path / "set").rename(os.fsdecode(os.fsencode(tmp_path) + b"/s\xe9t"))
    before = find_data(str(root)).photo.count
    original = root / file
    shutil.copy(original, original.with_name(os.fsdecode(b"caf\xe9") + original.suffix))
    for folder in (root, original.parent):
        (folder / os.fsdecode(b"notes\xff")).touch()
    data = find_data(str(root))
    assert data.photo.count == len(list(read_examples(data.photo))) == before + more
    assert data.describe().isprintable()


def test_pictures_that_are_left_out_are_counted_and_named(tmp_path, caplog):
    folder = write_folders(tmp_path, "trainA", "trainB") / "trainB"
    for name in ("a.jpe", "b.JFIF"):
        (folder / name).write_bytes(encode(noise(7)))
    for name in ("x.webp", "y.tif", "z.HEIC", "z2.heic", ".z3.heic", "2019/deep.jpg", "empty/notes.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    assert find_data(str(tmp_path)).photo.count == 5
    for words in ("2 .heic, 1 .webp, 1 .tif (x.webp, y.tif, z.HEIC, z2.heic)", "1 in 2019/"):
        assert words in caplog.text
    assert "trainA" not in caplog.text and "empty" not in caplog.text


@pytest.mark.parametrize(("name", "words"), [("x.heic", "1 .heic"), ("2019/a.jpg", "1 in 2019/")])
@pytest.mark.parametrize("sides", [["photo_jpg"], ["photo_jpg", "monet_jpg"]])
def test_sides_of_which_no_picture_is_read_say_what_is_there(tmp_path, name, words, sides):
    write_folders(tmp_path, "monet_jpg", "photo_jpg")
    for side in sides:
        for path in (tmp_path / side).iterdir():
            path.unlink()
        (tmp_path / side / name).parent.mkdir(exist_ok=True)
        (tmp_path / side / name).touch()
    message = refusal(tmp_path)
    assert message.count(words) == len(sides) and "photo_jpg" in message


def test_links_to_files_that_do_not_exist(tmp_path):
    folder = write_folders(tmp_path, "trainA", "trainB") / "trainA"
    (folder / "link.jpg").symlink_to(folder / "a.jpg")
    assert find_data(str(tmp_path)).monet.count == 3
    (folder / "lost.jpg").symlink_to("nowhere.jpg")
    message = refusal(tmp_path)
    assert "lost.jpg" in message and "link" in message and "network" not in message


def test_a_fingerprint_is_of_the_pictures_not_of_their_places(tmp_path):
    first = find_data(str(write_sides(tmp_path / "one")))
    assert first.photo.fingerprint != first.monet.fingerprint
    write_sides(tmp_path / "two", photo=3)
    write_records(str(tmp_path / "two" / "photo_tfrec" / "a.tfrec"), rows("other", 5)[3:], "photo")
    assert find_data(str(tmp_path / "two")).photo.fingerprint == first.photo.fingerprint
    write_records(str(tmp_path / "two" / "photo_tfrec" / "a.tfrec"), rows("photo", 6)[4:], "photo")
    assert find_data(str(tmp_path / "two")).photo.fingerprint != first.photo.fingerprint
    arrays = find_data(str(write_arrays(tmp_path / "arrays")))
    assert len({arrays.photo.fingerprint, arrays.monet.fingerprint, 0}) == 3


@pytest.mark.parametrize("folders", [("monet_jpg", "photo_jpg"), ("trainA", "trainB")])
def test_image_folders(tmp_path, folders):
    data = find_data(str(write_folders(tmp_path, *folders)))
    assert data.monet.kind == "images"
    assert [name for name, _ in read_all(data.monet)] == ["a", "b"]
    assert [name for name, _ in read_all(data.photo)] == ["a", "b", "c.d"]
    assert read_all(data.photo)[1][1] == encode(noise(1), "PNG")
    assert data.describe() == f"2 paintings and 3 photos in image files below {tmp_path}"


def test_tfrecords_win_over_pictures(tmp_path):
    write_folders(write_sides(tmp_path), "monet_jpg", "photo_jpg")
    assert find_data(str(tmp_path)).monet.kind == "tfrec"


def test_a_complete_layout_wins_over_half_of_another(tmp_path):
    write_folders(write_sides(tmp_path), "trainA", "trainB")
    (tmp_path / "photo_tfrec" / "photo00-60.tfrec").unlink()
    assert find_data(str(tmp_path)).monet.kind == "images"


@pytest.mark.parametrize("write", [write_sides, lambda root: write_folders(root, "monet_jpg", "photo_jpg"),
                                   lambda root: write_folders(root, "trainA", "trainB")])
def test_sides_can_be_swapped_in_every_layout(tmp_path, write):
    write(tmp_path)
    straight, swapped = find_data(str(tmp_path)), find_data(str(tmp_path), swap_sides=True)
    assert (swapped.monet, swapped.photo) == (straight.photo, straight.monet)
    assert straight.monet.count < swapped.monet.count


def test_the_sample_is_called_a_sample(tmp_path):
    write_sides(tmp_path)
    assert not find_data(str(tmp_path)).is_sample
    (tmp_path / "SAMPLE").write_text("drawn by a program")
    data = find_data(f"{tmp_path}/")
    assert data.is_sample
    assert data.root == str(tmp_path)
    assert "sample" in data.describe()
    assert "\n" not in data.describe()


def test_a_root_with_characters_that_mean_something_to_glob(tmp_path):
    assert find_data(str(write_sides(tmp_path / "data [1] *?"))).monet.count == 3


def test_real_data(tmp_path):
    if REAL_DATA.is_dir():
        root, counts, size = REAL_DATA, (300, 1408), 256
    else:
        root, counts, size = write_sides(tmp_path), (3, 5), 8
    data = find_data(str(root))
    assert (data.monet.count, data.photo.count) == counts
    assert data.monet.skipped == data.photo.skipped == ()
    names = {name for name, _ in read_all(data.photo)}
    assert len(names) == counts[1]
    for example in read_examples(data.monet):
        assert decode_image(example["image"]).shape == (size, size, 3)


# Pictures


def decode(data: bytes) -> np.ndarray:
    picture = decode_image(tf.constant(data)).numpy()
    assert picture.dtype == np.uint8
    return picture


def smooth(size: int = 32) -> np.ndarray:
    """An image without hard edges, which lossy formats preserve: uint8 [size, size, 3]."""
    y, x = np.mgrid[0:size, 0:size] / size
    return (255 * np.stack([x, y, (x + y) / 2], -1)).astype(np.uint8)


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}])
def test_jpeg_is_decoded_as_pil_decodes_it(options):
    data = encode(noise(0, 64), quality=90, **options)
    np.testing.assert_array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_grayscale_becomes_rgb(form):
    picture = decode(encode(smooth()[..., 0], form))
    assert picture.shape == (32, 32, 3)
    np.testing.assert_array_equal(picture[..., 0], picture[..., 2])
    np.testing.assert_allclose(picture[..., 0].astype(int), smooth()[..., 0], atol=8)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_png_of_several_modes(mode):
    image = Image.fromarray(smooth()).convert(mode)
    np.testing.assert_array_equal(decode(encode(image, "PNG")), np.asarray(image.convert("RGB")))


def test_16_bit_png_is_cut_to_8_bits():
    deep = smooth()[..., 0].astype(np.uint16) * 257
    assert Image.open(io.BytesIO(encode(deep, "PNG"))).mode == "I;16"
    np.testing.assert_array_equal(decode(encode(deep, "PNG")), np.repeat(smooth()[..., :1], 3, -1))


def test_cmyk_jpeg_keeps_its_colours():
    data = encode(Image.fromarray(smooth()).convert("CMYK"), quality=95)
    np.testing.assert_allclose(decode(data).astype(int), smooth().astype(int), atol=16)


# What is refused


def test_no_folder(tmp_path):
    message = refusal(tmp_path / "nowhere")
    assert "no folder" in message
    assert "nowhere" in message


@pytest.mark.parametrize(("name", "words"), [
    ("x.zip", "unpack"), ("x.tfrecord", "photo_tfrec/"), ("x.jpg", "folder")])
def test_a_file_instead_of_a_folder(tmp_path, name, words):
    (tmp_path / name).write_bytes(b"")
    message = refusal(tmp_path / name)
    assert f"{name} is a file" in message and words in message


def test_a_folder_that_holds_only_an_archive(tmp_path):
    (tmp_path / "gan-getting-started.zip").touch()
    assert "unpacked first: gan-getting-started.zip" in refusal(tmp_path)


def test_empty_folder_names_the_known_layouts(tmp_path):
    message = refusal(tmp_path)
    for name in ("monet_tfrec/", "photo_jpg/", "trainA/"):
        assert name in message


def test_the_folder_above_the_data_names_the_right_one(tmp_path):
    write_sides(tmp_path / "gan-getting-started")
    (tmp_path / "another").mkdir()
    assert f"--data {tmp_path / 'gan-getting-started'}" in refusal(tmp_path)


def test_the_folder_of_one_side_names_the_one_above(tmp_path):
    assert "folder above" in refusal(write_sides(tmp_path) / "monet_tfrec")


@pytest.mark.parametrize(("name", "words"), [
    ("Monet_JPG/a.jpg", "1 in Monet_JPG/"), ("a.png", "1 in ./"), ("records/a.tfrecord", "1 in records/")])
def test_pictures_in_folders_of_other_names_are_found_and_named(tmp_path, name, words):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    message = refusal(tmp_path)
    assert words in message and "rename" in message


def test_data_two_folders_deeper_are_found_and_named(tmp_path):
    write_sides(tmp_path / "archive" / "set")
    assert f"Give --data {tmp_path}/archive/set." in refusal(tmp_path)


def test_a_subfolder_that_may_not_be_read_is_passed_over(tmp_path, monkeypatch):
    write_folders(tmp_path, "trainA", "trainB")
    (tmp_path / "trainA" / "lost+found").mkdir()
    listdir = os.listdir

    def denied(path):
        if path.rstrip("/").endswith("found"):
            raise PermissionError(13, "Permission denied", path)
        return listdir(path)

    monkeypatch.setattr(os, "listdir", denied)
    assert find_data(str(tmp_path)).monet.count == 2


def test_the_same_pictures_on_both_sides_are_noticed(tmp_path, caplog):
    write_folders(tmp_path, "trainA", "trainB")
    assert "same pictures" not in caplog.text
    shutil.rmtree(tmp_path / "trainB")
    (tmp_path / "trainB").symlink_to("trainA")
    find_data(str(tmp_path))
    assert "same pictures" in caplog.text


@pytest.mark.parametrize("gone", ["monet", "photo"])
def test_only_one_of_the_two_sets(tmp_path, gone):
    write_sides(tmp_path)
    (tmp_path / f"{gone}_tfrec" / f"{gone}00-60.tfrec").unlink()
    message = refusal(tmp_path)
    assert f"{gone}_tfrec/ is missing" in message


def test_a_file_without_records(tmp_path):
    write_records(str(write_sides(tmp_path) / "photo_tfrec" / "z.tfrec"), [], "photo")
    message = refusal(tmp_path)
    assert "z.tfrec" in message and "no records" in message


# TensorFlow's own reader ignores the first two: it mistakes a cut inside a record's header for the end.
@pytest.mark.parametrize("last_bytes", [1, 11, 12, 13, -4, -1])
def test_a_truncated_file_is_an_error_wherever_it_breaks_off(tmp_path, last_bytes):
    path = write_sides(tmp_path) / "photo_tfrec" / "photo00-60.tfrec"
    whole = path.read_bytes()
    write_records(str(path), rows("photo", 4), "photo")
    boundary = path.stat().st_size
    path.write_bytes(whole[:boundary + last_bytes])
    message = refusal(tmp_path)
    assert "photo00-60.tfrec is truncated" in message
    assert "download it again" in message


def test_a_flipped_bit_and_a_file_that_is_no_tfrecord(tmp_path):
    path = write_sides(tmp_path) / "photo_tfrec" / "photo00-60.tfrec"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "photo00-60.tfrec is truncated or damaged (corrupted record" in refusal(tmp_path)  # TensorFlow's words
    path.write_bytes(b"<html>Please log in first</html>")
    assert "photo00-60.tfrec is truncated or damaged" in refusal(tmp_path)


@pytest.mark.parametrize(("features", "words"), [
    ({"image_name": [b"a"]}, "'image'"),
    ({"image": [encode(noise(0))]}, "'image_name'"),
    ({"image_name": [b"a"], "image": [7]}, "'image'"),
    ({"image_name": [b"a"], "image": [b"one", b"two"]}, "'image'"),
])
def test_a_record_without_a_feature(tmp_path, features, words):
    write_raw(write_sides(tmp_path) / "monet_tfrec" / "odd.tfrec", **features)
    message = refusal(tmp_path)
    assert "odd.tfrec" in message
    assert words in message


def test_a_record_that_is_no_example(tmp_path):
    with tf.io.TFRecordWriter(str(write_sides(tmp_path) / "monet_tfrec" / "odd.tfrec")) as writer:
        writer.write(b"hello there")
    message = refusal(tmp_path)
    assert "odd.tfrec" in message and "tf.train.Example" in message


def test_a_folder_with_the_name_of_an_image_is_no_image(tmp_path, caplog):
    (write_folders(tmp_path, "trainA", "trainB") / "trainA" / "d.jpg").mkdir()
    assert find_data(str(tmp_path)).monet.count == 2
    assert caplog.text == ""


def test_a_file_that_vanished_is_not_looked_for_in_a_bucket(tmp_path):
    with pytest.raises(UserError) as error:
        check_files("images", [str(tmp_path / "gone.jpg")])
    assert "gone.jpg" in str(error.value)
    assert not {"bucket", "network"} & set(str(error.value).split())


def test_an_address_that_tensorflow_does_not_know():
    message = refusal("nosuch://bucket/folder")
    assert "nosuch" in message
    assert "local folder" in message


def test_what_cannot_be_decoded_is_skipped_and_counted(tmp_path, caplog):
    write_sides(tmp_path, photo=200, bad=(0, 150))
    write_records(str(tmp_path / "photo_tfrec" / "z.tfrec"), [*rows("z", 100), ("html", b"<html>"), ("tail", b"")],
                  "photo")
    write_records(str(tmp_path / "photo_tfrec" / "zz.tfrec"), rows("zz", 100), "photo")
    with caplog.at_level(logging.WARNING, logger="monet"):
        data = find_data(str(tmp_path))
    assert data.photo.skipped == (0, 150, 300, 301)
    assert data.photo.count == 398
    assert "4 of 402 photos" in caplog.text
    assert "photo0, photo150, html, tail" in caplog.text
    assert "4 that cannot be decoded left out" in data.describe()
    names = [name for name, _ in read_all(data.photo)]
    assert len(names) == 398
    assert not {"photo0", "photo150", "html", "tail"} & set(names)
    for _, encoded in read_all(data.photo):
        decode(encoded)


def test_over_one_percent_undecodable_is_an_error(tmp_path):
    write_sides(tmp_path / "just", photo=200, bad=(3, 4))
    assert find_data(str(tmp_path / "just")).photo.count == 198
    write_sides(tmp_path / "over", photo=200, bad=(3, 4, 5))
    message = refusal(tmp_path / "over")
    assert "3 of 200 photos" in message
    assert "1%" in message
    assert "without those records" in message


def test_one_bad_file_of_few_says_how_to_go_on_without_it(tmp_path):
    bad = write_folders(tmp_path, "trainA", "trainB") / "trainB" / "z.jpg"
    bad.write_bytes(b"<html>")
    message = refusal(tmp_path)
    assert "1 of 4 photos" in message and str(bad) in message and "move" in message
    bad.unlink()
    assert find_data(str(tmp_path)).photo.count == 3


def test_undecodable_image_files_are_skipped_too(tmp_path):
    write_folders(tmp_path, "trainA", "trainB")
    for i in range(150):
        (tmp_path / "trainB" / f"p{i:03}.jpg").write_bytes(encode(noise(i)))
    (tmp_path / "trainB" / "p070.jpg").write_bytes(b"")
    data = find_data(str(tmp_path))
    assert data.photo.count == 152
    assert "p070" not in [name for name, _ in read_all(data.photo)]


# Writing


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_earlier_file_whole(tmp_path, error):
    path = tmp_path / "a.tfrec"
    write_records(str(path), rows("old", 2), "monet")
    before = path.read_bytes()

    def broken():
        yield from rows("new", 2)
        raise error("half-way")

    with pytest.raises(error, match="half-way"):
        write_records(str(path), broken(), "monet")
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.tfrec"]
