"""FID, memorization distance, MiFID and KID from features, as Kaggle's published code defines them: NumPy and SciPy.

All arrays are features `[images, width]`, any real dtype; the arithmetic is in float64. The formulas are those of
src/competition_scoring.py in jybai/generative-memorization-benchmark. What differs is how tr sqrt(S_g S_r) is found:
not as a matrix square root, but as a sum of singular values, which is exact where few images make S_r singular.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg

from monet.core.errors import UserError

EPSILON = 0.1  # below this memorization distance MiFID punishes; assumed for this competition, it is not published
TINY = 1e-15  # that Kaggle's formula adds to the divisor
LARGEST = 1e20  # of a feature; the deviation of KID takes products of twelve
ROUNDING = 1e-10  # relative error that FID's sum of roots may have
BLOCK = 1024  # images that are in memory in float64, or whose distances to the real ones are, at once
KID_SUBSETS, KID_SIZE = 100, 1000  # subsets, and the most images of each side in one


def checked(features, side: str, fewest: int = 2) -> np.ndarray:
    """`features` as an array `[images, width]` of whatever real dtype they have; `side` names them in errors.

    Raises:
        UserError: for another shape, fewer than `fewest` images, or numbers that are not finite or over `LARGEST`.
    """
    array = np.asarray(features)
    if array.ndim != 2 or not array.shape[1] or array.dtype.kind not in "fiub":
        raise UserError(f"The features of the {side} images are {array.dtype} of the shape {list(array.shape)}. They "
                        "must be real numbers [images, width].")
    if len(array) < fewest:
        raise UserError(f"There are {len(array)} {side} images, and a covariance takes at least {fewest}. Give more.")
    if float(array.min()) >= -LARGEST and float(array.max()) <= LARGEST:  # not so if one is NaN
        return array
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise UserError(f"The features of {len(bad):,} of {len(array):,} {side} images are not finite (the first: row "
                        f"{bad[0]}). Compute them again.")
    raise UserError(f"The features of the {side} images are as large as {np.abs(array).max():.1g}, which no network "
                    "gives. Compute them again.")


def as_features(features, side: str, fewest: int = 2) -> np.ndarray:
    """What `checked` returns, in float64."""
    return checked(features, side, fewest).astype(np.float64, copy=False)


def checked_pair(generated, real) -> tuple[np.ndarray, np.ndarray]:
    """Both sides through `checked`.

    Raises:
        UserError: as there, and if their widths differ.
    """
    generated, real = checked(generated, "generated"), checked(real, "real")
    if generated.shape[1] != real.shape[1]:
        raise UserError(f"The generated images have {generated.shape[1]:,} features each and the real ones "
                        f"{real.shape[1]:,}. Compute both with the same network.")
    return generated, real


def as_pair(generated, real) -> tuple[np.ndarray, np.ndarray]:
    """What `checked_pair` returns, in float64."""
    generated, real = checked_pair(generated, real)
    return generated.astype(np.float64, copy=False), real.astype(np.float64, copy=False)


def covariance_factor(features: np.ndarray) -> np.ndarray:
    """F with F^T F = the covariance (ddof=1) of float64 `features`: `[min(images - 1, width), width]`.

    It has no row too many where images are few: Helmert's matrix centres n images and leaves n - 1 combinations.
    """
    scale = np.sqrt(len(features) - 1)
    if len(features) <= features.shape[1]:
        return scipy.linalg.helmert(len(features)) @ features / scale
    factor = (features - features.mean(axis=0)) / scale
    return scipy.linalg.qr(factor, mode="r", overwrite_a=True, check_finite=False)[0][:factor.shape[1]]


def sum_of_singular_values(matrix: np.ndarray) -> float:
    """Of a tall or square matrix; by the eigenvalues of its square where rounding errors allow it, which is quicker."""
    values = np.linalg.eigvalsh(matrix.T @ matrix)
    if values[0] > 0:
        roots = np.sqrt(values)
        # An eigenvalue is off by about epsilon times the largest, its root by that over twice the root.
        if np.finfo(float).eps * values[-1] * (1 / roots).sum() < ROUNDING * roots.sum():
            return float(roots.sum())
    return float(scipy.linalg.svdvals(matrix, overwrite_a=True, check_finite=False).sum())


class Moments(NamedTuple):
    """What FID takes of the side with more images."""

    mean: np.ndarray  # float64 [width]
    trace: float  # of the covariance, ddof=1
    products: np.ndarray  # float64 [images, n]: of the images' distances from the mean with n given vectors


def moments(features: np.ndarray, near: np.ndarray, vectors: np.ndarray) -> Moments:
    """The moments of `features`, `BLOCK` rows at a time: a copy of them all would take longer than the arithmetic.

    Args:
        features: `[images, width]`, any real dtype.
        near: float64 `[width]`, subtracted first; the nearer to the mean, the less is lost to rounding.
        vectors: float64 `[n, width]`.
    """
    sums, squares = np.zeros(features.shape[1]), 0.0
    products = np.empty([len(features), len(vectors)])
    for start in range(0, len(features), BLOCK):
        block = features[start:start + BLOCK].astype(np.float64)
        block -= near
        sums += block.sum(axis=0)
        squares += np.vdot(block, block)
        products[start:start + BLOCK] = block @ vectors.T
    mean = sums / len(features)
    products -= products.mean(axis=0)
    return Moments(near + mean, float(squares - sums @ mean) / (len(features) - 1), products)


def frechet_distance(generated, real) -> float:
    """FID: |mu_g - mu_r|^2 + tr S_g + tr S_r - 2 tr sqrt(S_g S_r), with covariances of ddof=1; never negative.

    With factors S = F^T F the last trace is the sum of the singular values of F_g F_r^T: the eigenvalues of S_g S_r are
    those of (F_g F_r^T)^T (F_g F_r^T). The matrix has as many columns as the smaller side has images, or fewer: at most
    `width`.

    Raises:
        UserError: as `as_pair`.
    """
    few, many = sorted(checked_pair(generated, real), key=len)
    few = few.astype(np.float64, copy=False)
    factor, mean = covariance_factor(few), few.mean(axis=0)
    thin = len(few) <= few.shape[1]
    found = moments(many, mean, factor if thin else factor[:0])
    if thin:
        products = found.products / np.sqrt(len(many) - 1)
    else:
        products = covariance_factor(many.astype(np.float64)) @ factor.T
    between, traces = mean - found.mean, few.var(axis=0, ddof=1).sum() + found.trace
    return max(float(between @ between + traces - 2 * sum_of_singular_values(products)), 0.0)


def unit_rows(features: np.ndarray, side: str) -> tuple[np.ndarray, np.ndarray]:
    """The rows that do not sum to 0, divided by their length, and their positions among all rows.

    Raises:
        UserError: if there are none.
    """
    kept = np.flatnonzero(features.sum(axis=1) != 0)
    if not len(kept):
        raise UserError(f"All features of the {side} images are 0. Compute them again.")
    rows = features[kept]
    rows /= np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    return rows, kept


class Nearest(NamedTuple):
    """The nearest real image of every generated one."""

    distances: np.ndarray  # float64 [images]: 1 - |cosine|; NaN for rows that sum to 0, which Kaggle leaves out
    indices: np.ndarray  # int [images]: which real image; -1 likewise


def find_nearest(generated, real) -> Nearest:
    """For each generated image the nearest real one by cosine distance, `BLOCK` rows of distances at a time.

    Raises:
        UserError: as `as_pair`, and if all features of a side are 0.
    """
    generated, real = as_pair(generated, real)
    targets, places = unit_rows(real, "real")
    rows, kept = unit_rows(generated, "generated")
    distances, indices = np.full(len(generated), np.nan), np.full(len(generated), -1)
    for start in range(0, len(rows), BLOCK):
        # Rounding makes copies a little nearer than 0, which the division by distances must never meet.
        block = np.maximum(1 - np.abs(rows[start:start + BLOCK] @ targets.T), 0.0)
        nearest, target = kept[start:start + BLOCK], block.argmin(axis=1)
        distances[nearest], indices[nearest] = block[np.arange(len(block)), target], places[target]
    return Nearest(distances, indices)


def memorization_distance(generated, real) -> float:
    """The mean over the generated images of the cosine distance to the nearest real one, 0 (copies) to 1.

    Raises:
        UserError: as `find_nearest`.
    """
    return float(np.nanmean(find_nearest(generated, real).distances))


def with_penalty(fid, distance, epsilon: float = EPSILON):
    """MiFID from FID and memorization distance: FID / (d + 1e-15) where d < epsilon, else as it is (d counts as 1).
    Numbers or arrays."""
    return fid / (np.where(np.less(distance, epsilon), distance, 1.0) + TINY)


def mifid(generated, real, epsilon: float = EPSILON) -> float:
    """The competition's score.

    Raises:
        UserError: as `find_nearest`.
    """
    return float(with_penalty(frechet_distance(generated, real), memorization_distance(generated, real), epsilon))


def cubic_kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """KID's kernel (x.y / width + 1)^3 between the rows of both: `[rows of first, rows of second]`."""
    base = first @ second.T / first.shape[1] + 1
    return base * base * base  # ** 3 takes several times as long


def mean_between(features: np.ndarray) -> float:
    """The mean of the kernel over all pairs of different rows."""
    products, count = cubic_kernel(features, features), len(features)
    return (products.sum() - np.trace(products)) / (count * (count - 1))


def kernel_distance(generated, real, seed: int = 0, subsets: int = KID_SUBSETS) -> tuple[float, float]:
    """KID: the unbiased estimate of the squared maximum mean discrepancy, over random subsets of both sides.

    Args:
        generated: `[images, width]`.
        real: the same.
        seed: of the subsets, which have min(images of either side, `KID_SIZE`) images, none twice.
        subsets: how many.

    Returns:
        The mean and the standard deviation over the subsets.

    Raises:
        UserError: as `as_pair`.
    """
    generated, real = as_pair(generated, real)
    size, random = min(len(generated), len(real), KID_SIZE), np.random.default_rng(seed)

    def draw(features: np.ndarray) -> np.ndarray:
        return random.choice(len(features), size, replace=False)

    if size == len(real):  # every subset holds all of the real side: that part is the same for all
        within, across = mean_between(real), np.concatenate([
            cubic_kernel(generated[start:start + BLOCK], real).mean(axis=1)
            for start in range(0, len(generated), BLOCK)])
        chosen = (draw(generated) for _ in range(subsets))
        values = [mean_between(generated[rows]) + within - 2 * across[rows].mean() for rows in chosen]
    else:
        pairs = ((generated[draw(generated)], real[draw(real)]) for _ in range(subsets))
        values = [mean_between(first) + mean_between(second) - 2 * cubic_kernel(first, second).mean()
                  for first, second in pairs]
    return float(np.mean(values)), float(np.std(values))
