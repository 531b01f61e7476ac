"""FID, memorization distance, MiFID and KID against closed forms, scipy's sqrtm, and Kaggle's formulas verbatim."""

import tracemalloc

import numpy as np
import pytest
import scipy.linalg

from monet.core.errors import UserError
from monet.scoring import mifid as mifid_module
from monet.scoring.mifid import find_nearest, frechet_distance, kernel_distance, memorization_distance, mifid

EPSILON = 0.1


def random_features(count, width, seed=0, scale=1.0):
    """Features that are skewed and not negative, like the network's."""
    random = np.random.default_rng(seed)
    return np.maximum(random.normal(0.3, scale, [count, width]) @ random.normal(0, 1, [width, width]) / width, 0)


def kaggle_scores(generated, real):
    """(FID, memorization distance, MiFID) by Kaggle's formulas, computed straightforwardly."""
    mean_g, mean_r = generated.mean(axis=0), real.mean(axis=0)
    cov_g, cov_r = np.cov(generated, rowvar=False), np.cov(real, rowvar=False)
    root = scipy.linalg.sqrtm(cov_g @ cov_r).real
    fid = ((mean_g - mean_r) ** 2).sum() + np.trace(cov_g) + np.trace(cov_r) - 2 * np.trace(root)
    generated, real = (side[side.sum(axis=1) != 0] for side in (generated, real))
    norms = [np.linalg.norm(side, axis=1, keepdims=True) for side in (generated, real)]
    distances = 1 - np.abs((generated / norms[0]) @ (real / norms[1]).T)
    distance = distances.min(axis=1).mean()
    return fid, distance, fid / ((distance if distance < EPSILON else 1) + 1e-15)


def test_identical_sets_have_distance_0():
    for count in (5, 40):  # fewer and more images than features
        images = random_features(count, 16)
        scale = images.var(axis=0).sum()
        assert frechet_distance(images, images) < 1e-12 * scale
        assert memorization_distance(images, images) == pytest.approx(0, abs=1e-15)
        assert frechet_distance(np.repeat(images, 3, axis=0), images) < 0.2 * scale  # only ddof differs


def test_distances_of_copies_are_not_negative():
    """At the real width, where rounding puts a cosine above 1."""
    real = np.abs(np.random.default_rng(0).normal(size=[60, 2048]))
    assert (find_nearest(real[:30], real).distances >= 0).all()
    assert mifid(real[:30], real) > 0


def test_features_on_one_axis():
    """Covariances of rank 1 have a closed form."""
    first, second = np.zeros([3, 4]), np.zeros([5, 4])
    first[:, 0], second[:, 0] = [0, 1, 5], [2, 2, 2, 7, 1]
    spreads = np.std(first[:, 0], ddof=1) - np.std(second[:, 0], ddof=1)
    assert frechet_distance(first, second) == pytest.approx((2 - 2.8) ** 2 + spreads**2, rel=1e-13)
    other = second[:, [1, 0, 2, 3]]  # on another axis, nothing is shared
    expected = 2**2 + 2.8**2 + np.var(first[:, 0], ddof=1) + np.var(second[:, 0], ddof=1)
    assert frechet_distance(first, other) == pytest.approx(expected, rel=1e-13)


def test_gaussians_of_known_parameters():
    random = np.random.default_rng(0)
    means, spreads = random.normal(0, 1, [2, 8]), random.uniform(0.5, 2, [2, 8])
    first, second = (random.normal(mean, spread, [200_000, 8]) for mean, spread in zip(means, spreads, strict=True))
    expected = np.square(means[0] - means[1]).sum() + np.square(spreads[0] - spreads[1]).sum()
    assert frechet_distance(first, second) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("generated", "real"), [(90, 70), (90, 20), (20, 90), (33, 32), (300, 31)])
def test_scores_equal_kaggles_formulas(generated, real):
    """To 1e-6 at full rank; where a side has fewer images than features, sqrtm itself is less accurate."""
    width = 32
    first, second = random_features(generated, width, 1), random_features(real, width, 2)
    fid, distance, score = kaggle_scores(first, second)
    tolerance = 1e-6 if min(generated, real) > width + 1 else 1e-3
    assert frechet_distance(first, second) == pytest.approx(fid, rel=tolerance)
    assert frechet_distance(second, first) == pytest.approx(frechet_distance(first, second), rel=1e-12)
    assert memorization_distance(first, second) == pytest.approx(distance, rel=1e-12)
    assert mifid(first, second) == pytest.approx(score, rel=tolerance)


def test_fid_equals_a_form_with_real_eigenvalues_whichever_side_is_smaller():
    width = 24
    for generated, real in ((60, 9), (9, 60), (60, 50), (12, 11)):
        first, second = random_features(generated, width, 3), random_features(real, width, 4)
        root_g = scipy.linalg.eigh(np.cov(first, rowvar=False))
        root_g = root_g[1] @ np.diag(np.sqrt(np.maximum(root_g[0], 0))) @ root_g[1].T
        inner = root_g @ np.cov(second, rowvar=False) @ root_g
        trace = np.sqrt(np.maximum(scipy.linalg.eigvalsh(inner), 0)).sum()
        expected = (np.square(first.mean(0) - second.mean(0)).sum() + first.var(0, ddof=1).sum()
                    + second.var(0, ddof=1).sum() - 2 * trace)
        assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("case", ["near copies", "zero rows", "duplicates", "signs", "half copies"])
def test_difficult_sets_score_as_by_kaggles_formulas(case):
    real = random_features(70, 24, 5)
    generated = random_features(90, 24, 6)
    if case == "near copies":
        generated = real[np.arange(90) % 70] * np.random.default_rng(0).normal(1, 1e-3, [90, 24])
    elif case == "zero rows":
        generated[::4], real[::7] = 0, 0
    elif case == "duplicates":
        generated, real = generated[np.arange(180) % 90], real[np.arange(140) % 70]
    elif case == "signs":  # Kaggle takes the cosine's absolute value
        generated -= 0.2
    elif case == "half copies":
        generated[:45] = real[:45]
    fid, distance, score = kaggle_scores(generated, real)
    assert frechet_distance(generated, real) == pytest.approx(fid, rel=1e-6)
    assert memorization_distance(generated, real) == pytest.approx(distance, rel=1e-9)
    assert mifid(generated, real) == pytest.approx(score, rel=1e-6)
    assert (distance < EPSILON) or case != "near copies"


def test_the_threshold_is_strict():
    """A distance of exactly epsilon is not penalized."""
    generated, real = random_features(30, 8, 7), random_features(20, 8, 8)
    distance, fid = memorization_distance(generated, real), frechet_distance(generated, real)
    assert mifid(generated, real, distance) == pytest.approx(fid, rel=1e-12)
    assert mifid(generated, real, np.nextafter(distance, 1)) == pytest.approx(fid / distance, rel=1e-12)


def test_the_nearest_is_found_across_blocks(monkeypatch):
    monkeypatch.setattr(mifid_module, "ROWS_AT_ONCE", 7)
    real = random_features(25, 12, 9)
    generated = random_features(40, 12, 10)
    generated[3], generated[21], real[0] = 0, 2.5 * real[13], 0
    distances, indices = find_nearest(generated, real)
    assert np.isnan(distances[3]) and indices[3] == -1
    assert indices[21] == 13
    assert distances[21] == pytest.approx(0, abs=1e-12)
    cosines = generated[5] @ real[1:].T / np.linalg.norm(generated[5]) / np.linalg.norm(real[1:], axis=1)
    assert indices[5] == 1 + cosines.argmax()
    assert distances[5] == pytest.approx(1 - cosines.max(), rel=1e-12)


def test_distances_and_kernel_values_of_ten_thousand_images_are_never_all_in_memory():
    """10,000 x 10,000 of them take 800 MB in float64."""
    generated, real = (np.random.default_rng(seed).random([10_000, 3]) for seed in (0, 1))
    for measure in (find_nearest, kernel_distance, frechet_distance):
        tracemalloc.start()
        measure(generated, real)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 400 << 20


def test_kid_is_the_unbiased_estimate(monkeypatch):
    """It equals the sum over all pairs, is about 0 for sets of one distribution, and larger for another."""
    first, second = random_features(12, 6, 11), random_features(12, 6, 12)

    def kernel(a, b):
        return (a @ b / 6 + 1) ** 3

    pairs = [(i, j) for i in range(12) for j in range(12) if i != j]
    expected = (np.mean([kernel(first[i], first[j]) for i, j in pairs])
                + np.mean([kernel(second[i], second[j]) for i, j in pairs])
                - 2 * np.mean([kernel(a, b) for a in first for b in second]))
    mean, spread = kernel_distance(first, second, subsets=3)
    assert mean == pytest.approx(expected, rel=1e-9)
    assert spread < 1e-12  # each subset is the whole
    monkeypatch.setattr(mifid_module, "KID_SIZE", 300)
    random = np.random.default_rng(0)
    one, same, other = (random.normal(shift, 1, [2500, 6]) for shift in (0, 0, 0.5))
    for real in (same, same[:250]):  # subsets of both sides, and of the generated side alone
        mean, spread = kernel_distance(one, real)
        assert abs(mean) < 2 * spread
    mean, spread = kernel_distance(one, other)
    assert mean > 5 * spread
    assert kernel_distance(one, other, seed=3) == kernel_distance(one, other, seed=3) != (mean, spread)


@pytest.mark.parametrize("score", [frechet_distance, memorization_distance, mifid, kernel_distance])
@pytest.mark.parametrize(("generated", "real", "message"), [
    (np.ones([1, 4]), np.ones([5, 4]), r"generated.*\(1\)"),
    (np.ones([5, 4]), np.ones([1, 4]), r"real.*\(1\)"),
    (np.ones([5, 4]), np.ones([5, 3]), "4 features.*real ones 3"),
    (np.ones([5, 4]), np.full([5, 4], np.nan), "5 of 5 real.*not finite"),
    (np.array([[1, 2], [3, np.inf]]), np.ones([5, 2]), "1 of 2 generated.*not finite.*row 1"),
    (np.array([[1, 2], [3, np.inf]], np.float16), np.ones([5, 2]), "1 of 2 generated.*not finite"),
    (np.eye(5, 4) * 1e160, np.ones([5, 4]), r"generated.*1e\+160"),
    (np.ones([5, 4]), np.eye(5, 4) * -1e40, r"real.*1e\+40"),
    (np.ones([5]), np.ones([5, 4]), r"generated.*shape \[5\]"),
    (np.array([["a", "b"]] * 3), np.ones([5, 2]), "generated.*real numbers"),
])
def test_features_that_cannot_be_scored_are_an_error(score, generated, real, message):
    with pytest.raises(UserError, match=message):
        score(generated, real)


def test_features_that_are_all_0_have_no_distance():
    with pytest.raises(UserError, match="generated images are 0"):
        memorization_distance(np.zeros([4, 3]), np.ones([5, 3]))


@pytest.mark.filterwarnings("error")
def test_the_largest_features_accepted_give_finite_scores():
    first, second = (random_features(12, 4, seed) for seed in (15, 16))
    first, second = (side / side.max() * mifid_module.LARGEST_FEATURE for side in (first, second))
    assert np.isfinite([mifid(first, second), *kernel_distance(first, second), *kernel_distance(second, first)]).all()


def test_float32_and_integers_are_computed_in_float64():
    first, second = (random_features(30, 10, seed).astype(np.float32) for seed in (13, 14))
    assert frechet_distance(first, second) == frechet_distance(first.astype(np.float64), second.astype(np.float64))
    assert frechet_distance(np.eye(4, dtype=np.uint8), np.eye(4)) == pytest.approx(0, abs=1e-15)
