"""How sure a score is: intervals of FID and MiFID by a bootstrap of the generated images, less its bias."""

from typing import NamedTuple

import numpy as np
import scipy.linalg

from monet.scoring.mifid import EPSILON, as_pair, covariance_factor, with_penalty

DRAWS = 120  # bootstrap samples behind an interval
FEWER_DRAWS, LARGE_RANK = 40, 600  # where both sides have many images, and each draw takes seconds
MOST_GROUPS, GROUP_NUMBERS = 64, 50_000_000  # groups of images; numbers in all their moments (400 MB)
DRAW_NUMBERS = 4_000_000  # in the matrices whose eigenvalues are found at once
LEAST_FOR_INTERVAL = 8  # images
COVERED = 0.95  # the intervals' share


class Moments(NamedTuple):
    """Sums over groups of generated images, from which the FID follows of groups taken any number of times."""

    count: np.ndarray  # [groups]
    total: np.ndarray  # [groups, width]: of the features, less the mean of all
    square: np.ndarray  # [groups]: of their squared lengths
    projected: np.ndarray  # [groups, rank]: of the features times the real side's factor
    product: np.ndarray  # [groups, rank, rank]: of the outer products of those


def random_groups(images: int, rank: int, random: np.random.Generator) -> list[np.ndarray]:
    """The positions of the images in random groups, as equal in size as can be."""
    groups = min(images, MOST_GROUPS, max(GROUP_NUMBERS // rank**2, LEAST_FOR_INTERVAL))
    return np.array_split(random.permutation(images), groups)


def group_moments(generated: np.ndarray, real: np.ndarray, parts: list[np.ndarray]) -> Moments:
    """The moments of the generated images at the positions in `parts`."""
    mean, factor = generated.mean(axis=0), covariance_factor(real)

    def of_group(part: np.ndarray) -> tuple:
        """Of one group, so that no second array as large as all features is made."""
        rows = generated[part] - mean
        return rows.sum(axis=0), np.vdot(rows, rows), rows @ factor.T

    total, square, projected = zip(*map(of_group, parts), strict=True)
    count = np.array([len(part) for part in parts])
    if len(generated) < len(factor):  # fewer coordinates hold the same inner products
        wide = np.concatenate(projected).T
        narrow = scipy.linalg.qr(wide, mode="r", check_finite=False)[0][:len(generated)].T
        projected = np.split(narrow, np.cumsum(count)[:-1])
    return Moments(count, np.stack(total), np.array(square), np.stack([rows.sum(axis=0) for rows in projected]),
                   np.stack([rows.T @ rows for rows in projected]))


def distances_of_draws(moments: Moments, chosen: np.ndarray, between: np.ndarray, real_trace: float) -> np.ndarray:
    """The FID of the images in the groups that were drawn, for each row of `chosen`: float64 `[draws]`.

    Args:
        moments: of all groups.
        chosen: how often each group was drawn, float64 `[draws, groups]`.
        between: `[width]`, the mean of all generated images less that of the real ones.
        real_trace: tr S_r.
    """
    count = (chosen @ moments.count)[:, None]
    mean, projected = chosen @ moments.total / count, chosen @ moments.projected / count
    trace = (chosen @ moments.square - count[:, 0] * np.square(mean).sum(axis=1)) / (count[:, 0] - 1)
    rank, products = projected.shape[1], moments.product.reshape(len(moments.product), -1)
    roots = []
    at_once = max(DRAW_NUMBERS // rank**2, 1)
    for start in range(0, len(chosen), at_once):
        part = slice(start, start + at_once)
        scale = count[part, :, None]
        covariance = (chosen[part] @ products).reshape(-1, rank, rank)
        covariance -= scale * projected[part, :, None] * projected[part, None, :]
        roots.append(np.sqrt(np.clip(np.linalg.eigvalsh(covariance / (scale - 1)), 0, None)).sum(axis=1))
    return np.square(between + mean).sum(axis=1) + trace + real_trace - 2 * np.concatenate(roots)


def balanced_draws(groups: int, draws: int, random: np.random.Generator) -> np.ndarray:
    """How often each group is in each bootstrap sample, float64 `[draws, groups]`.

    Each sample has as many groups as there are, some of them several times, and over all samples each is drawn equally
    often (Davison, Hinkley and Schechtman, "Efficient bootstrap simulation", 1986): the samples' mean then differs from
    the value of all images by the bootstrap's bias, and hardly by chance.
    """
    drawn = random.permutation(np.tile(np.arange(groups), draws)).reshape(draws, groups)
    return np.stack([np.bincount(row, minlength=groups) for row in drawn]).astype(np.float64)


class Intervals(NamedTuple):
    """What other images of the same generator would score, as `find_intervals` says."""

    fid: tuple[float, float]
    mifid: tuple[float, float]
    excess: float  # by how much the FID of a sample comes out above that of all images


def find_intervals(generated, real, fid: float, distances: np.ndarray, epsilon: float = EPSILON, total: int = 0,
                   seed: int = 0) -> Intervals | None:
    """95% intervals of the FID and MiFID that `total` images of this generator score, by a bootstrap of its images.

    The FID of n images lies above that of very many by about b / n, and a bootstrap sample of them, in which some are
    missing and others twice, as much above theirs again. So the plain percentiles need not even hold the FID that was
    computed. Their excess over it is an estimate of b / n, which is taken off: the spread is the bootstrap's, and the
    middle is the FID computed, less what a sample of n images has above `total`: b (1 / n - 1 / total).
    tests/test_mifid_interval.py counts how often that holds the truth, and how seldom the plain percentiles do.

    What is drawn are random groups of images, single ones if there are no more than `MOST_GROUPS`. Their moments,
    projected on the real side's factor, are made once: a draw then costs the eigenvalues of one matrix, as wide as the
    smaller side has images.

    Args:
        generated: features `[images, width]`.
        real: the same; resampled it is not, as the competition's references are always the same.
        fid: `frechet_distance` of the two.
        distances: `find_nearest(generated, real).distances`.
        epsilon: as in `monet.scoring.mifid.mifid`.
        total: how many images the score is for, of which `generated` are a random sample; 0: these are all.
        seed: of the groups and draws.

    Returns:
        None for fewer than `LEAST_FOR_INTERVAL` images.

    Raises:
        UserError: as `as_pair`.
    """
    generated, real = as_pair(generated, real)
    if len(generated) < LEAST_FOR_INTERVAL:
        return None
    random = np.random.default_rng(seed)
    rank = min(len(generated), *real.shape)
    parts = random_groups(len(generated), rank, random)
    chosen = balanced_draws(len(parts), DRAWS if rank <= LARGE_RANK else FEWER_DRAWS, random)
    between, real_trace = generated.mean(axis=0) - real.mean(axis=0), float(real.var(axis=0, ddof=1).sum())
    fids = distances_of_draws(group_moments(generated, real, parts), chosen, between, real_trace)
    near = np.array([[np.nansum(distances[part]), np.isfinite(distances[part]).sum()] for part in parts])
    near = chosen @ near
    usable = near[:, 1] > 0  # draws with an image that has a distance
    excess = (fids.mean() - fid) * (1 - len(generated) / max(total, len(generated)))
    fids = np.clip(fid - excess + fids - fids.mean(), 0, None)
    bounds = [(1 - COVERED) / 2, (1 + COVERED) / 2]
    scores = with_penalty(fids[usable], near[usable, 0] / near[usable, 1], epsilon)
    return Intervals(tuple(np.quantile(fids, bounds)), tuple(np.quantile(scores, bounds)), float(excess))
