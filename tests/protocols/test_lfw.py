"""The k-fold protocol against numbers of the reference program and against a loop that follows its text."""

import json
from pathlib import Path

import numpy as np
import pytest

from faceverify.errors import UserError
from faceverify.protocols.lfw import ACCURACY_THRESHOLDS, contiguous_folds, fold_accuracy, fold_val

VARIANTS = ("noflip", "flipsum")


@pytest.fixture(scope="session")
def lfw(golden: Path) -> dict:
    with np.load(golden / "verification_lfw.npz") as archive:
        return dict(archive)


@pytest.fixture(scope="session")
def expected(golden: Path) -> dict:
    return json.loads((golden / "verification_lfw.json").read_text())["insightface_10fold_3000"]


def interleaved(lfw: dict) -> np.ndarray:
    """Inside each fold: same, different, same, ..."""
    order = []
    for fold in range(5):
        members = np.flatnonzero(lfw["fold"] == fold)
        same, different = members[lfw["labels"][members] == 1], members[lfw["labels"][members] == 0]
        order.append(np.stack([same, different], axis=1).ravel())
    return np.concatenate(order)


def arrangement(lfw: dict, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Order of the pairs, and their folds."""
    natural = np.arange(3000)
    return {
        "natural_5folds": (natural, contiguous_folds(3000, 5)),
        "natural_10folds_accuracy_only": (natural, contiguous_folds(3000, 10)),
        "interleaved_10folds": (interleaved(lfw), contiguous_folds(3000, 10)),
    }[name]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ["natural_5folds", "natural_10folds_accuracy_only", "interleaved_10folds"])
def test_accuracy_is_that_of_the_reference(lfw: dict, expected: dict, variant: str, name: str) -> None:
    order, folds = arrangement(lfw, name)
    result = fold_accuracy(lfw[f"scores_{variant}"][order], lfw["labels"][order], folds)
    want = expected[variant][name]
    np.testing.assert_allclose(result.per_fold, want["accuracy_per_fold"], atol=1e-12)
    np.testing.assert_allclose(result.thresholds, want["best_threshold_per_fold"], atol=1e-9)
    assert result.mean == pytest.approx(want["accuracy_mean"], abs=1e-12)
    assert result.std == pytest.approx(want["accuracy_std"], abs=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ["natural_5folds", "interleaved_10folds"])
def test_val_is_the_stable_one_of_the_reference(lfw: dict, expected: dict, variant: str, name: str) -> None:
    order, folds = arrangement(lfw, name)
    result = fold_val(lfw[f"scores_{variant}"][order], lfw["labels"][order], folds, 1e-3)
    want = expected[variant][name]
    assert result.mean == pytest.approx(want["stable_val_mean"], abs=1e-12)
    assert result.std == pytest.approx(want["stable_val_std"], abs=1e-12)
    assert result.far == pytest.approx(want["stable_far_mean"], abs=1e-12)


def test_folds_are_those_of_the_file(lfw: dict) -> None:
    np.testing.assert_array_equal(contiguous_folds(3000, 5), lfw["fold"])
    np.testing.assert_array_equal(contiguous_folds(7, 3), [0, 0, 0, 1, 1, 2, 2])


def test_accuracy_equals_a_plain_loop() -> None:
    rng = np.random.default_rng(3)
    label = rng.integers(0, 2, 90)
    similarity = np.round(rng.normal(0.3 * label, 0.3).clip(-1, 1), 2)  # many ties, and distances on the grid
    fold = np.tile([4, 7, 9], 30)  # folds need not be contiguous, nor start at 0
    result = fold_accuracy(similarity, label, fold)
    distance = 2 - 2 * similarity
    for position, number in enumerate((4, 7, 9)):
        inside = fold == number
        train = [((distance[~inside] < t) == label[~inside]).mean() for t in ACCURACY_THRESHOLDS]
        threshold = ACCURACY_THRESHOLDS[int(np.argmax(train))]
        assert result.thresholds[position] == threshold
        assert result.per_fold[position] == pytest.approx(((distance[inside] < threshold) == label[inside]).mean())


def test_val_is_zero_where_the_grid_never_reaches_the_far() -> None:
    label = np.array([1, 0, 1, 0])
    similarity = np.array([0.9, -1.0, 0.8, -1.0])  # distance 4 lies beyond the last threshold
    result = fold_val(similarity, label, np.array([0, 0, 1, 1]))
    assert (result.mean, result.far) == (0.0, 0.0)


def test_one_fold_or_one_class_is_refused() -> None:
    with pytest.raises(UserError, match="at least 2 folds"):
        fold_accuracy(np.zeros(4), np.array([0, 1, 0, 1]), np.zeros(4, dtype=int))
    with pytest.raises(UserError, match="every fold"):
        fold_val(np.zeros(4), np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]))
    with pytest.raises(UserError, match="3 folds"):
        contiguous_folds(2, 3)
