"""Error rates of a face verifier, from two lists of similarity scores.

A pair is accepted if `score >= threshold`. Terms of ISO/IEC 19795-1:

    FMR   false match rate: accepted share of the negative pairs (impostors, deepfakes); lower is better
    FNMR  false non-match rate: rejected share of the genuine pairs; lower is better
    TPR   1 - FNMR

Scores are sorted once (`Scores`); after that each rate is a binary search, so 20 million pairs cost two sorts. The
sorted arrays may be mapped from files: nothing here copies them, but for `roc`.
The ROC is the polyline through (FMR, TPR) = (0, 0) and one point per distinct score, descending; tied scores share a
point, so no order among ties can flatter a result.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from faceverify.errors import UserError

# How many extreme scores a thinned curve keeps one by one, and the ratio of neighbouring ranks after that.
_EXACT_RANKS = 64
_RANK_RATIO = 1.05
_AT_A_TIME = 1 << 20  # scores that are looked up together


class UnsupportedTarget(UserError):
    """An FMR target that needs more negative pairs than there are.

    Args:
        target: the FMR asked for.
        have: negative pairs at hand.
        needed: the fewest negative pairs with which one of them could be accepted within the target.
    """

    def __init__(self, target: float, have: int, needed: int) -> None:
        super().__init__(
            f"FMR target {target:g} needs at least {needed:,} negative pairs and there are {have:,}: "
            f"add pairs or drop this target."
        )
        self.target, self.have, self.needed = target, have, needed

    def __reduce__(self) -> tuple[type["UnsupportedTarget"], tuple[float, int, int]]:
        return type(self), (self.target, self.have, self.needed)


@dataclass(frozen=True, slots=True)
class Scores:
    """Sorted scores of both classes; make it with `sort_scores`, or of arrays that are sorted already.

    Attributes:
        genuine: float32 or float64 [G], ascending and finite, G >= 1: pairs that show one person.
        negative: likewise [N], N >= 1: pairs that must not be accepted.
    """

    genuine: np.ndarray
    negative: np.ndarray

    def fmr(self, threshold: float | np.ndarray) -> np.ndarray:
        """Accepted share of the negatives at each threshold, in [0, 1], shaped like `threshold`."""
        return _share_at_least(self.negative, threshold)

    def fnmr(self, threshold: float | np.ndarray) -> np.ndarray:
        """Rejected share of the genuine pairs at each threshold, in [0, 1], shaped like `threshold`."""
        return count_below(self.genuine, threshold) / self.genuine.size

    def next_above(self, score: float) -> float:
        """The smallest score of either class greater than `score`, or +inf."""
        return min(_first_above(self.genuine, score), _first_above(self.negative, score))


def count_below(ascending: np.ndarray, threshold: float | np.ndarray) -> np.ndarray:
    """How many scores are < each threshold, compared in float64: a threshold may lie between two float32 numbers."""
    return np.searchsorted(ascending, rounded_up(threshold, ascending.dtype), side="left")


def rounded_up(threshold: float | np.ndarray, kind: np.dtype) -> np.ndarray:
    """The smallest number of a float type that is >= each threshold: `score >= threshold` stays what it is."""
    exact = np.asarray(threshold, dtype=np.float64)
    with np.errstate(over="ignore"):
        near = exact.astype(kind)
    return np.where(near < exact, np.nextafter(near, np.asarray(np.inf, kind)), near)


class Roc(NamedTuple):
    """ROC points by descending threshold; the first is (0, 0) at threshold +inf (nothing accepted)."""

    threshold: np.ndarray  # [P]
    fmr: np.ndarray  # [P] ascending
    tpr: np.ndarray  # [P] ascending


class Crossing(NamedTuple):
    """The equal error rate and the threshold that belongs to it."""

    eer: float
    threshold: float


class OperatingPoint(NamedTuple):
    """Error rates at one threshold; `threshold` is None where only accepting nothing keeps the target."""

    threshold: float | None
    fmr: float
    fnmr: float


class BestAccuracy(NamedTuple):
    """The best share of right decisions that one threshold reaches; +inf accepts nothing."""

    accuracy: float
    threshold: float


def sort_scores(genuine: np.ndarray, negative: np.ndarray) -> Scores:
    """Sort both classes once, O(n log n).

    Raises:
        UserError: a class is empty, or a score is not finite.
    """
    return Scores(_sorted(genuine, "genuine"), _sorted(negative, "negative (impostor or deepfake)"))


def roc(scores: Scores) -> Roc:
    """Every ROC point. For curves to be drawn from many scores use `thin_thresholds`."""
    distinct = np.unique(np.concatenate([scores.genuine, scores.negative]).astype(np.float64))[::-1]
    threshold = np.concatenate([[np.inf], distinct])
    return Roc(threshold, scores.fmr(threshold), 1.0 - scores.fnmr(threshold))


def equal_error_rate(scores: Scores) -> Crossing:
    """The FMR where the ROC polyline, linearly interpolated, meets TPR = 1 - FMR; O(log^2 n).

    FMR - FNMR never falls as the threshold goes down, from -1 to +1, so the crossing lies between the largest score at
    which it is >= 0 and the next greater score. The threshold is interpolated likewise.
    """
    low = max(_largest_crossed(scores, scores.genuine), _largest_crossed(scores, scores.negative))
    high = scores.next_above(low)
    fmr_low, fmr_high = float(scores.fmr(low)), float(scores.fmr(high))
    gap_low, gap_high = fmr_low - float(scores.fnmr(low)), fmr_high - float(scores.fnmr(high))
    step = -gap_high / (gap_low - gap_high)
    # Above the largest score there is no score to interpolate from: the crossing keeps the largest one.
    threshold = low if math.isinf(high) else high + step * (low - high)
    return Crossing(fmr_high + step * (fmr_low - fmr_high), threshold)


def eer_mean_at_argmin(scores: Scores) -> float:
    """Mean of FMR and FNMR at the ROC point where they differ least (the first of equals).

    This is the EER of several published training programs, given for comparison with their numbers: it does not
    interpolate, and so depends on where the scores happen to lie when they are few or tied.
    """
    curve = roc(scores)
    fnmr = 1.0 - curve.tpr
    nearest = int(np.argmin(np.abs(fnmr - curve.fmr)))
    return float((curve.fmr[nearest] + fnmr[nearest]) / 2)


def fnmr_at_fmr(scores: Scores, target: float) -> OperatingPoint:
    """FNMR at the last ROC point whose FMR is <= `target`; never interpolated, so the target is kept.

    Raises:
        UnsupportedTarget: fewer than 1 / target negatives, so that no accepted negative would keep the target.
    """
    allowed = allowed_matches(target, scores.negative.size)
    if allowed >= scores.negative.size:
        threshold = float(min(scores.genuine[0], scores.negative[0]))
    else:
        threshold = scores.next_above(float(scores.negative[scores.negative.size - allowed - 1]))
    if math.isinf(threshold):
        return OperatingPoint(None, 0.0, 1.0)
    return OperatingPoint(threshold, float(scores.fmr(threshold)), float(scores.fnmr(threshold)))


def allowed_matches(target: float, negatives: int) -> int:
    """The largest k with k / negatives <= target.

    Raises:
        UserError: `target` is not in (0, 1].
        UnsupportedTarget: k is 0.
    """
    if not 0 < target <= 1:
        raise UserError(f"FMR target {target:g} is not in (0, 1]: give a share such as 0.001.")
    allowed = math.floor(target * negatives + 0.5)  # the product may miss a whole number by its rounding
    allowed -= allowed / negatives > target if negatives else 0
    if allowed < 1:
        # A target just below one rounds to one: it still needs more than there are.
        raise UnsupportedTarget(target, negatives, max(math.ceil(round(1 / target, 6)), negatives + 1))
    return allowed


def auc(scores: Scores) -> float:
    """Chance that a genuine pair scores above a negative one, ties one half (Mann-Whitney); higher is better."""
    below = 0  # negatives below a genuine score, and those not above it
    for start in range(0, scores.genuine.size, _AT_A_TIME):
        some = scores.genuine[start : start + _AT_A_TIME]
        for side in ("left", "right"):
            below += int(np.searchsorted(scores.negative, some, side=side).sum(dtype=np.int64))
    return float(below / (2 * scores.genuine.size * scores.negative.size))


def accuracy(scores: Scores, threshold: float) -> float:
    """Share of right decisions at `threshold`; follows the mix of classes, so compare it on one pair list only."""
    right = scores.genuine.size * (1 - scores.fnmr(threshold)) + scores.negative.size * (1 - scores.fmr(threshold))
    return float(right / (scores.genuine.size + scores.negative.size))


def best_accuracy(scores: Scores) -> BestAccuracy:
    """The best accuracy of any single threshold, found on these very scores and so optimistic.

    Only genuine scores (and accepting nothing) need trying: lowering the threshold wins pairs nowhere else.
    """
    most, threshold = scores.negative.size, np.inf  # right decisions
    for end in range(scores.genuine.size, 0, -_AT_A_TIME):
        candidates = scores.genuine[max(end - _AT_A_TIME, 0) : end]
        right = scores.genuine.size - np.searchsorted(scores.genuine, candidates, side="left")
        right += np.searchsorted(scores.negative, candidates, side="left")
        best = right.size - 1 - int(np.argmax(right[::-1]))
        if right[best] > most:
            most, threshold = int(right[best]), float(candidates[best])
    return BestAccuracy(float(most / (scores.genuine.size + scores.negative.size)), threshold)


def thin_thresholds(scores: Scores, exact: int = _EXACT_RANKS, ratio: float = _RANK_RATIO) -> np.ndarray:
    """Ascending thresholds that keep the shape of the ROC at both ends with few points, O(log n) of them.

    Ranks are counted from the errors' side (the highest negatives, the lowest genuine scores): the first `exact`
    are all kept, later ones in steps of `ratio`, so that each rate moves by at most that factor between two points.
    """
    highest_negatives = scores.negative[scores.negative.size - 1 - _ranks(scores.negative.size, exact, ratio)]
    lowest_genuine = scores.genuine[_ranks(scores.genuine.size, exact, ratio)]
    return np.unique(np.concatenate([highest_negatives, lowest_genuine]).astype(np.float64))


def _ranks(count: int, exact: int, ratio: float) -> np.ndarray:
    """0-based ranks below `count`: 0..exact-1 one by one, then geometric, the last one included."""
    if count <= exact:
        return np.arange(count)
    steps = math.ceil(math.log(count / exact) / math.log(ratio)) + 1
    return np.unique(np.concatenate([np.arange(exact), np.geomspace(exact, count - 1, steps).astype(np.int64)]))


def _largest_crossed(scores: Scores, ascending: np.ndarray) -> float:
    """The largest of `ascending` at which FMR >= FNMR, or -inf; bisection, as FMR - FNMR falls with the threshold."""
    low, high = 0, ascending.size  # everything below `low` has crossed, nothing from `high` on has
    while low < high:
        middle = (low + high) // 2
        if scores.fmr(ascending[middle]) >= scores.fnmr(ascending[middle]):
            low = middle + 1
        else:
            high = middle
    return float(ascending[low - 1]) if low else -math.inf


def _share_at_least(ascending: np.ndarray, threshold: float | np.ndarray) -> np.ndarray:
    return (ascending.size - count_below(ascending, threshold)) / ascending.size


def _first_above(ascending: np.ndarray, score: float) -> float:
    index = int(count_below(ascending, np.nextafter(score, np.inf)))
    return float(ascending[index]) if index < ascending.size else math.inf


def _sorted(values: np.ndarray, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.size == 0:
        raise UserError(f"there are no {name} scores: error rates need pairs of both classes.")
    ascending = np.sort(array if array.dtype in (np.float32, np.float64) else array.astype(np.float64), axis=None)
    if not (np.isfinite(ascending[0]) and np.isfinite(ascending[-1])):
        raise UserError(f"{np.count_nonzero(~np.isfinite(ascending)):,} {name} scores are not finite: leave them out.")
    return ascending
