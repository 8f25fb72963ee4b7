"""k-fold accuracy and VAL as the `.bin` sets (LFW, CFP-FP, AgeDB-30, ...) are scored, by the rules of insightface.

The published numbers come from `verification.py` of deepinsight/insightface (recognition/arcface_torch/eval), itself
after facenet: the squared Euclidean distance d = 2 - 2 cos of unit vectors, a pair is accepted if d < t, t on a fixed
grid over [0, 4). For every fold t is chosen on the other folds and applied to this one. These programs embed a photo
and its mirror image and add both vectors before taking the cosine; to compare with their numbers, do so too.
"""

from dataclasses import dataclass

import numpy as np

from faceverify.errors import UserError

# d < t, so on this grid accuracy is decided to 0.01 and VAL to 0.001 in squared distance.
ACCURACY_THRESHOLDS = np.arange(0, 4, 0.01)
VAL_THRESHOLDS = np.arange(0, 4, 0.001)


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
    genuine, negative = _accepted_counts(similarity, label, fold, ACCURACY_THRESHOLDS)
    right = genuine.accepted + (negative.pairs[:, None] - negative.accepted)  # [F, T]
    best = np.argmax(right.sum(axis=0) - right, axis=1)
    per_fold = right[np.arange(best.size), best] / (genuine.pairs + negative.pairs)
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
    """Of one class: accepted pairs per fold and threshold [F, T], and pairs per fold [F]."""

    accepted: np.ndarray
    pairs: np.ndarray

    @staticmethod
    def others(counts: np.ndarray) -> np.ndarray:
        """The same counts over all folds but this one."""
        return counts.sum(axis=0) - counts


def _distance(similarity: np.ndarray) -> np.ndarray:
    return 2.0 - 2.0 * np.asarray(similarity, dtype=np.float64)


def _accepted_counts(
    similarity: np.ndarray, label: np.ndarray, fold: np.ndarray, thresholds: np.ndarray
) -> tuple[_Counts, _Counts]:
    """Counts of genuine and of negative pairs; one histogram instead of a comparison per threshold."""
    numbers, fold_index = np.unique(fold, return_inverse=True)
    if numbers.size < 2:
        raise UserError(f"k-fold accuracy needs at least 2 folds, the column 'fold' holds {numbers.size}.")
    # The first threshold that is greater than the distance accepts the pair, and so do all later ones.
    first = np.searchsorted(thresholds, _distance(similarity), side="right")
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
