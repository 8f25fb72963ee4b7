"""95 % intervals by bootstrap over persons, for error rates of pairs that share people.

Pairs are not independent: a person who is hard to recognise spoils all of his pairs at once. Drawing pairs again would
pretend otherwise and give intervals that are too narrow. So persons are drawn, n of n with replacement, and a pair
counts as often as its persons were drawn: count(a) * count(b) for two different persons, count(a) for a pair within one
person. This is the vertex bootstrap of Snijders & Borgatti (Connections 22(2), 1999), examined for 1:1 face matching by
Fogliato, Patil & Perona (arXiv:2306.01198, IJCV 2024), who also show its weak spot, rates near zero: see `limits`.

Every replicate is a weighted histogram of the scores over fixed bins. With few distinct scores each has its own bin and
a replicate is exact; with more the bins follow the error rates, so that each rate is resolved to 0.2 % of itself.

The pairs are gone through once for many replicates: a pair's weights in all of them are the product of two rows of
small integers, and the rows of one bin are added up by a sparse matrix. That is some ten times as fast as a histogram
per replicate, and gives the same whole numbers.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse

from faceverify.evaluation import metrics

LEVEL = 0.95

_EXACT_SCORES = 1 << 16  # up to this number of distinct scores each one is a bin
_EXACT_RANKS = 4096
_RANK_RATIO = 1.002

_MEMORY = 1 << 28  # bytes of the histograms drawn together, and of the persons' weights behind them
_ROWS = 1 << 12  # pairs whose weights are multiplied at once
_THREADS = min(len(os.sched_getaffinity(0)), 8)


class Interval(NamedTuple):
    """Where the true rate lies with 95 % confidence; both ends in [0, 1]."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Persons:
    """Who is drawn.

    Attributes:
        count: number of persons, at least 2.
        order: of each person's code, the number that the random draw knows him by: a permutation of [0, count).
    """

    count: int
    order: np.ndarray


class Binned(NamedTuple):
    """Some pairs in the order of their cells; a cell is one bin of one group.

    Attributes:
        starts: where each cell begins, and the last one ends: int64 [groups * bins + 1], of group 0 first.
        first: code of the person of the pair's first photo, [P].
        second: likewise of the second photo; a deepfake has the person whom it claims to be.
    """

    starts: np.ndarray
    first: np.ndarray
    second: np.ndarray


def bin_edges(scores: metrics.Scores, thresholds: tuple[float, ...] = ()) -> np.ndarray:
    """Lower edges of the bins, ascending: bin b holds the scores in [edges[b], edges[b + 1]).

    Args:
        scores: of the genuine and of all negative pairs.
        thresholds: at which rates will be asked for; each becomes an edge, so those rates are exact.
    """
    edges = _few_distinct(scores)
    if edges is None:
        lowest = min(float(scores.genuine[0]), float(scores.negative[0]))
        edges = np.union1d(metrics.thin_thresholds(scores, _EXACT_RANKS, _RANK_RATIO), [lowest])
    return np.union1d(edges, np.asarray(thresholds, dtype=np.float64))


def _few_distinct(scores: metrics.Scores) -> np.ndarray | None:
    """The distinct scores, ascending float64; None if there are more than each can have a bin."""
    found = np.zeros(0)
    for ascending in (scores.genuine, scores.negative):
        for start in range(0, ascending.size, _EXACT_SCORES):
            found = np.union1d(found, ascending[start : start + _EXACT_SCORES].astype(np.float64))
            if found.size > _EXACT_SCORES:
                return None
    return found


def person_replicates(
    pairs: Callable[[], Iterable[Binned]], counts: np.ndarray, persons: Persons, count: int, seed: int
) -> Iterator[np.ndarray]:
    """Draw persons: `count` weighted histograms [groups, bins] (float64, whole numbers).

    Args:
        pairs: gives all pairs, some at a time, from the start; asked several times if one histogram is large.
        counts: pairs in each cell, [groups, bins].
        persons: who is drawn.
        count: number of replicates.
        seed: same seed, same replicates.
    """
    rng = np.random.default_rng(seed)
    cell = 4 if int(counts.max()) * 255 < 1 << 32 else 8
    at_once = max(1, min(count, _MEMORY // max(cell * counts.size, 2 * persons.count)))
    for start in range(0, count, at_once):
        weights = _draw(rng, persons, min(at_once, count - start))
        totals = [np.zeros((counts.size, part.shape[1]), f"u{cell}") for part in weights]
        with ThreadPoolExecutor(len(weights)) as pool:
            for binned in pairs():
                list(pool.map(_add, [binned] * len(weights), weights, totals))
        for total in totals:
            for first in range(0, total.shape[1], 32):  # turned round, some at a time: one replicate after another
                for histogram in np.ascontiguousarray(total[:, first : first + 32].T):
                    yield histogram.astype(np.float64).reshape(counts.shape)


def _draw(rng: np.random.Generator, persons: Persons, count: int) -> list[np.ndarray]:
    """How often each person is in each of `count` replicates: uint8 [persons + 1, some replicates], one per thread.

    The last row is the partner of a pair within one person.
    """
    sizes = [len(part) for part in np.array_split(np.arange(count), min(_THREADS, count))]
    parts = [np.ones((persons.count + 1, size), np.uint8) for size in sizes]
    for part in parts:
        for column in range(part.shape[1]):
            drawn = np.bincount(rng.integers(0, persons.count, persons.count), minlength=persons.count)
            part[:-1, column] = drawn[persons.order]  # 255 times the same of at least 256 people: never
    return parts


def _add(binned: Binned, weights: np.ndarray, total: np.ndarray) -> None:
    """Add the weights of some pairs to their cells, [cells, replicates]."""
    partner = np.where(binned.first == binned.second, len(weights) - 1, binned.second)
    most = int(weights.max()) ** 2  # of one pair's weight
    for start in range(0, len(partner), _ROWS):
        end = min(start + _ROWS, len(partner))
        both = np.take(weights, binned.first[start:end], axis=0).astype(
            np.uint8 if most < 256 else np.uint16, copy=False
        )
        both *= np.take(weights, partner[start:end], axis=0)
        low, high = np.searchsorted(binned.starts, (start, end - 1), side="right")
        ends = np.clip(binned.starts[low - 1 : high + 1], start, end) - start
        total[low - 1 : high] += _run_sums(both, ends, most)


def _run_sums(rows: np.ndarray, ends: np.ndarray, most: int) -> np.ndarray:
    """Sums of the rows between neighbouring `ends`; no number is greater than `most`."""
    together = 65_535 // most  # rows that can be added up in 16 bits
    if np.diff(ends).max() <= together:
        return _row_sums(rows.astype(np.uint16), ends)
    cuts = np.union1d(ends, np.arange(0, len(rows), together))
    return _row_sums(_row_sums(rows.astype(np.uint16), cuts).astype(np.uint32), np.searchsorted(cuts, ends))


def _row_sums(rows: np.ndarray, ends: np.ndarray) -> np.ndarray:
    ones, index = np.ones(len(rows), rows.dtype), np.arange(len(rows), dtype=np.int32)
    matrix = sparse.csr_array((ones, index, ends.astype(np.int32)), shape=(len(ends) - 1, len(rows)))
    return matrix @ rows


def pair_replicates(counts: np.ndarray, count: int, seed: int) -> Iterator[np.ndarray]:
    """Draw pairs, within each group, as if they were independent: histograms as of `person_replicates`.

    Drawing pairs of a group with replacement is a multinomial draw over the bins of its histogram.
    """
    rng = np.random.default_rng(seed)
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
