"""The intervals of a score: how often they contain the truth, by sampling from a known generator."""

import numpy as np
import pytest
from scoring.interval import balanced_draws, distances_of_draws, find_intervals, group_moments, random_groups

from monet.scoring.mifid import apply_penalty, find_nearest, frechet_distance

WIDTH, REFERENCES = 32, 12
REAL_SPREAD = np.arange(1, WIDTH + 1) ** -0.5


def draw(random, count, shift=0.0):
    return np.maximum(random.normal(0.3 + shift, 1, [count, WIDTH]) * REAL_SPREAD + 0.3, 0)


def intervals(generated, real, **options):
    return find_intervals(generated, real, frechet_distance(generated, real),
                          find_nearest(generated, real).distances, **options)


@pytest.mark.parametrize(("count", "total"), [(400, 400), (100, 400)])
def test_they_contain_the_expected_score_of_all_images(count, total):
    """In about 95 of 100 cases, also if only a sample was scored, whose own FID is too large."""
    random = np.random.default_rng(0)
    real = draw(random, REFERENCES, 0.3)
    truth = np.mean([frechet_distance(draw(random, total), real) for _ in range(100)])
    results = [intervals(draw(random, count), real, total=total) for _ in range(100)]
    hits = sum(low <= truth <= high for (low, high), _, _ in results)
    assert 88 <= hits <= 100
    excess = np.mean([result.excess for result in results])
    own = np.mean([frechet_distance(draw(random, count), real) for _ in range(100)])
    assert excess == pytest.approx(own - truth, abs=0.03 * truth)
    assert (excess == 0) == (count == total)


def test_plain_percentiles_would_not():
    """They seldom contain even the computed score, which is why the bootstrap's bias is subtracted."""
    random = np.random.default_rng(1)
    generated_of, real = (lambda count: random.normal(0.05, 1, [count, 64])), random.normal(0, 1, [40, 64])
    hits = 0
    for _ in range(20):
        generated = generated_of(100)
        own = frechet_distance(generated, real)
        again = [frechet_distance(generated[random.integers(0, 100, 100)], real) for _ in range(60)]
        hits += np.quantile(again, 0.025) <= own <= np.quantile(again, 0.975)
        low, high = intervals(generated, real).fid
        assert low <= own <= high
    assert hits < 10


def test_they_are_as_wide_as_a_bootstrap_of_single_images():
    """On average over several sets, although groups of images are drawn."""
    random = np.random.default_rng(6)
    real, ours, plain = draw(random, REFERENCES, 0.3), [], []
    for _ in range(8):
        generated = draw(random, 300)
        again = [frechet_distance(generated[random.integers(0, 300, 300)], real) for _ in range(200)]
        plain.append(np.diff(np.quantile(again, [0.025, 0.975]))[0])
        ours.append(np.diff(intervals(generated, real).fid)[0])
    assert np.mean(ours) == pytest.approx(np.mean(plain), rel=0.15)


def test_draws_are_with_replacement_and_balanced():
    drawn = balanced_draws(20, 50, np.random.default_rng(0))
    assert drawn.shape == (50, 20)
    assert (drawn.sum(axis=1) == 20).all() and (drawn.sum(axis=0) == 50).all()
    assert (drawn == 0).mean() == pytest.approx(np.exp(-1), abs=0.03)  # as in a Poisson distribution of mean 1
    assert drawn.var() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("shape", [(90, 12), (40, 70), (10, 12)])
def test_drawn_groups_have_the_fid_of_their_images(shape):
    random = np.random.default_rng(2)
    generated, real = draw(random, shape[0]), draw(random, shape[1], 0.3)
    groups = random_groups(len(generated), min(len(generated), *real.shape), random)
    assert sorted(np.concatenate(groups)) == list(range(shape[0]))
    draws = balanced_draws(len(groups), 6, random)
    distances = distances_of_draws(group_moments(generated, real, groups), draws,
                                   generated.mean(axis=0) - real.mean(axis=0), real.var(axis=0, ddof=1).sum())
    for distance, counts in zip(distances, draws, strict=True):
        rows = np.concatenate([np.tile(group, int(count)) for group, count in zip(groups, counts, strict=True)])
        assert distance == pytest.approx(frechet_distance(generated[rows], real), rel=1e-6)


def test_mifid_follows_the_penalty():
    random = np.random.default_rng(3)
    real = draw(random, REFERENCES)
    copies = real[random.integers(0, REFERENCES // 2, 200)] * random.normal(1, 0.01, [200, WIDTH])
    penalized, distance = intervals(copies, real), np.mean(find_nearest(copies, real).distances)
    assert distance < 0.1
    score = apply_penalty(frechet_distance(copies, real), distance)
    assert penalized.fid[1] < penalized.mifid[0] <= score <= penalized.mifid[1]
    plain = intervals(copies, real, epsilon=0.0)
    assert plain.mifid == pytest.approx(plain.fid)


@pytest.mark.filterwarnings("error")
def test_draws_without_any_distance_are_left_out():
    random = np.random.default_rng(5)
    real, generated = draw(random, REFERENCES), draw(random, 12)
    generated[1:] = 0
    assert np.isfinite(intervals(generated, real).mifid).all()


def test_few_images_have_no_interval_and_the_seed_determines_it():
    random = np.random.default_rng(4)
    real, generated = draw(random, REFERENCES), draw(random, 50)
    assert intervals(generated[:7], real) is None
    assert intervals(generated, real, seed=1) == intervals(generated, real, seed=1) != intervals(generated, real)
