"""MagFace's 1:1 on pairs against numbers of its own functions."""

import json
from pathlib import Path

import numpy as np
import pytest

from faceverify.errors import UserError
from faceverify.protocols.lfw import contiguous_folds
from faceverify.protocols.magface import fold_accuracy, fold_distances, pair_quality

FOLDS = contiguous_folds(600)


@pytest.fixture(scope="module")
def data(golden: Path) -> dict[str, np.ndarray]:
    with np.load(golden / "zoo/magface_1v1.npz") as archive:
        return dict(archive)


@pytest.mark.parametrize(("name", "subtract"), [("subtract_mean", True), ("plain", False)])
def test_accuracy_and_distances(name: str, subtract: bool, data: dict, golden: Path) -> None:
    want = json.loads((golden / "zoo/magface_1v1.json").read_text())[name]
    found = fold_accuracy(data["a"], data["b"], data["issame"], FOLDS, subtract)
    assert list(found.per_fold) == want["accuracy_per_fold"]
    assert (found.mean, found.std) == pytest.approx((want["mean"], want["std"]), abs=1e-15)
    distance = fold_distances(data["a"], data["b"], FOLDS, 0, subtract)
    np.testing.assert_allclose(distance, data[f"distance_{name}_fold0"], rtol=0, atol=1e-12)


def test_quality_is_the_smaller_norm(data: dict) -> None:
    np.testing.assert_allclose(pair_quality(data["a"], data["b"]), data["pair_quality_min_norm"], rtol=1e-12)


def test_one_fold_is_a_sentence(data: dict) -> None:
    with pytest.raises(UserError, match="at least 2 folds"):
        fold_accuracy(data["a"], data["b"], data["issame"], np.zeros(600, int))
