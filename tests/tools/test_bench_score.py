"""tools/benchmark/score.py: that its truth is one, and that what it measures is what it says."""

import os

import numpy as np
import pytest
from benchmark import score as bench_score
from benchmark.score import digits, our_distance, sqrtm_distance, true_distance


def small_features():
    random = np.random.default_rng(0)
    mixing = random.normal(0, 1, [30, 30]) * np.arange(1, 31)[:, None] ** -0.7
    return tuple((random.normal(shift, 1, [count, 30]) @ mixing).astype(np.float32)
                 for count, shift in ((200, 0.1), (20, 0.0)))


def test_the_truth_is_one():
    """Triangles whose covariances are diagonal, in closed form; and more digits than float64 gets wrong."""
    generated, real = (np.array([[0, 0], [2 * a, 0], [a, b]]) for a, b in ((1.0, 3.0), (1.7, 0.4)))
    wanted = 0.7**2 + ((3.0 - 0.4) / 3) ** 2 + 0.7**2 + (3.0 - 0.4) ** 2 / 3
    assert digits(true_distance(generated, real), wanted) > 14
    generated, real = small_features()
    truth = true_distance(generated, real)
    assert digits(our_distance(generated, real), truth) > 13
    assert 2 < digits(sqrtm_distance(generated, real), truth) < 13


def test_digits():
    assert digits(1.001, 1.0) == pytest.approx(3)
    assert digits(2.0, 2.0) == 17


def test_the_rows_measure_in_pairs(monkeypatch, tmp_path):
    assert set(bench_score.SCORE_ROWS) == {"fid", "second-run"}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(bench_score, "GENERATED", 30)
    bench_score.write_submission(tmp_path / "images.zip")
    (tmp_path / "weights").write_bytes(b"some")
    bench_score.fill_cache(tmp_path / "images.zip", tmp_path / "weights", np.ones([30, 4], np.float32))
    from scoring.cache import FeatureCache
    from scoring.sources import open_source

    from monet.scoring.inception_weights import digest_of

    source = open_source(str(tmp_path / "images.zip"))
    digests = {source.digest(at) for at in range(30)}
    assert len(digests) == 30 == len(FeatureCache(digest_of(str(tmp_path / "weights"))).find(digests))


def test_the_second_run_finds_its_cache_and_leaves_the_users(monkeypatch, tmp_path):
    """Run once, with fewer images: random bytes are no weights, so that it fails if features must be computed."""
    monkeypatch.setattr(bench_score, "GENERATED", 30)
    monkeypatch.setattr(bench_score, "PAIRS", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    [seconds] = bench_score.second_run_row(None).ours
    assert seconds < 60
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path) and not list(tmp_path.iterdir())
