"""The cache of tools/mifid.py: it returns only what is still true, and the tool works without it."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import mifid
import numpy as np
import pytest
from scoring import cache
from scoring.cache import FeatureCache, cached_problems
from scoring.features import compute_features, find_features, read_image
from scoring.sources import open_source
from support.damage import damaged
from support.mifid_sets import features_of, jpeg, make_known, parts_of_cache, some_images, write_folder, write_zip
from support.settings import ROOT

from monet.core.errors import UserError
from monet.scoring.inception_weights import WeightsFile

DIGESTS = [bytes([number]) * 32 for number in range(3)]
UNWRITABLE = "/proc/nope"  # not even for root


@pytest.fixture(autouse=True)
def cache_home(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pooled(images):
    """A stand-in for the network: 2 features per image."""
    return np.stack([np.asarray(images).mean((1, 2, 3)), np.asarray(images).std((1, 2, 3))], axis=1)


def test_features_belong_to_the_code_that_made_them(tmp_path, monkeypatch):
    copies = [tmp_path / path.name for path in cache.FEATURE_CODE]
    for copy, path in zip(copies, cache.FEATURE_CODE, strict=True):
        copy.write_bytes(path.read_bytes())
    assert {"inception.py", "sources.py"} <= {path.name for path in copies}
    FeatureCache("00").add(DIGESTS[:1], features_of(1), [""])
    monkeypatch.setattr(cache, "FEATURE_CODE", tuple(copies))
    assert FeatureCache("00").find(DIGESTS)  # the same bytes elsewhere
    for copy in copies:
        text = copy.read_bytes()
        copy.write_bytes(text + b"# changed")
        assert not FeatureCache("00").find(DIGESTS)
        copy.write_bytes(text)
    monkeypatch.setattr(cache.PIL, "__version__", "0.0")
    assert not FeatureCache("00").find(DIGESTS)


def test_the_tool_works_without_a_writable_cache(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", UNWRITABLE)
    source = open_source(write_zip(tmp_path / "some.zip", some_images(3)))
    images = find_features(source, [0, 1, 2], WeightsFile("some.pth", "00", ""), lambda: pooled)
    assert images.features.shape == (3, 2) and len(np.unique(images.features, axis=0)) == 3
    assert cached_problems(b"key", lambda: ["wrong"]) == ["wrong"]
    errors = capsys.readouterr().err
    assert errors.count(f"warning: {UNWRITABLE}") == 1
    assert "--out" not in errors


def test_a_read_only_cache_is_used(cache_home, monkeypatch):
    """Files can be neither touched nor removed."""
    features = FeatureCache("00")
    features.add(DIGESTS[:1], features_of(1), [""])
    (features.folder / "damaged.npz").write_bytes(b"no zip")

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cache.os, "utime", refused)
    monkeypatch.setattr(cache.Path, "unlink", refused)
    assert set(features.find(DIGESTS)) == set(DIGESTS[:1])
    monkeypatch.setattr(cache, "MAX_FEATURE_BYTES", 1)
    assert features.add(DIGESTS[1:2], features_of(1), [""])
    assert len(parts_of_cache(cache_home)) == 3


def test_features_evicted_at_once_are_still_returned(cache_home, monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "MAX_FEATURE_BYTES", 1)
    source = open_source(write_zip(tmp_path / "some.zip", some_images(3)))
    images = find_features(source, [0, 1, 2], WeightsFile("some.pth", "00", ""), lambda: pooled)
    assert images.features.shape == (3, 2) and not parts_of_cache(cache_home)


def test_features_that_are_not_finite_are_not_stored():
    features = features_of(3)
    features[1, 5] = np.nan
    FeatureCache("00").add(DIGESTS, features, ["a", "b", "c"])
    stored = FeatureCache("00").find(DIGESTS)
    assert {digest: note for digest, (_, note) in stored.items()} == {DIGESTS[0]: "a", DIGESTS[2]: "c"}
    np.testing.assert_array_equal(stored[DIGESTS[2]][0], features[2])


def test_whatever_byte_of_the_cache_is_damaged_what_it_finds_is_right(cache_home):
    features, chance = features_of(3), random.Random(0)
    FeatureCache("00").add(DIGESTS, features, ["a", "b", "c"])
    [part] = parts_of_cache(cache_home)
    content, removed = part.read_bytes(), 0
    for _ in range(300):
        part.write_bytes(damaged(content, chance))
        found = FeatureCache("00").find(DIGESTS)
        removed += not part.exists()
        assert len(found) == (3 if part.exists() else 0)
        for digest, (row, note) in found.items():
            np.testing.assert_array_equal(row, features[DIGESTS.index(digest)])
            assert note == "abc"[DIGESTS.index(digest)]
    assert 100 < removed < 300


@pytest.mark.parametrize("text", ["{}", "null", "[1]", "[[]]", "\"wrong\"", "[", ""])
def test_cached_problems_are_a_list_of_sentences(text, cache_home):
    assert cached_problems(b"key", lambda: ["first"]) == ["first"]
    assert cached_problems(b"key", lambda: ["second"]) == ["first"]
    [path] = cache_home.glob("monet/checks/*.json")
    path.write_text(text)
    assert cached_problems(b"key", lambda: ["second"]) == ["second"]
    assert json.loads(path.read_text()) == ["second"]


def test_problems_with_unreadable_files_are_not_cached(cache_home, tmp_path):
    folder = Path(write_folder(tmp_path / "some", some_images(3)))
    source = open_source(str(folder))
    (folder / "0001.jpg").rename(folder / "away")
    (folder / "0001.jpg").mkdir()  # a folder cannot be read
    assert "0001.jpg" in " ".join(mifid.check_submission(source))
    assert not list(cache_home.glob("monet/checks/*"))
    (folder / "0001.jpg").rmdir()
    (folder / "away").rename(folder / "0001.jpg")
    assert "0001.jpg" not in " ".join(mifid.check_submission(open_source(str(folder))))
    assert len(list(cache_home.glob("monet/checks/*"))) == 1


def test_an_image_that_changes_meanwhile_is_refused(tmp_path):
    """Features are stored under the digest of their own bytes or not at all."""
    folder = Path(write_folder(tmp_path / "some", some_images(3)))
    source = open_source(str(folder))
    before = source.digest(1)
    read_image(source, 1, before)
    (folder / "0001.jpg").write_bytes(jpeg(7))
    with pytest.raises(UserError, match="0001.jpg in .* changed"):
        compute_features(source, {before: 1}, {before: ""}, pooled, FeatureCache("00"), "Features")
    (folder / "0001.jpg").unlink()
    with pytest.raises(UserError, match="0001.jpg in .* changed"):
        read_image(source, 1, before)
    assert not FeatureCache("00").find([before])


def test_an_interruption_reports_only_what_was_saved(tmp_path, capsys, monkeypatch):
    source = open_source(write_zip(tmp_path / "some.zip", some_images(40)))
    calls = []

    def interrupted(images):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return pooled(images)

    def run():
        calls.clear()
        with pytest.raises(KeyboardInterrupt):
            find_features(source, list(range(40)), WeightsFile("some.pth", "00", ""), lambda: interrupted)
        return capsys.readouterr().err

    assert "32 more images were saved" in run()
    monkeypatch.setenv("XDG_CACHE_HOME", f"{UNWRITABLE}/else")
    assert "were saved" not in run()


def test_an_interrupted_check_ends_with_130(tmp_path, monkeypatch, capsys):
    (tmp_path / "weights.pth").write_bytes(b"some")
    path = write_zip(tmp_path / "some.zip", some_images(9))
    make_known(path, features_of(9), tmp_path / "weights.pth")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(mifid, "check_submission", interrupted)
    assert mifid.main([path, "--reference", path, "--weights", str(tmp_path / "weights.pth")]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "Interrupted."


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    """As with `--json | head -0`; the files are still written."""
    np.savez(tmp_path / "a.npz", features=features_of(20, 1))
    reading, writing = os.pipe()
    os.close(reading)
    words = [sys.executable, str(ROOT / "tools" / "mifid.py"), str(tmp_path / "a.npz"), "--reference",
             str(tmp_path / "a.npz"), "--json", "--save-features", str(tmp_path / "saved.npz")]
    ended = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
                           env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
    os.close(writing)
    assert ended.returncode == 0 and "Error" not in ended.stderr
    assert (tmp_path / "saved.npz").exists()
