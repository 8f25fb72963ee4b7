"""TAR at FAR as published verification scripts read it and, beside it, at the last point that keeps the FAR.

The scripts of IJB-B and IJB-C take scikit-learn's `roc_curve`, which drops every point that lies on the line between
its neighbours, and read the TAR at the remaining point whose FAR is nearest to the target. On a long horizontal run
that point is the run's far end, above the target, where the TAR is already higher. To compare with published tables,
read it so; to state what a verifier does at a FAR, read the last point that does not exceed it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from faceverify.evaluation.metrics import Scores, count_below, sort_scores

FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # of the published tables
_AT_A_TIME = 1 << 20  # impostor scores whose points are looked at together


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the ROC; a pair is accepted if its score is >= threshold.

    Attributes:
        tar: accepted share of the genuine pairs, [0, 1].
        far: accepted share of the impostor pairs, [0, 1].
        threshold: +inf accepts nothing.
    """

    tar: float
    far: float
    threshold: float


@dataclass(frozen=True, slots=True)
class TarAtFar:
    """One target in both readings.

    Attributes:
        target: the FAR asked for.
        nearest: the point that published scripts read; its FAR may exceed the target.
        within: the last point whose FAR is <= target; FAR 0 where there are fewer than 1 / target impostor pairs.
    """

    target: float
    nearest: Point
    within: Point


def tar_at_far(genuine: np.ndarray, impostor: np.ndarray, targets: Sequence[float] = FARS) -> list[TarAtFar]:
    """Both readings at each target, from the scores of genuine pairs [G] and impostor pairs [N], in any order.

    Raises:
        UserError: a class is empty, or a score is not finite.
    """
    return tar_of_sorted(sort_scores(genuine, impostor), targets)


def tar_of_sorted(scores: Scores, targets: Sequence[float] = FARS) -> list[TarAtFar]:
    """`tar_at_far` of scores that are sorted already."""
    threshold, tar, far = corners(scores)
    found = []
    for target in targets:
        away = np.abs(far - target)
        last = int(away.size - 1 - np.argmin(away[::-1]))  # of several as near, the one with the largest TAR
        nearest = Point(float(tar[last]), float(far[last]), float(threshold[last]))
        found.append(TarAtFar(target, nearest, _within(scores, target)))
    return found


def corners(scores: Scores) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Threshold, TAR and FAR, each [C], at the points of the ROC that do not lie on a line between their neighbours.

    By descending threshold; the first is (0, 0) at +inf. These are the points that scikit-learn's
    `roc_curve(drop_intermediate=True)` keeps. Memory beyond `scores` is that of the corners, of which there are about
    two per genuine pair.
    """
    kept = []
    last: Points = (np.array([np.inf]), np.zeros(1, np.int64), np.zeros(1, np.int64))
    top: Points | None = None
    for some in _points(scores):
        top = top or _rows(some, slice(1))
        last = _joined(_rows(last, slice(-2, None)), some)
        turn = (np.diff(last[1], 2) != 0) | (np.diff(last[2], 2) != 0)
        kept.append(_rows(_rows(last, slice(1, -1)), turn))
    assert top is not None  # `Scores` are never empty
    inner = _joined(*kept, _rows(last, slice(-1, None)))
    first = (np.array([np.inf]), np.zeros(1, np.int64), np.zeros(1, np.int64))
    missing = _rows(top, slice(0 if inner[0][0] == top[0][0] else 1))  # the highest score is a point in any case
    threshold, genuine, negative = _joined(first, missing, inner)
    return threshold, genuine / scores.genuine.size, negative / scores.negative.size


Points = tuple[np.ndarray, np.ndarray, np.ndarray]  # scores, descending; genuine and negative pairs that each accepts


def _points(scores: Scores) -> Iterator[Points]:
    """A point per distinct score, some at a time."""
    genuine, negative = scores.genuine, scores.negative
    high, stop = genuine.size, negative.size
    while stop or high:
        start = max(stop - _AT_A_TIME, 0)
        if start:  # equal scores stay together
            start = int(np.searchsorted(negative, negative[start], side="left"))
        low = int(np.searchsorted(genuine, negative[start], side="left")) if start else 0
        value = np.unique(np.concatenate([genuine[low:high], negative[start:stop]]).astype(np.float64))[::-1]
        yield value, genuine.size - count_below(genuine, value), negative.size - count_below(negative, value)
        high, stop = low, start


def _rows(points: Points, which: slice | np.ndarray) -> Points:
    threshold, genuine, negative = (column[which] for column in points)
    return threshold, genuine, negative


def _joined(*points: Points) -> Points:
    threshold, genuine, negative = (np.concatenate(columns) for columns in zip(*points, strict=True))
    return threshold, genuine, negative


def _within(scores: Scores, target: float) -> Point:
    allowed = math.floor(target * scores.negative.size + 0.5)  # the product may miss a whole number by its rounding
    allowed -= allowed / scores.negative.size > target
    if allowed >= scores.negative.size:
        threshold = float(min(scores.genuine[0], scores.negative[0]))
    else:
        threshold = scores.next_above(float(scores.negative[scores.negative.size - allowed - 1]))
    if math.isinf(threshold):
        return Point(0.0, 0.0, threshold)
    tar = (scores.genuine.size - int(count_below(scores.genuine, threshold))) / scores.genuine.size
    return Point(tar, float(scores.fmr(threshold)), threshold)
