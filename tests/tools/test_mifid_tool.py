"""tools/mifid.py: what it reads, prints and refuses, mostly with features from the cache, once with a network."""

import functools
import io
import json
import os
import re
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import mifid
import numpy as np
import pytest
from benchmark.inception_state import random_state, write_state_dict
from find_data import default_data
from PIL import Image
from scoring import cache, sources
from scoring.cache import FeatureCache
from scoring.features import examine_image, find_features, load_extractor
from scoring.sources import decode_picture, open_source
from scoring.text import score_text
from support.kaggle_stand_in import dead_port
from support.mifid_sets import (
    features_of,
    jpeg,
    make_known,
    parts_of_cache,
    some_images,
    write_folder,
    write_tfrecords,
    write_zip,
)
from support.settings import ROOT

from monet.core.errors import LOG
from monet.data import layouts
from monet.scoring.inception_weights import PublishedFile, WeightsFile, find_weights
from monet.training.run_files import RunFiles

KEYS = {"fid", "mifid", "memorization_distance", "kid", "kid_std", "fid_low", "fid_high", "num_images",
        "num_reference", "epsilon", "weights", "seconds"}
MORE_KEYS = {"mifid_low", "mifid_high"}
IMAGES, REFERENCES = 20, 12


@pytest.fixture(autouse=True)
def cache_home(tmp_path, monkeypatch):
    """A cache and a log of the test's own, and no weights but those it names."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(LOG, "handlers", [])
    monkeypatch.delenv("MONET_INCEPTION_WEIGHTS", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def weights(tmp_path):
    """A stand-in for weights: the features that they would give are in the cache."""
    (tmp_path / "weights.pth").write_bytes(b"some weights")
    return str(tmp_path / "weights.pth")


@pytest.fixture
def reference(tmp_path, weights):
    """A zip of images whose features are known."""
    path = write_zip(tmp_path / "reference.zip", some_images(REFERENCES, 500))
    make_known(path, features_of(REFERENCES, 1), weights)
    return path


@pytest.fixture
def scored(capsys, weights, reference):
    """A function that runs the tool on a submission with further arguments: (status, stdout, stderr)."""
    def run(*words, reference=reference):
        status = mifid.main([*map(str, words), "--reference", str(reference), "--weights", weights])
        printed = capsys.readouterr()
        return status, printed.out, printed.err
    return run


def scores_of(scored, *words, **options):
    status, out, err = scored(*words, "--json", **options)
    assert status == 0, err
    return json.loads(out)


def write_known(form, folder, images, features, weights):
    """Writes images in one of the forms of a submission, with their features in the cache; returns the path."""
    if form == "npz":
        np.savez(folder / "features.npz", features=features)
        return folder / "features.npz"
    writers = {"zip": lambda: write_zip(folder / "some.zip", images),
               "zip with folders": lambda: write_zip(folder / "some.zip", images, "a/b/"),
               "folder": lambda: write_folder(folder / "some", images),
               "tfrecord": lambda: write_tfrecords(folder / "monet00-20.tfrec", images)}
    if form == "submission":
        path = Path(write_folder(folder / "out", {"preview.jpg": jpeg(99)}))
        write_zip(path / "images.zip", images)
    elif form == "folder of records":
        (folder / "records").mkdir()
        path = folder / "records"
        write_tfrecords(path / "photo00-20.tfrec", images)
    elif form == "training data":
        (folder / "data" / "monet_tfrec").mkdir(parents=True)
        path = folder / "data"
        write_tfrecords(path / "monet_tfrec" / "monet00-20.tfrec", images)
    else:
        path = writers[form]()
    make_known(path, features, weights)
    return path


@pytest.mark.parametrize("form", ["zip", "zip with folders", "folder", "submission", "tfrecord", "folder of records",
                                  "training data", "npz"])
def test_every_form_of_a_side_gives_the_same_score(form, scored, weights, tmp_path):
    features = features_of(IMAGES, 2, 0.2)
    path = write_known(form, tmp_path, some_images(IMAGES), features, weights)
    result = scores_of(scored, path, "--no-check")
    assert set(result) - {"note"} == KEYS | MORE_KEYS
    real = features_of(REFERENCES, 1)
    assert result["fid"] == pytest.approx(mifid.frechet_distance(features, real), rel=1e-12)
    assert result["fid_low"] <= result["fid"] <= result["fid_high"]
    assert (result["num_images"], result["num_reference"], result["epsilon"]) == (IMAGES, REFERENCES, 0.1)
    assert "not comparable" in result["note"]
    swapped = scores_of(scored, tmp_path / "reference.zip", "--no-check", reference=path)
    assert swapped["fid"] == pytest.approx(result["fid"], rel=1e-9)


def test_the_published_weights_need_no_note(tmp_path, monkeypatch):
    source = open_source(write_zip(tmp_path / "a.zip", some_images(9)))
    assert mifid.result_note([source, source], WeightsFile("some.pth", "00", ""), np.ones(9)) == ""


def test_the_figures_are_printed_with_explanations(scored, weights, tmp_path):
    path = write_known("zip", tmp_path, some_images(IMAGES), features_of(IMAGES, 2, 0.2), weights)
    status, out, err = scored(path)
    assert status == 0
    assert [line.split("  ")[0] for line in out.splitlines()[:6]] == [
        "FID", "memorization distance", "MiFID", "KID", "images", "weights"]
    assert "no penalty" in out and "95%: " in out and "20 against 12" in out
    assert "Note: other weights" in out and "not comparable" in out
    assert "Kaggle would reject this" in err and "20: Kaggle takes 7,000 to 10,000." in err
    assert "divided by it" in scored(path, "--epsilon", "0.9")[1]


def test_the_problems_are_in_the_json_unless_the_check_is_skipped(scored, weights, tmp_path):
    path = write_known("submission", tmp_path, some_images(IMAGES), features_of(IMAGES, 2), weights)
    assert "Kaggle takes 7,000" in scores_of(scored, path)["problems"][0]
    assert "problems" not in scores_of(scored, path, "--no-check")
    (path / "images.zip").unlink()
    images = some_images(IMAGES) | {"0003.jpg": jpeg(3, (64, 64))}
    for name, data in images.items():
        (path / name).write_bytes(data)
    (path / "preview.jpg").unlink()
    make_known(path, features_of(IMAGES, 2), weights)
    assert "Not 256x256 pixels: 0003.jpg" in " ".join(scores_of(scored, path)["problems"])  # not cached


@pytest.mark.parametrize(("make", "message"), [
    (lambda folder: folder / "nowhere", "nowhere does not exist"),
    (lambda folder: write_folder(folder / "empty", {}), "holds no images"),
    (lambda folder: write_folder(folder / "texts", {"a.txt": b"a"}), "holds no images"),
    (lambda folder: write_folder(folder / "begun", {"preview.jpg": jpeg(1)}), "holds only preview.jpg"),
    (lambda folder: write_zip(folder / "one.zip", some_images(1)), "holds 1 image,"),
    (lambda folder: write_zip(folder / "none.zip", {"a.txt": b""}), "holds no images"),
    (lambda folder: truncate(write_zip(folder / "cut.zip", some_images(5)), 0.6), "not a readable zip"),
    (lambda folder: truncate(write_tfrecords(folder / "cut.tfrec", some_images(5)), 0.5), "after 2 records"),
    (lambda folder: save(folder / "mu.npz", mu=np.ones(3), sigma=np.eye(3)), "holds no `features`"),
    (lambda folder: save(folder / "nan.npz", features=np.full([5, 40], np.nan)), "are not finite"),
    (lambda folder: save(folder / "narrow.npz", features=np.ones([5, 3])), "3 features each and the real ones 40"),
    (lambda folder: save(folder / "objects.npz", features=np.array([{}])), "not a readable .npz file"),
    (lambda folder: save_array(folder / "none.npy", np.zeros([0, 8, 8, 3], np.uint8)), "Give RGB images"),
    (lambda folder: save_array(folder / "flat.npy", np.zeros([5, 0, 0, 3], np.uint8)), "Give RGB images"),
    (lambda folder: announce(folder / "announced.npz", (1 << 38, 1024)), "is over 2 GB"),
    (lambda folder: announce(folder / "announced.npz", (10**200, 10**200)), "is over 2 GB"),
    (lambda folder: announce(folder / "announced.npz", (50, 40)), "not a readable .npz file"),
    (lambda folder: save(folder / "bomb.npz", features=np.zeros([140_000, 2048], np.uint8)), "is over 2 GB"),
    (lambda folder: bomb(folder / "bomb.zip", sources.MAX_BYTES + 1), "would unpack to"),
    (lambda folder: truncate(save(folder / "whole.npz", features=np.ones([50, 40])), 0.5), "not a readable .npz file"),
])
def test_what_cannot_be_scored_is_refused_without_a_traceback(make, message, scored, tmp_path):
    status, out, err = scored(make(tmp_path), "--no-check")
    assert (status, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def truncate(path, share):
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[:int(share * len(data))])
    return path


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def save_array(path, array):
    np.save(path, array)
    return path


def announce(path, shape):
    """An .npz whose header announces features of this shape, without the features."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("features.npy", file.getvalue())
    return path


def bomb(path, size):
    """A small zip of images that would unpack to a lot."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("1.jpg", "2.jpg"):
            archive.writestr(name, bytes(size))
    assert path.stat().st_size < size / 100
    return path


def test_a_zips_total_and_an_images_pixels_are_limited(monkeypatch, scored, tmp_path):
    path = bomb(tmp_path / "sum.zip", 1 << 20)
    monkeypatch.setattr(sources, "MAX_TOTAL", (2 << 20) - 1)
    assert "would unpack to" in scored(path, "--no-check")[2]
    large = io.BytesIO()
    Image.new("1", (8000, 8000)).save(large, "PNG")
    assert len(large.getvalue()) < 20_000
    with pytest.raises(ValueError, match="8000x8000"):
        decode_picture(large.getvalue())


@pytest.mark.parametrize(("words", "message"), [
    (["--sample", "1"], "--sample 1"),
    (["--epsilon", "nan"], "--epsilon nan"),
    (["--epsilon", "1e400"], "--epsilon inf"),
    (["--report", "/proc/nope/page.html"], "--report /proc/nope/page.html"),
    (["--save-features", "/"], "--save-features / cannot be written (it is a folder)"),
    (["--seed", "-1"], "--seed -1"),
])
def test_invalid_options_are_refused(words, message, scored, reference):
    status, _, err = scored(reference, *words)
    assert status == 2 and message in err
    assert "Submission: " not in err  # before any work


def test_missing_weights_and_a_remote_reference_are_refused(capsys, reference, tmp_path):
    for words, message in ((["--weights", "nowhere.pth"], "nowhere.pth cannot be read"),
                           (["--reference", "gs://bucket/data"], "only files on this machine")):
        assert mifid.main([reference, "--reference", reference, *words]) == 2
        assert message in capsys.readouterr().err


def test_a_download_is_announced_and_its_failure_says_what_to_do(reference, capsys, monkeypatch):
    nobody = PublishedFile(f"http://127.0.0.1:{dead_port()}/weights.pth", 95_000_000, "ab" * 32)
    monkeypatch.setattr(mifid, "find_weights", functools.partial(find_weights, published=nobody))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert mifid.main([reference, "--reference", reference, "--no-check"]) == 2
    printed = capsys.readouterr()
    assert re.search(f"Downloading.*95 MB.*{nobody.address}", printed.err)
    for words in (nobody.address, nobody.digest, "cache/monet/weights.pth", "--weights"):
        assert words in printed.err.splitlines()[-1]
    assert not printed.out


def test_an_unreadable_image_is_named_and_may_be_skipped(scored, weights, tmp_path):
    images = some_images(IMAGES)
    images["0007.jpg"] = images["0007.jpg"][:700]
    images["0011.jpg"] = b"no picture"
    path = write_zip(tmp_path / "some.zip", images)
    whole = write_zip(tmp_path / "whole.zip", {name: data for name, data in images.items()
                                               if name not in ("0007.jpg", "0011.jpg")})
    make_known(whole, features_of(IMAGES - 2, 2), weights)
    status, _, err = scored(path, "--no-check")
    assert status == 2
    assert "2 of 20 images" in err and "cannot be read: 0007.jpg, 0011.jpg" in err and "--skip-unreadable" in err
    result = scores_of(scored, path, "--no-check", "--skip-unreadable")
    assert (result["skipped"], result["num_images"]) == (2, IMAGES - 2)
    assert result["fid"] == scores_of(scored, whole, "--no-check")["fid"]
    data = bytearray(Path(path).read_bytes())
    data[data.find(images["0015.jpg"]) + 400] ^= 1  # the checksum no longer matches
    Path(path).write_bytes(data)
    assert "0015.jpg" in scored(path, "--no-check")[2]


def rotated_by_exif():
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(1, (256, 200), exif=exif)


@pytest.mark.parametrize(("data", "note"), [
    (lambda: jpeg(1), ""),
    (lambda: jpeg(1, mode="L"), "grayscale"),
    (lambda: jpeg(1, mode="CMYK"), "CMYK"),
    (lambda: jpeg(1, mode="RGBA", kind="PNG"), "transparency, which is dropped"),
    (lambda: jpeg(1, mode="P", kind="PNG"), "palette"),
    (lambda: png_of_16_bits(), "16-bit, with all above 255 clipped"),
    (lambda: colours_of_16_bits(2), "16-bit, of which the upper 8"),
    (lambda: colours_of_16_bits(6), "transparency, which is dropped; 16-bit"),
    (rotated_by_exif, "EXIF, which is ignored; not 256x256"),
    (lambda: jpeg(1, (320, 200)), "not 256x256, but resized"),
])
def test_unusual_images_are_read_as_the_metric_reads_them(data, note):
    image, decoded_note = decode_picture(data())
    assert note in decoded_note and bool(note) == bool(decoded_note)
    with Image.open(io.BytesIO(data())) as expected:
        assert image.shape == (*expected.size[::-1], 3)
        np.testing.assert_array_equal(image, np.asarray(expected.convert("RGB")))


def png_of_16_bits():
    file = io.BytesIO()
    Image.fromarray(np.arange(65536, dtype=np.uint16).reshape(256, 256)).save(file, "PNG")
    return file.getvalue()


def colours_of_16_bits(kind):
    """A 16-bit PNG of colour type 2, RGB, or 6, RGBA, which Pillow cannot write."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    channels = {2: 3, 6: 4}[kind]
    rows = np.random.default_rng(0).integers(0, 256, [256, 256 * channels * 2], np.uint8)
    return b"".join([
        b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", struct.pack(">IIBBBBB", 256, 256, 16, kind, 0, 0, 0)),
        chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))), chunk(b"IEND", b"")])


def test_unusual_images_are_reported_even_if_cached(scored, weights, tmp_path):
    path = write_zip(tmp_path / "some.zip", some_images(8))
    make_known(path, features_of(8, 2), weights, ["grayscale"] * 3 + [""] * 5)
    assert "3 of 8 images" in scored(path, "--no-check")[2]


def test_a_sample_is_seeded_and_its_interval_is_for_all_images(scored, weights, tmp_path):
    images, features = some_images(40), features_of(40, 2, 0.2)
    path = write_known("zip", tmp_path, images, features, weights)
    result = scores_of(scored, path, "--no-check", "--sample", "30", "--seed", "5")
    assert (result["num_images"], result["sampled_from"]) == (30, 40)
    assert result["fid"] == scores_of(scored, path, "--no-check", "--sample", "30", "--seed", "5")["fid"]
    assert result["fid"] != scores_of(scored, path, "--no-check", "--sample", "30")["fid"]
    assert "sampled_from" not in scores_of(scored, path, "--no-check", "--sample", "40")
    assert "30 of 40 images" in scored(path, "--no-check", "--sample", "30")[1]


def test_the_text_says_what_the_interval_is_for_and_how_it_is_made():
    result = {"fid": 30.0, "fid_low": 20.0, "fid_high": 25.0, "mifid": 22.0, "mifid_low": 20.0, "mifid_high": 25.0,
              "memorization_distance": 0.2, "epsilon": 0.1, "kid": 0.1, "kid_std": 0.1, "num_images": 1000,
              "num_reference": 300, "weights": "00", "seconds": 1.0, "sampled_from": 7000}
    lines = score_text(result).splitlines()
    assert "95%: 20.00 to 25.00 for all 7,000" in lines[0] and "above" in lines[0]
    assert lines[2].endswith("95%: 20.00 to 25.00 for all 7,000")
    assert "below" in score_text({**result, "fid": 10.0}).splitlines()[0]
    assert "bootstrap" in lines[7] and "bias" in lines[7]
    without = score_text({**result, **dict.fromkeys(("fid_low", "fid_high", "mifid_low", "mifid_high"))})
    assert "95%" not in without and "bootstrap" not in without and "too few for intervals" in without


def test_a_long_wait_for_the_intervals_is_announced(scored, monkeypatch, tmp_path):
    path = save(tmp_path / "some.npz", features=features_of(20))
    assert "takes longest" not in scored(path)[2]
    monkeypatch.setattr(mifid, "LARGE_RANK", 11)
    assert "takes longest" in scored(path)[2]


def test_scoring_the_reference_itself_is_noted(scored, reference):
    result = scores_of(scored, reference, "--no-check")
    assert "the submission is the reference: 12 of 12" in result["note"]
    assert result["fid"] == pytest.approx(0, abs=1e-9)


def test_the_built_in_samples_paintings_are_noted(scored, weights, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = write_known("training data", tmp_path, some_images(REFERENCES), features_of(REFERENCES, 3), weights)
    (path / "SAMPLE").touch()
    for named in (path, path / "monet_tfrec", path / "monet_tfrec" / ".", "~/data", "~/data/monet_tfrec/"):
        result = scores_of(scored, tmp_path / "reference.zip", "--no-check", reference=named)
        assert "built-in sample" in result["note"]
    (path / "SAMPLE").unlink()
    result = scores_of(scored, tmp_path / "reference.zip", "--no-check", reference=path)
    assert "built-in sample" not in result["note"]


def test_the_default_reference_is_the_data_of_training(weights, tmp_path, monkeypatch, capsys):
    """The first that `make local-train` finds: here Kaggle's mount, or else the built-in sample."""
    own = functools.partial(default_data, folder=tmp_path / "data")  # instead of the kit's own folder
    monkeypatch.setattr(mifid, "default_data", own)
    monkeypatch.setenv("MONET_KAGGLE_INPUT", str(tmp_path / "input"))
    monkeypatch.setenv("HOME", str(tmp_path))  # without credentials, nor any in the environment
    for name in [name for name in os.environ if name.startswith("KAGGLE_")]:
        monkeypatch.delenv(name)
    path = write_known("zip", tmp_path, some_images(IMAGES), features_of(IMAGES, 2), weights)
    for place, is_sample in (("data/sample", True), ("input/gan-getting-started", False)):
        (tmp_path / place / "monet_tfrec").mkdir(parents=True)
        (tmp_path / place / "photo_tfrec").mkdir()
        paintings = tmp_path / place / "monet_tfrec" / "monet00-12.tfrec"
        make_known(write_tfrecords(paintings, some_images(REFERENCES, 500)), features_of(REFERENCES, 1), weights)
        if is_sample:
            (tmp_path / place / "SAMPLE").touch()
        assert mifid.main([path, "--weights", weights, "--json", "--no-check"]) == 0
        printed = capsys.readouterr()
        assert ("built-in sample" in json.loads(printed.out)["note"]) == is_sample
        assert f"Reference: 12 images (TFRecords) in {paintings.parent}" in printed.err


def test_paintings_are_found_where_training_finds_them():
    """tools/scoring repeats the list so that TensorFlow need not be loaded."""
    paintings = [folder for _, folder, _ in layouts.LAYOUTS]
    assert list(sources.PAINTINGS) == [layouts.ARRAYS[0], *paintings]


def test_an_array_can_be_a_reference(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, [5, 8, 9, 3], np.uint8)
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "monet.npy", pictures)
    source = open_source(str(tmp_path / "data"))
    assert len({source.digest(position) for position in range(5)}) == 5
    np.testing.assert_array_equal(source.decode(source.reads[3]())[0], pictures[3])


def test_saved_features_can_be_scored(scored, weights, tmp_path):
    features = features_of(IMAGES, 2)
    path = write_known("zip", tmp_path, some_images(IMAGES), features, weights)
    first = scores_of(scored, path, "--no-check", "--save-features", tmp_path / "new" / "saved.npz")
    with np.load(tmp_path / "new" / "saved.npz") as saved:
        assert set(saved) == {"features", "mu", "sigma"}
        np.testing.assert_array_equal(saved["features"], features)
        np.testing.assert_allclose(saved["sigma"], np.cov(features.astype(np.float64), rowvar=False))
        np.testing.assert_allclose(saved["mu"], features.astype(np.float64).mean(axis=0))
    assert scores_of(scored, tmp_path / "new" / "saved.npz")["fid"] == first["fid"]


@pytest.mark.parametrize(("name", "shape"), [
    ("features", (IMAGES, 40, 1, 1)), ("arr_0", (IMAGES, 40)), ("arr_0", (IMAGES, 1, 1, 40))])
def test_features_as_a_network_leaves_them_are_taken(scored, tmp_path, name, shape):
    """With the sides of 1 of its last pooling, or saved without a name."""
    features = features_of(IMAGES, 2)
    plain = scores_of(scored, save(tmp_path / "plain.npz", features=features))
    other = scores_of(scored, save(tmp_path / "other.npz", **{name: features.reshape(shape)}))
    assert (other["mifid"], other["num_images"]) == (plain["mifid"], IMAGES)


def test_the_score_of_a_run_is_left_for_its_page(scored, weights, tmp_path, capsys):
    """Beside the images.zip of a run, and of nothing else."""
    path = Path(write_known("submission", tmp_path, some_images(IMAGES), features_of(IMAGES, 2), weights))
    files = RunFiles(str(path))
    result = scores_of(scored, path, "--no-check")
    assert not os.path.exists(files.score)
    (path / "config.json").write_text("{}")
    result = scores_of(scored, path, "--no-check")
    assert json.loads(Path(files.score).read_text()) == result
    Path(files.score).unlink()
    Path(files.score).mkdir()
    (Path(files.score) / "in the way").touch()
    status, out, err = scored(path, "--no-check")
    assert status == 0 and "MiFID" in out and "mifid.json" in err


def test_copies_are_not_taken_for_known_images(weights, tmp_path, capsys):
    """Of 5 images that have never been seen, 2 have the same bytes."""
    images = some_images(4)
    source = open_source(write_zip(tmp_path / "some.zip", {**images, "copy.jpg": images["0000.jpg"]}))
    for known in (False, True):
        found = find_features(source, list(range(5)), WeightsFile(weights, "00" * 32, ""),
                              lambda: lambda batch: features_of(len(batch)))
        assert len(found.features) == 5 and (found.features[0] == found.features[4]).all()
        said = capsys.readouterr().err
        assert "known" not in said and ("1 of 5" in said) == (not known)


def test_the_score_is_printed_before_files_are_written(scored, weights, tmp_path):
    """So that a report that cannot be written does not lose the score."""
    path = write_known("zip", tmp_path, some_images(IMAGES), features_of(IMAGES, 2), weights)
    checked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mifid, "check_target", lambda *words: checked.append(words))  # the disk fills up afterwards
        status, out, err = scored(path, "--no-check", "--json", "--report", "/proc/nope/page.html")
    assert checked == [("--report", "/proc/nope/page.html")]
    assert status == 2 and "cannot be written" in err
    assert set(json.loads(out)) >= KEYS


def test_the_check_comes_before_the_weights(tmp_path, capsys, reference):
    path = write_zip(tmp_path / "some.zip", some_images(3))
    assert mifid.main([path, "--reference", reference, "--weights", "nowhere.pth"]) == 2
    errors = capsys.readouterr().err
    assert 0 < errors.find("Kaggle would reject this") < errors.find("nowhere.pth cannot be read")


def test_unprintable_names_are_shown(scored, weights, tmp_path):
    """Names of images and folders with line ends and invalid UTF-8, also in the report."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/f\xff"))
    names = [os.fsdecode(b"\xe9t\xe9-%d\n.jpg" % number) for number in range(9)]
    path = write_folder(folder, dict(zip(names, some_images(9).values(), strict=True)))
    make_known(path, features_of(9, 2), weights, ["grayscale"] * 9)
    status, _, err = scored(path, "--no-check", "--report", tmp_path / "page.html")
    assert status == 0
    assert "?t?-0?.jpg" in err
    assert "?t?-8?.jpg" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_names_in_a_zip_are_never_used_as_paths(scored, weights, tmp_path):
    images = {f"../../escaped{number}.jpg": data for number, data in enumerate(some_images(9).values())}
    path = write_zip(tmp_path / "some.zip", images)
    make_known(path, features_of(9, 2), weights)
    before = sorted(tmp_path.rglob("*"))
    scores_of(scored, path, "--no-check")
    assert sorted(tmp_path.rglob("*")) == before
    assert not list(tmp_path.parent.glob("escaped*"))


def test_a_second_run_does_not_load_tensorflow(scored, weights, reference, tmp_path):
    """It neither decodes nor checks again. In its own process, as a user starts it."""
    path = write_known("submission", tmp_path, some_images(IMAGES), features_of(IMAGES, 2), weights)
    first = scores_of(scored, path)
    words = [str(path), "--reference", reference, "--weights", weights, "--json"]
    code = f"import sys, mifid; status = mifid.main({words!r}); sys.exit(status or 'tensorflow' in sys.modules)"
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120,
                           env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tools'}"})
    assert again.returncode == 0, again.stderr
    second = json.loads(again.stdout)
    assert second["problems"] == first["problems"] and second["fid"] == pytest.approx(first["fid"], rel=1e-12)


def test_the_cache_evicts_the_least_recently_used_and_survives_damage(cache_home, monkeypatch):
    features, digests = FeatureCache("00" * 32), [bytes([number]) * 32 for number in range(3)]
    for number, digest in enumerate(digests[:2]):
        features.add([digest], features_of(1, number), ["note"])
        os.utime(parts_of_cache(cache_home)[-1])
    assert set(features.find(digests)) == set(digests[:2])
    assert not FeatureCache("11" * 32).find(digests)  # of other weights
    np.testing.assert_array_equal(features.find(digests)[digests[1]][0], features_of(1, 1)[0])
    damaged, whole = parts_of_cache(cache_home)
    truncate(damaged, 0.5)
    assert len(features.find(digests)) == 1
    assert parts_of_cache(cache_home) == [whole]
    os.utime(whole, (1, 1))
    monkeypatch.setattr(cache, "MAX_FEATURE_BYTES", whole.stat().st_size)
    features.add([digests[2]], features_of(1, 2), [""])
    assert set(features.find(digests)) == {digests[2]}


def test_an_interrupted_run_keeps_what_it_had(tmp_path, cache_home, capsys):
    """From images to the score with a narrow network: the second run computes only what the first did not reach."""
    path = write_zip(tmp_path / "some.zip", {f"{number}.jpg": jpeg(number, (64, 64)) for number in range(40)})
    write_state_dict(tmp_path / "weights.pth", random_state(narrow=16))
    weights = find_weights(str(tmp_path / "weights.pth"))
    extract, source = load_extractor(weights), open_source(path)
    reads = []

    def interrupted(read=source.reads[36]):
        reads.append(1)
        if len(reads) == 3:  # after its digest and its examination
            raise KeyboardInterrupt
        return read()

    source.reads[36] = interrupted
    with pytest.raises(KeyboardInterrupt):
        find_features(source, list(range(40)), weights, lambda: extract)
    [part] = parts_of_cache(cache_home)
    with np.load(part) as saved:
        assert len(saved["features"]) == 32  # the first batch
    assert mifid.main([path, "--reference", path, "--weights", weights.path, "--json", "--no-check"]) == 0
    printed = capsys.readouterr()
    assert "32 of 40 images" in printed.err
    assert "not 256x256" in printed.err
    result = json.loads(printed.out)
    assert result["num_images"] == 40 and result["weights"] == weights.digest
    assert sum(len(np.load(part)["features"]) for part in parts_of_cache(cache_home)) == 40


@pytest.mark.parametrize("error", [MemoryError, ZeroDivisionError, RecursionError])
def test_whatever_a_decoder_raises_is_one_images_failure(error):
    def decode(data):
        raise error

    assert examine_image(sources.Source("", "pictures", ["a"], [bytes], decode), 0) == ("", error.__name__)


def test_a_folder_with_other_formats_and_names_that_are_not_utf_8(tmp_path, capsys):
    for name in (b"a.jpg", b"caf\xe9.jpg", b"b.jfif", b"c.webp", b"no\xff.txt"):
        (tmp_path / os.fsdecode(name)).write_bytes(jpeg(1))
    source = open_source(str(tmp_path))
    assert source.names == ["a.jpg", "b.jfif", "caf?.jpg"]
    assert "1 .webp (c.webp)" in capsys.readouterr().err
    assert source.reads[2]() == jpeg(1)
