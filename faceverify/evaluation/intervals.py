"""95 % intervals by bootstrap over persons, for error rates of pairs that share people.

Pairs are not independent: a person who is hard to recognise spoils all of his pairs at once. Drawing pairs again would
pretend otherwise and give intervals that are too narrow. So persons are drawn, n of n with replacement, and a pair
counts as often as its persons were drawn: count(a) * count(b) for two different persons, count(a) for a pair within one
person. This is the vertex bootstrap of Snijders & Borgatti (Connections 22(2), 1999), examined for 1:1 face matching by
Fogliato, Patil & Perona (arXiv:2306.01198, IJCV 2024), who also show its weak spot, rates near zero: see `limits`.

Every replicate is a weighted histogram of the scores over fixed bins. With few distinct scores each has its own bin and
a replicate is exact; with more the bins follow the error rates, so that each rate is resolved to 0.2 % of itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from faceverify.evaluation import metrics

LEVEL = 0.95

_EXACT_SCORES = 1 << 16  # up to so many distinct scores each one is a bin
_EXACT_RANKS = 4096
_RANK_RATIO = 1.002


class Interval(NamedTuple):
    """Where the true rate lies with 95 % confidence; both ends in [0, 1]."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Persons:
    """Whose pairs these are.

    Attributes:
        first: integer code in [0, count) of the person of the pair's first photo, [P].
        second: likewise for the second photo; a deepfake has the person whom it claims to be.
        count: number of persons, at least 2.
    """

    first: np.ndarray
    second: np.ndarray
    count: int


def bin_edges(scores: metrics.Scores, thresholds: tuple[float, ...] = ()) -> np.ndarray:
    """Lower edges of the bins, ascending: bin b holds the scores in [edges[b], edges[b + 1]).

    Args:
        scores: of the genuine and of all negative pairs.
        thresholds: at which rates will be asked for; each becomes an edge, so those rates are exact.
    """
    edges = np.unique(np.concatenate([scores.genuine, scores.negative]))
    if edges.size > _EXACT_SCORES:
        lowest = edges[:1]
        edges = np.union1d(metrics.thin_thresholds(scores, _EXACT_RANKS, _RANK_RATIO), lowest)
    return np.union1d(edges, np.asarray(thresholds, dtype=np.float64))


def bin_of(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The bin of each score, int64 [P]."""
    # An edge below every score, a threshold say, leaves its bin empty; none lies above its own bin's scores.
    return np.searchsorted(edges, np.asarray(scores, dtype=np.float64), side="right") - 1


def replicates(
    group: np.ndarray, bins: np.ndarray, shape: tuple[int, int], persons: Persons | None, count: int, seed: int
) -> Iterator[np.ndarray]:
    """Draw `count` weighted histograms [groups, bins] (float64, whole numbers).

    Args:
        group: integer code of each pair's group, [P], in [0, shape[0]).
        bins: bin of each pair, [P], in [0, shape[1]).
        shape: number of groups and of bins.
        persons: of each pair; None draws pairs instead, within each group, as if they were independent.
        count: number of replicates.
        seed: same seed, same replicates.
    """
    rng = np.random.default_rng(seed)
    cell = group.astype(np.int64) * shape[1] + bins
    if persons is None:
        yield from _pair_replicates(np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape), count, rng)
        return
    second = np.where(persons.first == persons.second, persons.count, persons.second)
    for _ in range(count):
        drawn = np.bincount(rng.integers(0, persons.count, persons.count), minlength=persons.count + 1)
        drawn[-1] = 1  # the partner of a pair within one person
        weights = drawn[persons.first] * drawn[second]
        yield np.bincount(cell, weights=weights, minlength=shape[0] * shape[1]).reshape(shape)


def _pair_replicates(counts: np.ndarray, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Drawing pairs of a group with replacement is a multinomial draw over the bins of its histogram."""
    totals = counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]
    for _ in range(count):
        rows = [rng.multinomial(total, share) for total, share in zip(totals, shares, strict=True) if total]
        drawn = np.zeros(counts.shape)
        drawn[totals > 0] = rows
        yield drawn


def accepted_share(histogram: np.ndarray) -> np.ndarray:
    """Share of each group accepted at every edge: [..., bins] -> [..., bins], falling; NaN for an empty group."""
    above = np.cumsum(histogram[..., ::-1], axis=-1)[..., ::-1]
    with np.errstate(invalid="ignore"):
        return above / above[..., :1]


def binned_eer(tpr: np.ndarray, fmr: np.ndarray) -> float:
    """`metrics.equal_error_rate` from the accepted shares of both classes at every edge, [bins] each."""
    if np.isnan(tpr[0]) or np.isnan(fmr[0]):
        return float("nan")
    gap = np.append(fmr + tpr - 1, -1.0)  # above the last edge nothing is accepted
    low = int(np.count_nonzero(gap >= 0)) - 1
    step = gap[low] / (gap[low] - gap[low + 1])
    fmr_high = fmr[low + 1] if low + 1 < fmr.size else 0.0
    return float(fmr[low] + step * (fmr_high - fmr[low]))


def binned_fnmr_at_fmr(tpr: np.ndarray, fmr: np.ndarray, target: float) -> float:
    """`metrics.fnmr_at_fmr` from the accepted shares of both classes at every edge; the threshold is drawn again."""
    if np.isnan(tpr[0]) or np.isnan(fmr[0]):
        return float("nan")
    kept = np.flatnonzero(fmr <= target)
    return float(1 - tpr[kept[0]]) if kept.size else 1.0


def binned_auc(genuine: np.ndarray, negative: np.ndarray) -> float:
    """`metrics.auc` from two histograms [bins]; scores of one bin count as tied."""
    total = genuine.sum() * negative.sum()
    below = np.cumsum(negative) - negative / 2
    return float(genuine @ below / total) if total else float("nan")


def limits(samples: np.ndarray, estimate: float, units: int) -> Interval | None:
    """The 2.5 % and 97.5 % quantiles of a rate's replicates, or None if no replicate could be computed.

    Where nothing went wrong (a rate of exactly 0 or 1) every replicate says the same and the quantiles would claim
    certainty. The open end is then the exact binomial bound 1 - 0.05^(1/units), about 3 / units ("rule of three").

    Args:
        samples: the rate in each replicate [R]; NaN where its group was not drawn.
        estimate: the rate itself.
        units: independent units behind the rate: persons, or pairs where pairs were drawn.
    """
    usable = samples[~np.isnan(samples)]
    if usable.size == 0:
        return None
    low, high = np.quantile(usable, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    unseen = 1 - (1 - LEVEL) ** (1 / units)
    if estimate == 0:
        high = max(high, unseen)
    if estimate == 1:
        low = min(low, 1 - unseen)
    return Interval(float(low), float(high))
