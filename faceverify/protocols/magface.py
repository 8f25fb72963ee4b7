"""MagFace's 1:1 on pairs: angular distance after the mean of the other folds is taken off, and a pair's quality."""

import numpy as np

from faceverify.errors import UserError
from faceverify.protocols.fusion import directions
from faceverify.protocols.lfw import FoldAccuracy
from faceverify.vectors import lengths

THRESHOLDS = np.arange(0, 4, 0.01)  # of the distance; a pair is accepted below it


def pair_quality(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smaller magnitude of both raw features [P,D]; small where a photo is poor, on a scale of each network."""
    return np.minimum(lengths(a), lengths(b))


def angular_distance(a: np.ndarray, b: np.ndarray, mean: np.ndarray | float = 0.0) -> np.ndarray:
    """arccos(cosine) / pi [P], in [0, 1], of raw features [P,D] from which `mean` [D] is taken off."""
    first, second = (directions(np.asarray(side, np.float64) - mean) for side in (a, b))
    return np.arccos(np.clip(np.einsum("pd,pd->p", first, second), -1, 1)) / np.pi


def fold_distances(
    a: np.ndarray, b: np.ndarray, fold: np.ndarray, number: int, subtract_mean: bool = True
) -> np.ndarray:
    """Distances [P] of all pairs as they are judged when fold `number` is held out; arguments as of `fold_accuracy`."""
    others = fold != number
    if not subtract_mean:
        return angular_distance(a, b)
    return angular_distance(a, b, np.concatenate([a[others], b[others]]).astype(np.float64).mean(axis=0))


def fold_accuracy(
    a: np.ndarray, b: np.ndarray, label: np.ndarray, fold: np.ndarray, subtract_mean: bool = True
) -> FoldAccuracy:
    """Accuracy of each fold at the first best threshold of the others; `thresholds` are angular distances.

    Args:
        a: raw features [P,D] of the first photo of each pair, not divided by their length and without mirror images.
        b: the same of the second.
        label: [P], 1 or True where both show one person.
        fold: integer fold number [P].
        subtract_mean: take the mean feature of the other folds (both sides together) off first.

    Raises:
        UserError: fewer than two folds.
    """
    numbers = np.unique(fold)
    if numbers.size < 2:
        raise UserError(f"k-fold accuracy needs at least 2 folds, there are {numbers.size}.")
    same = np.asarray(label, bool)
    accuracy, chosen = [], []
    for number in numbers:
        distance = fold_distances(a, b, fold, number, subtract_mean)
        held = fold == number
        right = np.searchsorted(THRESHOLDS, distance, side="right")  # the first threshold that accepts the pair
        best = int(np.argmax(_right(right[~held], same[~held])))
        accuracy.append(_right(right[held], same[held])[best] / held.sum())
        chosen.append(float(THRESHOLDS[best]))
    return FoldAccuracy(tuple(map(float, accuracy)), tuple(chosen), float(np.mean(accuracy)), float(np.std(accuracy)))


def _right(first: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Right decisions at each threshold [T]."""
    accepted = [np.bincount(first[of], minlength=THRESHOLDS.size + 1).cumsum()[:-1] for of in (same, ~same)]
    return accepted[0] + ((~same).sum() - accepted[1])
