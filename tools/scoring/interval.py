"""Confidence intervals of FID and MiFID: a bootstrap of the generated images, corrected for its bias."""

from typing import NamedTuple

import numpy as np
import scipy.linalg

from monet.scoring.mifid import MIFID_EPSILON, apply_penalty, covariance_factor, float64_pair

DRAWS = 120  # bootstrap samples per interval
FEWER_DRAWS, LARGE_RANK = 40, 600  # where both sides have many images and each draw takes seconds
MAX_GROUPS, MAX_GROUP_NUMBERS = 64, 50_000_000  # groups of images; numbers in all their moments (400 MB)
MAX_DRAW_NUMBERS = 4_000_000  # in the matrices whose eigenvalues are computed at once
MIN_FOR_INTERVAL = 8  # images
COVERAGE = 0.95


class GroupMoments(NamedTuple):
    """Sums over groups of generated images, which give the FID of any multiset of the groups."""

    count: np.ndarray  # [groups]
    total: np.ndarray  # [groups, width]: sums of the centred features
    square: np.ndarray  # [groups]: sums of their squared lengths
    projected: np.ndarray  # [groups, rank]: sums of the features times the real side's factor
    product: np.ndarray  # [groups, rank, rank]: sums of the outer products of those


def random_groups(images: int, rank: int, random: np.random.Generator) -> list[np.ndarray]:
    """Positions of the images in random groups of nearly equal size."""
    groups = min(images, MAX_GROUPS, max(MAX_GROUP_NUMBERS // rank**2, MIN_FOR_INTERVAL))
    return np.array_split(random.permutation(images), groups)


def group_moments(generated: np.ndarray, real: np.ndarray, groups: list[np.ndarray]) -> GroupMoments:
    """The moments of the generated images, whose positions are given by group."""
    mean, factor = generated.mean(axis=0), covariance_factor(real)

    def moments_of(group: np.ndarray) -> tuple:
        # One group at a time, so that no second array as large as all features is made.
        rows = generated[group] - mean
        return rows.sum(axis=0), np.vdot(rows, rows), rows @ factor.T

    total, square, projected = zip(*map(moments_of, groups), strict=True)
    count = np.array([len(group) for group in groups])
    if len(generated) < len(factor):  # fewer coordinates hold the same inner products
        wide = np.concatenate(projected).T
        narrow = scipy.linalg.qr(wide, mode="r", check_finite=False)[0][:len(generated)].T
        projected = np.split(narrow, np.cumsum(count)[:-1])
    return GroupMoments(count, np.stack(total), np.array(square), np.stack([rows.sum(axis=0) for rows in projected]),
                        np.stack([rows.T @ rows for rows in projected]))


def distances_of_draws(moments: GroupMoments, draws: np.ndarray, difference: np.ndarray,
                       real_trace: float) -> np.ndarray:
    """The FID of the drawn groups' images, for each draw: float64 `[draws]`.

    Args:
        moments: of all groups.
        draws: how often each draw holds each group, float64 `[draws, groups]`.
        difference: `[width]`, the mean of all generated images less that of the real ones.
        real_trace: tr S_r.
    """
    count = (draws @ moments.count)[:, None]
    mean, projected = draws @ moments.total / count, draws @ moments.projected / count
    trace = (draws @ moments.square - count[:, 0] * np.square(mean).sum(axis=1)) / (count[:, 0] - 1)
    rank, products = projected.shape[1], moments.product.reshape(len(moments.product), -1)
    root_traces = []
    at_once = max(MAX_DRAW_NUMBERS // rank**2, 1)
    for start in range(0, len(draws), at_once):
        part = slice(start, start + at_once)
        scale = count[part, :, None]
        covariance = (draws[part] @ products).reshape(-1, rank, rank)
        covariance -= scale * projected[part, :, None] * projected[part, None, :]
        root_traces.append(np.sqrt(np.clip(np.linalg.eigvalsh(covariance / (scale - 1)), 0, None)).sum(axis=1))
    return np.square(difference + mean).sum(axis=1) + trace + real_trace - 2 * np.concatenate(root_traces)


def balanced_draws(groups: int, draws: int, random: np.random.Generator) -> np.ndarray:
    """How often each bootstrap sample holds each group, float64 `[draws, groups]`.

    Each sample draws as many groups as there are, with replacement; over all samples, each group is drawn equally often
    (Davison, Hinkley and Schechtman, "Efficient bootstrap simulation", 1986). The samples' mean then differs from the
    value of all images by the bootstrap's bias and hardly by chance.
    """
    drawn = random.permutation(np.tile(np.arange(groups), draws)).reshape(draws, groups)
    return np.stack([np.bincount(row, minlength=groups) for row in drawn]).astype(np.float64)


class Intervals(NamedTuple):
    """The result of `find_intervals`."""

    fid: tuple[float, float]
    mifid: tuple[float, float]
    excess: float  # estimate of how far a sample's FID exceeds that of all images


def find_intervals(generated, real, fid: float, distances: np.ndarray, epsilon: float = MIFID_EPSILON, total: int = 0,
                   seed: int = 0) -> Intervals | None:
    """95% intervals of the FID and MiFID of `total` images by this generator, from a bootstrap of its images.

    The FID of n images exceeds that of very many by about b / n. A bootstrap sample of them, in which some are missing
    and others repeated, exceeds theirs by as much again, so that plain percentiles may not even contain the FID that
    was computed. The draws' mean excess is therefore an estimate of b / n and is subtracted: the spread is the
    bootstrap's, and the centre is the computed FID less the excess of n images over `total`, b (1 / n - 1 / total).
    tests/tools/test_mifid_interval.py counts how often these intervals contain the truth, and plain percentiles do not.

    The bootstrap draws random groups of images (single images up to `MAX_GROUPS`). Their moments, projected on the
    real side's factor, are computed once; a draw then costs the eigenvalues of one matrix as wide as the smaller side
    has images.

    Args:
        generated: features `[images, width]`.
        real: likewise; not resampled, because the competition's references never change.
        fid: `frechet_distance` of the two.
        distances: `find_nearest(generated, real).distances`.
        epsilon: as for `monet.scoring.mifid.mifid`.
        total: number of images the intervals are for, of which `generated` are a random sample; 0: these are all.
        seed: of the groups and draws.

    Returns:
        None for fewer than `MIN_FOR_INTERVAL` images.

    Raises:
        UserError: as `float64_pair`.
    """
    generated, real = float64_pair(generated, real)
    if len(generated) < MIN_FOR_INTERVAL:
        return None
    random = np.random.default_rng(seed)
    rank = min(len(generated), *real.shape)
    groups = random_groups(len(generated), rank, random)
    draws = balanced_draws(len(groups), DRAWS if rank <= LARGE_RANK else FEWER_DRAWS, random)
    difference, real_trace = generated.mean(axis=0) - real.mean(axis=0), float(real.var(axis=0, ddof=1).sum())
    fids = distances_of_draws(group_moments(generated, real, groups), draws, difference, real_trace)
    sums = draws @ np.array([[np.nansum(distances[group]), np.isfinite(distances[group]).sum()] for group in groups])
    usable = sums[:, 1] > 0  # draws with an image that has a distance
    excess = (fids.mean() - fid) * (1 - len(generated) / max(total, len(generated)))
    fids = np.clip(fid - excess + fids - fids.mean(), 0, None)
    bounds = [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2]
    scores = apply_penalty(fids[usable], sums[usable, 0] / sums[usable, 1], epsilon)
    return Intervals(tuple(np.quantile(fids, bounds)), tuple(np.quantile(scores, bounds)), float(excess))
