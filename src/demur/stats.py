"""Intervals and tests. numpy and scipy only; every resampling takes a seed.

Rates are shares in [0, 1]. "Clusters" are request ids: answers to one request (under several arms, attacks or
paraphrases) are not independent, so requests are resampled, not answers (protocol: Statistics).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata

from demur.errors import InputError

MANY_NEGATIVES = 1_000
"""From this many negatives on a 1% false-positive rate can be read; below, 5%."""


class Estimate(NamedTuple):
    """A value and its interval."""

    value: float
    low: float
    high: float


class Recall(NamedTuple):
    """Recall at a false-positive rate that was really reached."""

    recall: float
    max_fpr: float
    """The rate asked for: 0.01 or 0.05."""
    fpr: float
    """The rate reached on these negatives; <= max_fpr."""
    threshold: float
    """Scores >= this are called positive."""


def wilson(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for k of n (Wilson 1927, JASA 22:209). n = 0 gives (0, 1)."""
    if not 0 <= k <= n:
        raise InputError(f"{k} of {n} is no share; k must lie in 0..n")
    _check_level(level)
    return (0.0, 1.0) if n == 0 else _wilson(k / n, n, level)


def _wilson(p: float, n: float, level: float) -> tuple[float, float]:
    z = float(norm.ppf((1 + level) / 2))
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)))
    return (0.0 if p == 0 else max(0.0, centre - half)), (1.0 if p == 1 else min(1.0, centre + half))


def clustered_share(hits: ArrayLike, clusters: Sequence[Hashable], level: float = 0.95) -> Estimate:
    """A share of 0/1 values and its Wilson interval at the effective sample size n / design effect.

    The design effect is the cluster-robust variance over that of independent answers, n / clusters at most, which
    also stands where all values are equal (Korn & Graubard 1998, Survey Methodology 24:193). Single-answer
    clusters give `wilson` itself.
    """
    array = _vector(hits, "hits")
    if np.any((array != 0) & (array != 1)):
        raise InputError("hits must be 0 or 1")
    sums, sizes = _by_cluster(array, clusters)
    n, k, p = array.size, sums.size, float(array.mean())
    spread = float(np.sum((sums - p * sizes) ** 2)) * k / max(k - 1, 1)
    effective = k if k == 1 or p in (0.0, 1.0) else min(n, max(k, n * n * p * (1 - p) / spread)) if spread else n
    _check_level(level)
    low, high = _wilson(p, effective, level)
    return Estimate(p, low, high)


def cluster_mean(
    values: ArrayLike, clusters: Sequence[Hashable], n_boot: int = 2000, seed: int = 0, level: float = 0.95
) -> Estimate:
    """The mean and its percentile interval, with whole clusters resampled (Efron & Tibshirani 1993)."""
    array = _vector(values, "values")
    draws = _cluster_draws(array, clusters, n_boot, seed)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(array.mean()), float(low), float(high))


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    clusters: Sequence[Hashable],
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """mean(a - b) over aligned answers, resampling whole clusters of pairs.

    a, b: 0/1 or real, row i of both is the same request. Raises InputError when the lengths differ.
    """
    return cluster_mean(_difference(a, b), clusters, n_boot, seed, level)


def resampled(
    statistic: Callable[[NDArray[np.intp]], float],
    clusters: Sequence[Hashable],
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Any statistic of rows, given their indices, and its percentile interval with whole clusters resampled.

    Draws in which it is not a number are left out of the interval. Raises InputError without rows or draws.
    """
    _check_level(level)
    if not clusters or n_boot < 1:
        raise InputError(f"{len(clusters)} rows and {n_boot} draws make no interval; give some of both.")
    names = list(dict.fromkeys(clusters))
    members: dict[Hashable, list[int]] = {name: [] for name in names}
    for index, name in enumerate(clusters):
        members[name].append(index)
    rows = [np.array(members[name]) for name in names]
    random = np.random.default_rng(seed)
    drawn = [statistic(np.concatenate([rows[i] for i in random.integers(len(rows), size=len(rows))]))
             for _ in range(n_boot)]  # fmt: skip
    real = [value for value in drawn if not np.isnan(value)] or [np.nan]
    low, high = np.quantile(real, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(statistic(np.arange(len(clusters))), float(low), float(high))


def kappa(
    a: Sequence[str],
    b: Sequence[str],
    clusters: Sequence[Hashable],
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Cohen's kappa of two codings of the same answers (Cohen 1960, Educ. Psychol. Meas. 20:37), and its percentile
    interval with whole clusters resampled.

    Where chance alone would agree on all (both say always the same), it is 0. Raises InputError for no answers, and
    where the lengths differ.
    """
    if not a or len({len(a), len(b), len(clusters)}) > 1:
        raise InputError(f"{len(a)} and {len(b)} codes of {len(clusters)} answers; each answer needs one of both")
    _check_level(level)
    codes, groups = (list(dict.fromkeys(some)) for some in ([*a, *b], clusters))
    k, place = len(codes), {name: i for i, name in enumerate(codes)}
    row = {name: i for i, name in enumerate(groups)}
    cells = np.zeros((len(groups), k * k))
    np.add.at(cells, ([row[c] for c in clusters], [place[x] * k + place[y] for x, y in zip(a, b, strict=True)]), 1.0)

    def of(counts: NDArray[np.float64]) -> float:
        square = counts.reshape(k, k) / counts.sum()
        chance = float(square.sum(0) @ square.sum(1))
        return 0.0 if chance > 1 - 1e-12 else (float(np.trace(square)) - chance) / (1 - chance)

    random, g = np.random.default_rng(seed), len(groups)
    drawn = [of(np.bincount(random.integers(g, size=g), minlength=g) @ cells) for _ in range(n_boot)]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(of(cells.sum(0)), float(low), float(high))


def bootstrap_pvalue(
    a: ArrayLike, b: ArrayLike, clusters: Sequence[Hashable], n_boot: int = 2000, seed: int = 0
) -> float:
    """Two-sided p-value of no difference between paired arms.

    The bootstrap means are centred on zero, and p is the share at least as far out as the observed mean
    (Davison & Hinkley 1997, 4.4), with one added to both counts, so that p is never 0.
    """
    diff = _difference(a, b)
    observed = abs(float(diff.mean()))
    draws = _cluster_draws(diff, clusters, n_boot, seed) - diff.mean()
    return float((1 + np.sum(np.abs(draws) >= observed - 1e-12)) / (n_boot + 1))


def holm(pvalues: ArrayLike) -> NDArray[np.float64]:
    """Holm's step-down adjusted p-values, in the order given (Holm 1979, Scand. J. Statist. 6:65)."""
    p = _vector(pvalues, "pvalues", empty=True)
    if np.any((p < 0) | (p > 1)):
        raise InputError(f"p-values must lie in [0, 1]; got {p.min():g}..{p.max():g}")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """P(score of a positive > score of a negative), ties half (Hanley & McNeil 1982, Radiology 143:29)."""
    positive, array = _labelled(labels, scores)
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    ranks = rankdata(array)
    return float((ranks[positive].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg))


def spearman(
    a: ArrayLike, b: ArrayLike, clusters: Sequence[Hashable], n_boot: int = 2000, seed: int = 0, level: float = 0.95
) -> Estimate:
    """Spearman's rank correlation of paired values, and its percentile interval with whole clusters resampled.

    Ties get their mean rank. Draws in which one side is all equal have no correlation and are left out. Raises
    InputError for fewer than 3 pairs, or when one side is all equal.
    """
    left, right = _vector(a, "a"), _vector(b, "b")
    if left.size != right.size or left.size != len(clusters):
        raise InputError(f"{left.size} and {right.size} values and {len(clusters)} cluster ids; they must pair up")
    if n_boot < 1:
        raise InputError(f"n_boot must be at least 1; got {n_boot}")
    _check_level(level)
    value = _rank_correlation(left, right)
    if left.size < 3 or not np.isfinite(value):
        raise InputError(f"a rank correlation needs 3 pairs that are not all equal on one side; there are {left.size}")
    members: dict[Hashable, list[int]] = {}
    for row, cluster in enumerate(clusters):
        members.setdefault(cluster, []).append(row)
    groups = [np.array(rows) for rows in members.values()]
    random = np.random.default_rng(seed)
    draws = []
    for _ in range(n_boot):
        rows = np.concatenate([groups[i] for i in random.integers(len(groups), size=len(groups))])
        draws.append(_rank_correlation(left[rows], right[rows]))
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high))


def _rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Pearson's correlation of the ranks; NaN when one side is all equal."""
    left, right = (ranks - ranks.mean() for ranks in (rankdata(a), rankdata(b)))
    size = float(np.sqrt((left @ left) * (right @ right)))
    return float(left @ right) / size if size else float("nan")


def recall_at_fpr(labels: ArrayLike, scores: ArrayLike) -> Recall:
    """Recall at a false-positive rate of 1% with >= 1,000 negatives, otherwise of 5% (protocol: Statistics).

    The threshold is the lowest score at which no more negatives pass than allowed; ties are never split.
    """
    positive, array = _labelled(labels, scores)
    negatives = np.sort(array[~positive])[::-1]
    max_fpr = 0.01 if negatives.size >= MANY_NEGATIVES else 0.05
    allowed = int(np.floor(max_fpr * negatives.size + 1e-9))
    bar = negatives[allowed]  # the first negative that must not pass
    passing = array[array > bar]
    threshold = float(passing.min()) if passing.size else float("inf")
    return Recall(float((array[positive] > bar).mean()), max_fpr, float((negatives > bar).mean()), threshold)


def _cluster_draws(
    values: NDArray[np.float64], clusters: Sequence[Hashable], n_boot: int, seed: int
) -> NDArray[np.float64]:
    """n_boot means over resampled clusters. Each draw is a multinomial count per cluster, so no loop is needed."""
    if n_boot < 1:
        raise InputError(f"n_boot must be at least 1; got {n_boot}")
    sums, sizes = _by_cluster(values, clusters)
    k = sums.size
    counts = np.random.default_rng(seed).multinomial(k, np.full(k, 1 / k), size=n_boot)
    return (counts @ sums) / (counts @ sizes)


def _by_cluster(
    values: NDArray[np.float64], clusters: Sequence[Hashable]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The sum and the number of values of each cluster, in the order of first sight."""
    if len(clusters) != values.size:
        raise InputError(f"{values.size} values and {len(clusters)} cluster ids; each value needs one")
    ids = {cluster: i for i, cluster in enumerate(dict.fromkeys(clusters))}
    index = np.array([ids[cluster] for cluster in clusters])
    sums, sizes = np.zeros(len(ids)), np.zeros(len(ids))
    np.add.at(sums, index, values)
    np.add.at(sizes, index, 1.0)
    return sums, sizes


def _difference(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    left, right = _vector(a, "a"), _vector(b, "b")
    if left.size != right.size:
        raise InputError(f"{left.size} and {right.size} values do not pair up; align both arms by request")
    return left - right


def _labelled(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    truth, array = _vector(labels, "labels"), _vector(scores, "scores")
    if truth.size != array.size:
        raise InputError(f"{truth.size} labels and {array.size} scores; each score needs one label")
    if not np.all((truth == 0) | (truth == 1)):
        raise InputError("labels must be 0 or 1")
    if truth.min() == truth.max():
        raise InputError(f"all {truth.size} labels are {truth[0]:g}; both kinds are needed")
    return truth.astype(bool), array


def _vector(values: ArrayLike, name: str, empty: bool = False) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or (array.size == 0 and not empty):
        raise InputError(f"{name} must be a non-empty list of numbers; got shape {array.shape}")
    if not np.all(np.isfinite(array)):
        raise InputError(f"{name} holds NaN or infinity at row {int(np.argmin(np.isfinite(array)))}")
    return array


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError(f"an interval's level must lie between 0 and 1; got {level}")
