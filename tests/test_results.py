"""Decisions by two numbers, in values and in words."""

import json
from typing import Any

import numpy as np
import pytest

from faceverify.decision import Threshold
from faceverify.forensics.thresholds import ForensicThresholds
from faceverify.results import Face, Verification

LIMITS = ForensicThresholds(
    model="f", values=(2.6, None, 1.0), bpcer=(0.02, None, 0.02), photos=(500, 0, 500), cost=0.05
)


def pair(similarity: float, b: dict[str, Any], limits: ForensicThresholds | None = LIMITS) -> Verification:
    """A pair at the threshold .3 whose first photo is large and looks real."""
    faces = Face("a.jpg", "ok", eyes=90.0, forensic=-3.0), Face("b.jpg", "ok", **b)
    return Verification(*faces, similarity, "ok", Threshold(0.3, "own"), limits)


@pytest.mark.parametrize(
    ("similarity", "b", "accepted", "said"),
    [
        (0.5, {"eyes": 90.0, "forensic": 0.9}, True, ["accepted"]),
        (
            0.5,
            {"eyes": 40.0, "forensic": 4.1},
            False,
            [
                "refused; b.jpg looks manipulated (forensic score 4.1, threshold 2.6 for faces of 32-48 pixels between "
                "the eyes; 1 in 50 real photos would)"
            ],
        ),
        (0.1, {"eyes": 40.0, "forensic": 4.1}, False, ["b.jpg looks manipulated", "not alike enough"]),
        (0.1, {"eyes": 27.0, "forensic": 4.1}, False, ["refused"]),
        (
            0.5,
            {"eyes": 27.0, "forensic": 4.1},
            True,
            [
                "b.jpg: too small to judge (27 pixels between the eyes; 32 needed): similarity alone decides",
            ],
        ),
        (0.5, {"eyes": 50.0, "forensic": 4.1}, True, ["b.jpg: not judged (no threshold for faces this large)"]),
        (0.5, {"eyes": 90.0, "forensic": None}, True, ["b.jpg: not judged (no forensic score)"]),
        (0.5, {"eyes": None, "forensic": None}, True, ["b.jpg: not judged (no landmarks)"]),
    ],
)
def test_the_words_say_which_number_refused(
    similarity: float, b: dict[str, Any], accepted: bool, said: list[str]
) -> None:
    found = pair(similarity, b)
    assert found.accepted is accepted
    for words in said:
        assert words in found.decision
    assert ("too small" in found.decision) is (similarity == 0.5 and b["eyes"] == 27)
    assert ("looks manipulated" in found.decision) is bool(found.manipulated)


def test_both_photos_can_be_read_apart_and_as_json() -> None:
    found = pair(0.5, {"eyes": 40.0, "forensic": 4.1})
    assert (found.forensic_a, found.forensic_b, found.eyes_a, found.eyes_b) == (-3.0, 4.1, 90.0, 40.0)
    told = json.loads(json.dumps(found.to_dict()))
    known = {"forensic": 4.1, "forensic_a": -3.0, "forensic_b": 4.1, "eyes_a": 90.0, "eyes_b": 40.0}
    assert {name: told[name] for name in known} == known
    assert told["manipulated"] == ["b.jpg"] and told["not_judged"] == []


def test_scores_without_thresholds_decide_nothing() -> None:
    found = pair(0.5, {"eyes": 40.0, "forensic": 25.0}, limits=None)
    assert found.accepted and found.manipulated == found.unjudged == ()


def test_a_score_at_the_threshold_counts_as_manipulated() -> None:
    at = float(np.float32(2.6))
    below = float(np.nextafter(np.float32(at), np.float32(-np.inf)))
    assert [pair(0.5, {"eyes": 47.9, "forensic": score}).accepted for score in (at, below)] == [False, True]
