"""Folds of pair lists that do not name them."""

import numpy as np

FOLDS = 10


def folds_of(label: np.ndarray, folds: int = FOLDS) -> tuple[np.ndarray | None, bool]:
    """The fold of each pair [P] int32, and whether the list's order had to be left for it.

    Published programs cut a list into contiguous tenths, which is right where each holds both classes in the list's
    own proportion. A list that has all genuine pairs first would give folds of one class and a wrong accuracy: there
    fold i is the i-th tenth of the genuine pairs and the i-th tenth of the others.

    Args:
        label: [P], 1 or True where both photos show one person.
        folds: how many.

    Returns:
        None instead of folds where a class has fewer pairs than there are folds.
    """
    same = np.asarray(label, bool)
    if min(same.sum(), (~same).sum()) < folds:
        return None, False
    contiguous = runs(same.size, folds)
    genuine = np.bincount(contiguous, weights=same)
    if np.all(np.abs(genuine - same.sum() / folds) < 1):
        return contiguous, False
    fold = np.empty(same.size, np.int32)
    for chosen in (same, ~same):
        fold[chosen] = runs(int(chosen.sum()), folds)
    return fold, True


def runs(count: int, folds: int) -> np.ndarray:
    """`folds` equal runs, the first ones longer by one where it does not divide."""
    sizes = np.full(folds, count // folds)
    sizes[: count % folds] += 1
    return np.repeat(np.arange(folds, dtype=np.int32), sizes)
