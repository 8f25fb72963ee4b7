"""Error rates against published numbers, against scikit-learn, and by what must hold for any scores."""

import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from faceverify.errors import UserError
from faceverify.evaluation import metrics

# Few distinct values make ties within and between the classes likely.
SCORES = st.lists(st.integers(-20, 20).map(lambda tenth: tenth / 20), min_size=1, max_size=60)


def of(scores: np.ndarray, labels: np.ndarray) -> metrics.Scores:
    return metrics.sort_scores(scores[labels == 1], scores[labels == 0])


def golden_sets(golden: Path) -> list[tuple[str, metrics.Scores, dict]]:
    """Every score set of the file, with the numbers expected for it."""
    expected = json.loads((golden / "verification_lfw.json").read_text())
    with np.load(golden / "verification_lfw.npz") as archive:
        lfw = dict(archive)
    sets = []
    for name, count in (("fold1_600", 600), ("folds1to5_3000", 3000)):
        for variant in ("noflip", "flipsum"):
            scores = of(lfw[f"scores_{variant}"][:count], lfw["labels"][:count])
            sets.append((f"{name}/{variant}", scores, expected[name][variant]))
    for name, case in expected["synthetic"].items():
        sets.append((name, of(np.array(case["scores"]), np.array(case["labels"])), case["expected"]))
    return sets


def test_equal_error_rate_auc_and_accuracy_are_the_published_ones(golden: Path) -> None:
    for name, scores, want in golden_sets(golden):
        crossing = metrics.equal_error_rate(scores)
        assert crossing.eer == pytest.approx(want["eer"], abs=1e-12), name
        assert crossing.threshold == pytest.approx(want["eer_threshold"], abs=1e-9), name
        assert metrics.eer_mean_at_argmin(scores) == pytest.approx(want["eer_mean_at_argmin"], abs=1e-12), name
        assert metrics.auc(scores) == pytest.approx(want["auc"], abs=1e-12), name
        assert metrics.best_accuracy(scores).accuracy == pytest.approx(want["best_accuracy"], abs=1e-12), name


@pytest.mark.parametrize("target", [0.1, 0.01, 0.001])
def test_fnmr_at_fmr_is_the_published_one_or_refused(golden: Path, target: float) -> None:
    for name, scores, want in golden_sets(golden):
        if math.floor(target * scores.negative.size + 1e-9) < 1:
            with pytest.raises(metrics.UnsupportedTarget):
                metrics.fnmr_at_fmr(scores, target)
            continue
        point = metrics.fnmr_at_fmr(scores, target)
        assert 1 - point.fnmr == pytest.approx(want[f"tar_at_far_{target}"], abs=1e-12), name
        assert point.fmr == pytest.approx(want[f"far_reached_{target}"], abs=1e-12), name
        assert point.threshold == pytest.approx(want[f"threshold_at_far_{target}"], abs=1e-9), name


def test_mean_at_argmin_is_that_of_the_challenge_program(golden: Path) -> None:
    for name, case in json.loads((golden / "kryptonite_eer.json").read_text()).items():
        scores = of(np.array(case["scores"]), np.array(case["labels"]))
        assert metrics.eer_mean_at_argmin(scores) == pytest.approx(case["eer_reference"], abs=1e-12), name


@given(SCORES, SCORES)
def test_roc_and_auc_agree_with_scikit_learn(genuine: list[float], negative: list[float]) -> None:
    labels = np.repeat([1, 0], [len(genuine), len(negative)])
    fpr, tpr, thresholds = roc_curve(labels, np.array(genuine + negative), drop_intermediate=False)
    scores = metrics.sort_scores(np.array(genuine), np.array(negative))
    ours = metrics.roc(scores)
    np.testing.assert_allclose(ours.fmr, fpr, atol=1e-12)
    np.testing.assert_allclose(ours.tpr, tpr, atol=1e-12)
    np.testing.assert_array_equal(ours.threshold, thresholds)
    assert metrics.auc(scores) == pytest.approx(roc_auc_score(labels, np.array(genuine + negative)), abs=1e-12)


@given(SCORES, SCORES)
def test_equal_error_rate_is_the_crossing_of_the_polyline(genuine: list[float], negative: list[float]) -> None:
    scores = metrics.sort_scores(np.array(genuine), np.array(negative))
    curve = metrics.roc(scores)
    eer = metrics.equal_error_rate(scores).eer
    # The polyline by arc: every segment on which FMR - FNMR changes sign holds the crossing.
    gap = curve.fmr - (1 - curve.tpr)
    after = int(np.argmax(gap >= -1e-15))
    step = -gap[after - 1] / (gap[after] - gap[after - 1])
    assert eer == pytest.approx(curve.fmr[after - 1] + step * (curve.fmr[after] - curve.fmr[after - 1]), abs=1e-12)


@given(SCORES, SCORES)
def test_nothing_changes_under_a_rising_transform(genuine: list[float], negative: list[float]) -> None:
    before = metrics.sort_scores(np.array(genuine), np.array(negative))
    after = metrics.sort_scores(np.exp(3 * np.array(genuine)), np.exp(3 * np.array(negative)))
    assert metrics.equal_error_rate(before).eer == pytest.approx(metrics.equal_error_rate(after).eer, abs=1e-12)
    assert metrics.auc(before) == metrics.auc(after)
    assert metrics.best_accuracy(before).accuracy == metrics.best_accuracy(after).accuracy
    assert metrics.fnmr_at_fmr(before, 1.0)[1:] == metrics.fnmr_at_fmr(after, 1.0)[1:]


@given(SCORES, SCORES)
def test_swapping_the_classes_mirrors_every_number(genuine: list[float], negative: list[float]) -> None:
    scores = metrics.sort_scores(np.array(genuine), np.array(negative))
    swapped = metrics.sort_scores(np.array(negative), np.array(genuine))
    assert metrics.auc(swapped) == pytest.approx(1 - metrics.auc(scores), abs=1e-12)
    assert metrics.equal_error_rate(swapped).eer == pytest.approx(1 - metrics.equal_error_rate(scores).eer, abs=1e-12)
    turned = metrics.sort_scores(-np.array(negative), -np.array(genuine))
    assert metrics.equal_error_rate(turned).eer == pytest.approx(metrics.equal_error_rate(scores).eer, abs=1e-12)


@given(SCORES, SCORES)
def test_rates_are_plain_counts_and_monotone(genuine: list[float], negative: list[float]) -> None:
    scores = metrics.sort_scores(np.array(genuine), np.array(negative))
    thresholds = np.linspace(-1.2, 1.2, 49)
    np.testing.assert_allclose(scores.fmr(thresholds), [np.mean(np.array(negative) >= t) for t in thresholds])
    np.testing.assert_allclose(scores.fnmr(thresholds), [np.mean(np.array(genuine) < t) for t in thresholds])
    assert (np.diff(scores.fmr(thresholds)) <= 0).all()
    assert (np.diff(scores.fnmr(thresholds)) >= 0).all()
    right = [np.mean(np.append(np.array(genuine) >= t, np.array(negative) < t)) for t in thresholds]
    np.testing.assert_allclose([metrics.accuracy(scores, t) for t in thresholds], right)
    best = metrics.best_accuracy(scores)
    assert best.accuracy >= max(right) - 1e-12
    assert metrics.accuracy(scores, best.threshold) == pytest.approx(best.accuracy)


@given(SCORES, SCORES, st.floats(1e-3, 1))
def test_fnmr_at_fmr_is_the_best_that_keeps_the_target(
    genuine: list[float], negative: list[float], target: float
) -> None:
    scores = metrics.sort_scores(np.array(genuine), np.array(negative))
    curve = metrics.roc(scores)
    try:
        point = metrics.fnmr_at_fmr(scores, target)
    except metrics.UnsupportedTarget as refused:
        assert 1 / len(negative) > target
        assert refused.needed > len(negative)
        return
    last = np.flatnonzero(curve.fmr <= target)[-1]
    assert (point.fmr, point.fnmr) == (curve.fmr[last], pytest.approx(1 - curve.tpr[last]))


def test_a_target_is_refused_with_the_count_it_needs() -> None:
    scores = metrics.sort_scores(np.ones(3), np.zeros(999))
    with pytest.raises(metrics.UnsupportedTarget, match=r"0\.001 needs at least 1,000 .* there are 999"):
        metrics.fnmr_at_fmr(scores, 1e-3)
    assert metrics.allowed_matches(1e-3, 1000) == 1
    again = pickle.loads(pickle.dumps(metrics.UnsupportedTarget(1e-3, 999, 1000)))
    assert (again.target, again.have, again.needed) == (1e-3, 999, 1000)
    for wrong in (0.0, -0.1, 1.5, math.nan):
        with pytest.raises(UserError, match=r"not in \(0, 1\]"):
            metrics.allowed_matches(wrong, 10)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_a_target_that_is_a_whole_number_of_pairs_is_met_exactly(matches: int, more: int) -> None:
    negatives = matches + more
    assert metrics.allowed_matches(matches / negatives, negatives) == matches


def test_empty_classes_and_broken_scores_are_refused_by_name() -> None:
    with pytest.raises(UserError, match="no genuine scores"):
        metrics.sort_scores(np.array([]), np.ones(2))
    with pytest.raises(UserError, match="no negative"):
        metrics.sort_scores(np.ones(2), np.array([]))
    with pytest.raises(UserError, match="1 genuine scores are not finite"):
        metrics.sort_scores(np.array([0.5, np.nan]), np.ones(2))


def test_float32_scores_are_compared_with_an_unrounded_threshold() -> None:
    score = np.float32(0.1)  # 0.100000001490116
    scores = metrics.sort_scores(np.array([score]), np.array([0], dtype=np.float32))
    assert scores.fnmr(float(score)) == 0
    assert scores.fnmr(np.nextafter(float(score), 1)) == 1


def test_thin_thresholds_keep_both_tails() -> None:
    rng = np.random.default_rng(0)
    scores = metrics.sort_scores(rng.normal(0.6, 0.15, 30_000), rng.normal(0, 0.1, 100_000))
    thin = metrics.thin_thresholds(scores)
    assert thin.size < 1000
    assert (np.diff(thin) > 0).all()
    fmr = scores.fmr(thin)
    # No step of either rate is larger than the ratio promises, once past the scores that are kept singly.
    small = fmr[(fmr > 70 / 100_000) & (fmr < 0.5)]
    assert (small[:-1] / small[1:]).max() < 1.08
    assert thin[-1] >= scores.negative[-1]
    assert thin[0] <= scores.genuine[0]
