"""Folds of lists that name none."""

import numpy as np
import pytest

from faceverify.datasets.folds import folds_of


def test_contiguous_tenths_where_each_holds_both_classes() -> None:
    label = np.tile(np.repeat([1, 0], 300), 10)  # LFW's order
    fold, reordered = folds_of(label)
    assert fold is not None and not reordered
    np.testing.assert_array_equal(fold, np.arange(6000) // 600)


@pytest.mark.parametrize(
    "label", [np.repeat([1, 0], 3000), np.repeat([0, 1], 3000), np.repeat([1, 0, 1], [20, 55, 35])]
)
def test_a_list_by_class_is_divided_class_by_class(label: np.ndarray) -> None:
    fold, reordered = folds_of(label)
    assert fold is not None and reordered
    for same in (0, 1):
        part = fold[label == same]
        assert np.all(np.diff(part) >= 0) and np.ptp(np.bincount(part, minlength=10)) <= 1


def test_a_short_list_has_no_folds() -> None:
    assert folds_of(np.repeat([1, 0], [100, 9])) == (None, False)
