"""FID, memorization distance, MiFID and KID from features, as Kaggle's published code defines them; NumPy and SciPy.

All arrays are features `[images, width]` of any real dtype; the arithmetic is in float64. The formulas are those of
src/competition_scoring.py in jybai/generative-memorization-benchmark, except that tr sqrt(S_g S_r) is a sum of singular
values instead of the trace of a matrix square root: that is exact even where few images make S_r singular.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg

from monet.core.errors import UserError

MIFID_EPSILON = 0.1  # MiFID penalizes a smaller memorization distance; assumed, as this competition's is not published
DIVISOR_OFFSET = 1e-15  # Kaggle's formula adds it to the divisor
LARGEST_FEATURE = 1e20  # the deviation of KID takes products of twelve
TRACE_TOLERANCE = 1e-10  # relative error allowed in tr sqrt(S_g S_r)
ROWS_AT_ONCE = 1024  # images held in memory in float64, or with their distances to all real ones
KID_SUBSETS, KID_SIZE = 100, 1000  # number of subsets, and most images of each side in one


def check_features(features, side: str, fewest: int = 2) -> np.ndarray:
    """Returns `features` as an array `[images, width]` of the same dtype; `side` names them in errors.

    Raises:
        UserError: for another shape, fewer than `fewest` images, or numbers not finite or beyond `LARGEST_FEATURE`.
    """
    array = np.asarray(features)
    if array.ndim != 2 or not array.shape[1] or array.dtype.kind not in "fiub":
        raise UserError(f"The features of the {side} images have dtype {array.dtype} and shape {list(array.shape)}. "
                        "Give real numbers [images, width].")
    if len(array) < fewest:
        raise UserError(f"The {side} images are too few ({len(array)}): a covariance takes at least {fewest}. "
                        "Give more.")
    if float(array.min()) >= -LARGEST_FEATURE and float(array.max()) <= LARGEST_FEATURE:  # false if any is NaN
        return array
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise UserError(f"The features of {len(bad):,} of {len(array):,} {side} images are not finite (the first: row "
                        f"{bad[0]}). Compute them again.")
    raise UserError(f"The features of the {side} images reach {np.abs(array).max():.1g}, more than any network gives. "
                    "Compute them again.")


def float64_features(features, side: str, fewest: int = 2) -> np.ndarray:
    """`check_features`, converted to float64."""
    return check_features(features, side, fewest).astype(np.float64, copy=False)


def check_pair(generated, real) -> tuple[np.ndarray, np.ndarray]:
    """`check_features` of both sides.

    Raises:
        UserError: as there, and if their widths differ.
    """
    generated, real = check_features(generated, "generated"), check_features(real, "real")
    if generated.shape[1] != real.shape[1]:
        raise UserError(f"The generated images have {generated.shape[1]:,} features each and the real ones "
                        f"{real.shape[1]:,}. Compute both with the same network.")
    return generated, real


def float64_pair(generated, real) -> tuple[np.ndarray, np.ndarray]:
    """`check_pair`, converted to float64."""
    generated, real = check_pair(generated, real)
    return generated.astype(np.float64, copy=False), real.astype(np.float64, copy=False)


def covariance_factor(features: np.ndarray) -> np.ndarray:
    """F such that F^T F is the covariance (ddof=1) of float64 `features`: `[min(images - 1, width), width]`.

    With few images, Helmert's matrix centres all n of them and leaves n - 1 rows, so that none is redundant.
    """
    scale = np.sqrt(len(features) - 1)
    if len(features) <= features.shape[1]:
        return scipy.linalg.helmert(len(features)) @ features / scale
    factor = (features - features.mean(axis=0)) / scale
    return scipy.linalg.qr(factor, mode="r", overwrite_a=True, check_finite=False)[0][:factor.shape[1]]


def sum_of_singular_values(matrix: np.ndarray) -> float:
    """Sums the singular values of a tall or square matrix: from the eigenvalues of M^T M, which is faster, where
    rounding errors permit."""
    values = np.linalg.eigvalsh(matrix.T @ matrix)
    if values[0] > 0:
        roots = np.sqrt(values)
        # An eigenvalue is off by about machine epsilon times the largest, its root by that over twice the root.
        if np.finfo(float).eps * values[-1] * (1 / roots).sum() < TRACE_TOLERANCE * roots.sum():
            return float(roots.sum())
    return float(scipy.linalg.svdvals(matrix, overwrite_a=True, check_finite=False).sum())


class Moments(NamedTuple):
    """What FID needs of the side with more images."""

    mean: np.ndarray  # float64 [width]
    trace: float  # of the covariance, ddof=1
    products: np.ndarray  # float64 [images, n]: centred features times n given vectors


def compute_moments(features: np.ndarray, origin: np.ndarray, vectors: np.ndarray) -> Moments:
    """Computes the moments `ROWS_AT_ONCE` rows at a time: a float64 copy of all would cost more than the arithmetic.

    Args:
        features: `[images, width]`, any real dtype.
        origin: float64 `[width]`, subtracted first; the closer to the mean, the less is lost to rounding.
        vectors: float64 `[n, width]`.
    """
    sums, squares = np.zeros(features.shape[1]), 0.0
    products = np.empty([len(features), len(vectors)])
    for start in range(0, len(features), ROWS_AT_ONCE):
        rows = features[start:start + ROWS_AT_ONCE].astype(np.float64)
        rows -= origin
        sums += rows.sum(axis=0)
        squares += np.vdot(rows, rows)
        products[start:start + ROWS_AT_ONCE] = rows @ vectors.T
    mean = sums / len(features)
    products -= products.mean(axis=0)
    return Moments(origin + mean, float(squares - sums @ mean) / (len(features) - 1), products)


def frechet_distance(generated, real) -> float:
    """FID: |mu_g - mu_r|^2 + tr S_g + tr S_r - 2 tr sqrt(S_g S_r), with covariances of ddof=1; never negative.

    With factors S = F^T F, the last trace is the sum of the singular values of F_g F_r^T, because S_g S_r has the
    eigenvalues of (F_g F_r^T)^T (F_g F_r^T). That matrix has at most as many columns as the smaller side has images,
    and at most `width`.

    Raises:
        UserError: as `check_pair`.
    """
    few, many = sorted(check_pair(generated, real), key=len)
    few = few.astype(np.float64, copy=False)
    factor, mean = covariance_factor(few), few.mean(axis=0)
    is_thin = len(few) <= few.shape[1]
    moments = compute_moments(many, mean, factor if is_thin else factor[:0])
    if is_thin:
        products = moments.products / np.sqrt(len(many) - 1)
    else:
        products = covariance_factor(many.astype(np.float64)) @ factor.T
    difference, traces = mean - moments.mean, few.var(axis=0, ddof=1).sum() + moments.trace
    return max(float(difference @ difference + traces - 2 * sum_of_singular_values(products)), 0.0)


def normalize_rows(features: np.ndarray, side: str) -> tuple[np.ndarray, np.ndarray]:
    """The rows whose sum is not 0, scaled to length 1, and their positions.

    Raises:
        UserError: if there are none.
    """
    kept = np.flatnonzero(features.sum(axis=1) != 0)
    if not len(kept):
        raise UserError(f"All features of the {side} images are 0. Compute them again.")
    rows = features[kept]
    rows /= np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]  # squared lengths, without a copy of all features
    return rows, kept


class Nearest(NamedTuple):
    """The nearest real image of each generated one."""

    distances: np.ndarray  # float64 [images]: 1 - |cosine|; NaN for rows that sum to 0, which Kaggle drops
    indices: np.ndarray  # int [images]: positions of the real images; -1 for the same rows


def find_nearest(generated, real) -> Nearest:
    """Finds each generated image's nearest real one by cosine distance, `ROWS_AT_ONCE` at a time.

    Raises:
        UserError: as `check_pair`, and if all features of a side are 0.
    """
    generated, real = float64_pair(generated, real)
    real_rows, real_kept = normalize_rows(real, "real")
    rows, kept = normalize_rows(generated, "generated")
    distances, indices = np.full(len(generated), np.nan), np.full(len(generated), -1)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        # Rounding can make a copy's distance slightly negative, and MiFID divides by the mean.
        block = np.maximum(1 - np.abs(rows[start:start + ROWS_AT_ONCE] @ real_rows.T), 0.0)
        places, nearest = kept[start:start + ROWS_AT_ONCE], block.argmin(axis=1)
        distances[places], indices[places] = block[np.arange(len(block)), nearest], real_kept[nearest]
    return Nearest(distances, indices)


def memorization_distance(generated, real) -> float:
    """The mean over the generated images of the cosine distance to the nearest real one, 0 (copies) to 1.

    Raises:
        UserError: as `find_nearest`.
    """
    return float(np.nanmean(find_nearest(generated, real).distances))


def apply_penalty(fid, distance, epsilon: float = MIFID_EPSILON):
    """MiFID from FID and memorization distance d: FID / (d + 1e-15) if d < epsilon, else FID / (1 + 1e-15).

    Takes numbers or arrays.
    """
    return fid / (np.where(np.less(distance, epsilon), distance, 1.0) + DIVISOR_OFFSET)


def mifid(generated, real, epsilon: float = MIFID_EPSILON) -> float:
    """The competition's score.

    Raises:
        UserError: as `find_nearest`.
    """
    return float(apply_penalty(frechet_distance(generated, real), memorization_distance(generated, real), epsilon))


def kid_kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """KID's kernel function (x.y / width + 1)^3 of all pairs of rows: `[rows of first, rows of second]`."""
    base = first @ second.T / first.shape[1] + 1
    return base * base * base  # ** 3 takes several times as long


def mean_kernel_of_pairs(features: np.ndarray) -> float:
    """The mean of the kernel function over all pairs of different rows."""
    values, count = kid_kernel(features, features), len(features)
    return (values.sum() - np.trace(values)) / (count * (count - 1))


def kernel_distance(generated, real, seed: int = 0, subsets: int = KID_SUBSETS) -> tuple[float, float]:
    """KID: the unbiased estimate of the squared maximum mean discrepancy, over random subsets of both sides.

    Args:
        generated: `[images, width]`.
        real: likewise.
        seed: of the subsets, which have min(images of either side, `KID_SIZE`) images, drawn without replacement.
        subsets: number of subsets.

    Returns:
        The mean and the standard deviation over the subsets.

    Raises:
        UserError: as `check_pair`.
    """
    generated, real = float64_pair(generated, real)
    size, random = min(len(generated), len(real), KID_SIZE), np.random.default_rng(seed)

    def draw(features: np.ndarray) -> np.ndarray:
        return random.choice(len(features), size, replace=False)

    if size == len(real):  # every subset holds the whole real side: compute its part once
        real_mean, cross_means = mean_kernel_of_pairs(real), np.concatenate([
            kid_kernel(generated[start:start + ROWS_AT_ONCE], real).mean(axis=1)
            for start in range(0, len(generated), ROWS_AT_ONCE)])
        chosen = (draw(generated) for _ in range(subsets))
        values = [mean_kernel_of_pairs(generated[rows]) + real_mean - 2 * cross_means[rows].mean() for rows in chosen]
    else:
        pairs = ((generated[draw(generated)], real[draw(real)]) for _ in range(subsets))
        values = [mean_kernel_of_pairs(first) + mean_kernel_of_pairs(second) - 2 * kid_kernel(first, second).mean()
                  for first, second in pairs]
    return float(np.mean(values)), float(np.std(values))
