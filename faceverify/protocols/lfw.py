"""k-fold accuracy and VAL as the `.bin` sets (LFW, CFP-FP, AgeDB-30, ...) are scored, by the rules of insightface.

The published numbers come from `verification.py` of deepinsight/insightface (recognition/arcface_torch/eval), itself
after facenet: the squared Euclidean distance d = 2 - 2 cos of unit vectors, a pair is accepted if d < t, t on a fixed
grid over [0, 4). For every fold t is chosen on the other folds and applied to this one. These programs embed a photo
and its mirror image and add both vectors before taking the cosine; to compare with their numbers, do so too.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify.errors import UserError

# d < t, so on this grid accuracy is decided to 0.01 and VAL to 0.001 in squared distance.
ACCURACY_THRESHOLDS = np.arange(0, 4, 0.01)
VAL_THRESHOLDS = np.arange(0, 4, 0.001)
_MOST_FOLDS = 10_000


@dataclass(frozen=True, slots=True)
class FoldAccuracy:
    """Accuracy on k folds, each at the threshold that is best on the other folds.

    Attributes:
        per_fold: accuracy of each fold, [0, 1], in ascending order of the fold's number.
        thresholds: squared distance chosen for each fold; the cosine threshold is 1 - t / 2.
        mean: mean over folds.
        std: standard deviation over folds, divided by k (not k - 1), as published numbers are.
    """

    per_fold: tuple[float, ...]
    thresholds: tuple[float, ...]
    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class FoldVal:
    """VAL (accepted share of the genuine pairs) at a FAR target, over folds.

    Attributes:
        mean: mean VAL over folds.
        std: standard deviation over folds, divided by k.
        far: mean share of impostors accepted on the held-out folds.
    """

    mean: float
    std: float
    far: float


def contiguous_folds(pairs: int, folds: int = 10) -> np.ndarray:
    """The fold number of each pair, int64 [pairs]: equal runs in file order, the first `pairs % folds` one longer."""
    if not 2 <= folds <= pairs:
        raise UserError(f"{pairs} pairs cannot be cut into {folds} folds: give 2 <= folds <= pairs.")
    sizes = np.full(folds, pairs // folds)
    sizes[: pairs % folds] += 1
    return np.repeat(np.arange(folds), sizes)


def fold_accuracy(similarity: np.ndarray, label: np.ndarray, fold: np.ndarray) -> FoldAccuracy:
    """Accuracy per fold at the first best threshold of the other folds.

    Args:
        similarity: cosine [P] in [-1, 1].
        label: [P], 1 or True where both photos show one person.
        fold: integer fold number [P]; folds may hold one class only.

    Raises:
        UserError: fewer than two folds.
    """
    counts = FoldCounts()
    counts.add(similarity, label, pa.array(fold))
    return counts.accuracy()


class FoldCounts:
    """`fold_accuracy` of pairs that are given some at a time."""

    def __init__(self) -> None:
        self._counts: dict[Any, np.ndarray] = {}  # of each fold [2, T + 1]: negative and genuine pairs

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, similarity: np.ndarray, label: np.ndarray, fold: pa.Array | pa.ChunkedArray) -> None:
        """Count some pairs; those without a fold take no part. Arguments as of `fold_accuracy`.

        Raises:
            UserError: more than 10,000 folds.
        """
        names = fold.unique().drop_null()
        if len(names) + len(self._counts) > 2 * _MOST_FOLDS or len(self._counts) > _MOST_FOLDS:
            raise UserError(f"The column 'fold' holds more than {_MOST_FOLDS:,} folds: give each pair one of a few.")
        index = pc.index_in(fold, names).fill_null(-1).to_numpy(zero_copy_only=False)
        known = index >= 0
        width = ACCURACY_THRESHOLDS.size + 1
        cells = _first_accepting(similarity[known], ACCURACY_THRESHOLDS)
        cells = cells + width * (2 * index[known] + np.asarray(label, dtype=bool)[known])
        counts = np.bincount(cells, minlength=2 * width * len(names)).reshape(len(names), 2, width)
        for name, more in zip(names.to_pylist(), counts, strict=True):
            self._counts[name] = self._counts.get(name, 0) + more

    def accuracy(self) -> FoldAccuracy:
        """Accuracy of all pairs given, folds in ascending order.

        Raises:
            UserError: fewer than two folds.
        """
        _check_folds(len(self._counts))
        counts = np.stack([self._counts[fold] for fold in sorted(self._counts)])  # [F, 2, T + 1]
        pairs, accepted = counts.sum(axis=2), counts.cumsum(axis=2)[..., :-1]
        right = accepted[:, 1] + (pairs[:, :1] - accepted[:, 0])  # [F, T]
        best = np.argmax(right.sum(axis=0) - right, axis=1)
        per_fold = right[np.arange(best.size), best] / pairs.sum(axis=1)
        return FoldAccuracy(
            tuple(per_fold.tolist()),
            tuple(ACCURACY_THRESHOLDS[best].tolist()),
            float(per_fold.mean()),
            float(per_fold.std()),
        )


def fold_val(similarity: np.ndarray, label: np.ndarray, fold: np.ndarray, far_target: float = 1e-3) -> FoldVal:
    """VAL at `far_target`; each fold's threshold is interpolated from the FAR curve of the other folds.

    Where several thresholds share a FAR, the line runs from the last threshold of the FAR below the target to the first
    of the FAR above. (The reference interpolates after an unstable sort of tied FARs, so its own result depends on the
    SciPy version; new versions refuse the input.)

    Raises:
        UserError: fewer than two folds, or a fold that lacks one of the two classes.
    """
    genuine, negative = _accepted_counts(similarity, label, fold, VAL_THRESHOLDS)
    if not (genuine.pairs.all() and negative.pairs.all()):
        raise UserError("VAL needs genuine and impostor pairs in every fold: regroup the folds.")
    others_far = negative.others(negative.accepted) / negative.others(negative.pairs)[:, None]
    thresholds = np.array([_threshold_at_far(far, far_target) for far in others_far])
    distance = _distance(similarity)
    numbers = np.unique(fold)
    accepted = distance < thresholds[np.searchsorted(numbers, fold)]
    is_genuine = np.asarray(label, dtype=bool)
    val = np.array([accepted[(fold == number) & is_genuine].mean() for number in numbers])
    far = np.array([accepted[(fold == number) & ~is_genuine].mean() for number in numbers])
    return FoldVal(float(val.mean()), float(val.std()), float(far.mean()))


@dataclass(frozen=True, slots=True)
class _Counts:
    """Counts of the pairs of one class: accepted per fold and threshold [F, T], and all per fold [F]."""

    accepted: np.ndarray
    pairs: np.ndarray

    @staticmethod
    def others(counts: np.ndarray) -> np.ndarray:
        """The same counts over all folds but this one."""
        return counts.sum(axis=0) - counts


def _distance(similarity: np.ndarray) -> np.ndarray:
    return 2.0 - 2.0 * np.asarray(similarity, dtype=np.float64)


def _first_accepting(similarity: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Index of the first threshold that is greater than the distance: it accepts the pair, and so do all later ones."""
    return np.searchsorted(thresholds, _distance(similarity), side="right")


def _check_folds(folds: int) -> None:
    if folds < 2:
        raise UserError(f"k-fold accuracy needs at least 2 folds, the column 'fold' holds {folds}.")


def _accepted_counts(
    similarity: np.ndarray, label: np.ndarray, fold: np.ndarray, thresholds: np.ndarray
) -> tuple[_Counts, _Counts]:
    """Counts of genuine and of negative pairs; one histogram instead of a comparison per threshold."""
    numbers, fold_index = np.unique(fold, return_inverse=True)
    _check_folds(numbers.size)
    first = _first_accepting(similarity, thresholds)
    width = thresholds.size + 1
    is_genuine = np.asarray(label, dtype=bool)
    counts = []
    for chosen in (is_genuine, ~is_genuine):
        flat = np.bincount(fold_index[chosen] * width + first[chosen], minlength=numbers.size * width)
        histogram = flat.reshape(numbers.size, width)
        counts.append(_Counts(histogram.cumsum(axis=1)[:, :-1], histogram.sum(axis=1)))
    return counts[0], counts[1]


def _threshold_at_far(far: np.ndarray, target: float) -> float:
    """The squared distance at which `far` [T], which never falls along VAL_THRESHOLDS, reaches `target`."""
    if far[-1] < target:
        return 0.0  # the reference accepts nothing then
    above = int(np.searchsorted(far, target, side="left"))
    if above == 0 or far[above] == target:
        return float(VAL_THRESHOLDS[above])
    step = (target - far[above - 1]) / (far[above] - far[above - 1])
    return float(VAL_THRESHOLDS[above - 1] + step * (VAL_THRESHOLDS[above] - VAL_THRESHOLDS[above - 1]))
