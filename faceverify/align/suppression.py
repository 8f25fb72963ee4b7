"""Greedy non-maximum suppression of boxes x1 y1 x2 y2, for the boxes of many photos at once."""

import numpy as np


def suppress(
    boxes_N4: np.ndarray,
    scores_N: np.ndarray,
    groups_N: np.ndarray,
    limit: float,
    more: int = 1,
    of_smaller: bool = False,
) -> np.ndarray:
    """Indices of the kept boxes, by group, best first; of equal scores the earlier box is the better.

    Args:
        boxes_N4: float32.
        scores_N: how sure each is.
        groups_N: only boxes of one group (a photo, say) compete.
        limit: of two boxes that share more, the weaker is dropped.
        more: 1 if sides count pixels on both ends, as in the published evaluation code of most detectors, else 0.
        of_smaller: the share is that of the smaller box, which drops boxes inside others; else of the joint area.
    """
    order = np.lexsort((-scores_N, groups_N))
    kept = []
    while len(order):
        groups = groups_N[order]
        starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
        kept.append(order[starts])
        leaders = np.repeat(order[starts], np.diff(np.r_[starts, len(order)]))
        weaker = _shared(boxes_N4[leaders], boxes_N4[order], more, of_smaller) <= limit
        weaker[starts] = False
        order = order[weaker]
    found = np.concatenate(kept) if kept else np.zeros(0, np.intp)
    return found[np.lexsort((-scores_N[found], groups_N[found]))]


def _shared(a_N4: np.ndarray, b_N4: np.ndarray, more: int, of_smaller: bool) -> np.ndarray:
    one = np.float32(more)
    area_a, area_b = (np.prod(box[:, 2:] - box[:, :2] + one, axis=1) for box in (a_N4, b_N4))
    extent = np.minimum(a_N4[:, 2:], b_N4[:, 2:]) - np.maximum(a_N4[:, :2], b_N4[:, :2]) + one
    shared = np.prod(extent.clip(0), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return shared / (np.minimum(area_a, area_b) if of_smaller else area_a + area_b - shared)
