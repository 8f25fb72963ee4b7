"""TAR at FAR in both readings, against scikit-learn's ROC and a plain search."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from faceverify.errors import UserError
from faceverify.evaluation.metrics import sort_scores
from faceverify.protocols import tar
from faceverify.protocols.tar import corners, tar_at_far


@pytest.mark.parametrize("at_a_time", [1, 3, 17, 1 << 20])
@pytest.mark.parametrize("seed", range(40))
def test_the_corners_are_those_that_scikit_learn_keeps(
    seed: int, at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar, "_AT_A_TIME", at_a_time)
    rng = np.random.default_rng(seed)
    genuine = rng.integers(0, rng.integers(2, 60), rng.integers(1, 40)).astype(float)
    impostor = rng.integers(0, rng.integers(2, 60), rng.integers(1, 90)).astype(float)
    label = np.concatenate([np.ones(genuine.size), np.zeros(impostor.size)])
    far, accepted, threshold = roc_curve(label.tolist(), np.concatenate([genuine, impostor]).tolist())
    found = corners(sort_scores(genuine, impostor))
    for column, want in zip(found, (threshold, accepted, far), strict=True):
        np.testing.assert_array_equal(column, want)


def test_the_published_reading_exceeds_the_far_on_a_horizontal_run() -> None:
    impostor = np.arange(100) / 100  # 0.99 is the highest
    genuine = np.array([0.995, 0.951, 0.885, 0.2])
    (found,) = tar_at_far(genuine, impostor, [0.06])
    # Points at FAR .04 and .11 remain between the genuine scores; of the run between them the inner ones are dropped.
    assert (found.nearest.far, found.nearest.tar) == (0.04, 0.5)
    assert (found.within.far, found.within.tar, found.within.threshold) == (0.06, 0.5, 0.94)
    (found,) = tar_at_far(genuine, impostor, [0.09])
    assert (found.nearest.far, found.nearest.tar) == (0.11, 0.75) and found.within.tar == 0.5


def test_of_points_as_near_the_largest_tar_counts() -> None:
    (found,) = tar_at_far(np.array([3.0, 2.0, 1.0]), np.array([0.0, -1.0]), [1e-6])
    assert (found.nearest.tar, found.nearest.threshold) == (1.0, 1.0) == (found.within.tar, found.within.threshold)


def test_with_few_impostors_nothing_is_accepted_where_an_impostor_leads() -> None:
    (found,) = tar_at_far(np.array([0.5]), np.array([0.9, 0.1]), [1e-3])
    assert (found.within.tar, found.within.far, found.within.threshold) == (0.0, 0.0, np.inf)


def test_float32_scores_are_read_as_they_are() -> None:
    rng = np.random.default_rng(0)
    genuine, impostor = rng.normal(1, 1, 300).astype(np.float32), rng.normal(0, 1, 3000).astype(np.float32)
    assert tar_at_far(genuine, impostor) == tar_at_far(genuine.astype(np.float64), impostor.astype(np.float64))


def test_a_class_without_scores_is_a_sentence() -> None:
    with pytest.raises(UserError, match="no genuine scores"):
        tar_at_far(np.empty(0), np.ones(3))
