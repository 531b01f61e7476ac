"""tools/benchmark/fid.py and score.py: the exact FID is exact, and the rows measure what they say."""

import os

import numpy as np
import pytest
from benchmark.fid import exact_distance, our_distance, sqrtm_distance
from benchmark.score import SCORE_ROWS, correct_digits, fill_cache, second_run_rows, write_submission


def small_features():
    random = np.random.default_rng(0)
    mixing = random.normal(0, 1, [30, 30]) * np.arange(1, 31)[:, None] ** -0.7
    return tuple((random.normal(shift, 1, [count, 30]) @ mixing).astype(np.float32)
                 for count, shift in ((200, 0.1), (20, 0.0)))


def test_the_exact_distance_is_exact():
    """For triangles with diagonal covariances, by the closed form; and it has more digits than float64 gets wrong."""
    generated, real = (np.array([[0, 0], [2 * a, 0], [a, b]]) for a, b in ((1.0, 3.0), (1.7, 0.4)))
    expected = 0.7**2 + ((3.0 - 0.4) / 3) ** 2 + 0.7**2 + (3.0 - 0.4) ** 2 / 3
    assert correct_digits(exact_distance(generated, real), expected) > 14
    generated, real = small_features()
    exact = exact_distance(generated, real)
    assert correct_digits(our_distance(generated, real), exact) > 13
    assert 2 < correct_digits(sqrtm_distance(generated, real), exact) < 13


def test_correct_digits():
    assert correct_digits(1.001, 1.0) == pytest.approx(3)
    assert correct_digits(2.0, 2.0) == 17


def test_a_filled_cache_knows_every_image_of_a_submission(monkeypatch, tmp_path):
    assert set(SCORE_ROWS) == {"fid", "second-run"}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    write_submission(tmp_path / "images.zip", 30)
    (tmp_path / "weights").write_bytes(b"some")
    fill_cache(tmp_path / "images.zip", tmp_path / "weights")
    from scoring.cache import FeatureCache
    from scoring.sources import open_source

    from monet.scoring.inception_weights import digest_of

    source = open_source(str(tmp_path / "images.zip"))
    digests = {source.digest(index) for index in range(30)}
    assert len(digests) == 30 == len(FeatureCache(digest_of(str(tmp_path / "weights"))).find(digests))


def test_the_second_run_finds_its_cache_and_leaves_the_users_alone(monkeypatch, tmp_path):
    """The weights are random bytes: the tool would fail if it had to compute features."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    [row] = second_run_rows(None, count=30, repeats=1)
    assert len(row.ours) == 1 and row.ours[0] < 60
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path) and not list(tmp_path.iterdir())
