"""What the page is told of a person."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from review import clean_output
from review.clean_output import NAMES, THRESHOLD, face

from faceverify.review import layout
from faceverify.review.view import case_view, proposal, to_mean


def case_row(case: int) -> dict:
    """As `Cases.read` gives it."""
    row = clean_output.case_row(case, "photos")
    return row | {"bridges": [0, 1]}


def view(case: int) -> dict:
    return case_view(case_row(case), THRESHOLD, lambda slot, which: f"{slot}/{which}")


@pytest.mark.parametrize("case", range(10))
def test_it_is_json_and_holds_each_photo_in_one_group(case: int) -> None:
    shown = view(case)
    json.dumps(shown, allow_nan=False)
    slots = [slot for group in shown["groups"] for slot in group["slots"]]
    assert sorted(slots) == list(range(len(shown["photos"])))
    assert shown["groups"][-1]["kind"] == "kept" and shown["groups"][-1]["slots"] == list(range(6))
    assert [photo["waits"] for photo in shown["photos"]] == [photo["was"] != "kept" for photo in shown["photos"]]
    assert shown["typical"] in range(6)


def test_groups_tell_second_people_from_single_photos() -> None:
    assert [group["kind"] for group in view(1)["groups"]] == ["alone", "kept"]
    assert [group["kind"] for group in view(2)["groups"]] == ["other", "kept"]
    assert [group["kind"] for group in view(3)["groups"]] == ["alone", "unplaced", "kept"]


@pytest.mark.parametrize(
    "decision, suggested, component, wanted",
    [
        ("kept", None, 0, ("kept", None)),
        ("kept", "q", 0, ("kept", None)),
        ("moved", "q", 1, ("moved", "q")),
        ("review", "q", 1, ("moved", "q")),
        ("review", "q", None, ("moved", "q")),
        ("review", "q", 0, ("kept", None)),
        ("review", None, 0, ("kept", None)),
        ("review", None, 1, ("dropped", None)),
        ("review", None, None, ("dropped", None)),
        ("dropped", None, 0, ("dropped", None)),
        ("dropped", "q", 1, ("dropped", None)),
    ],
)
def test_proposals(decision: str, suggested: str | None, component: int | None, wanted: tuple) -> None:
    assert tuple(proposal(decision, suggested, component).values()) == wanted


def test_a_suggestion_below_the_threshold_is_no_proposal() -> None:
    row = case_row(2) | {"similarity_suggested": [None] * 6 + [THRESHOLD - 0.01, THRESHOLD + 0.01]}
    proposals = [photo["propose"] for photo in case_view(row, THRESHOLD, lambda *_: "")["photos"]]
    assert [one["decision"] for one in proposals[6:]] == ["dropped", "moved"]


def test_cosine_to_the_mean_is_that_of_the_vectors() -> None:
    vectors = np.array([face(person, index) for person in (1, 2) for index in range(5)])
    kept = [0, 1, 2, 3, 4]
    mean = vectors[kept].mean(0)
    np.testing.assert_allclose(to_mean(vectors @ vectors.T, kept), vectors @ mean / np.linalg.norm(mean), atol=1e-12)
    assert np.isnan(to_mean(np.eye(3), [])).all()


def test_without_a_kept_component() -> None:
    row = case_row(0) | {"component": [1] * 7}
    shown = case_view(row, THRESHOLD, lambda *_: "")
    assert shown["typical"] is None and shown["photos"][0]["own_similarity"] is None


@settings(deadline=None)  # networkx is imported by the first
@given(size=st.integers(0, 12), seed=st.integers(0, 99), unknown=st.booleans())
def test_the_layout_stays_on_the_paper_and_does_not_change(size: int, seed: int, unknown: bool) -> None:
    vectors = np.random.default_rng(seed).normal(size=(size, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    matrix = vectors @ vectors.T
    if unknown and size:
        matrix[0], matrix[:, 0] = np.nan, np.nan
    points = layout.positions(matrix)
    assert points.shape == (size, 2) and np.isfinite(points).all() and (points >= 0).all() and (points <= 1).all()
    np.testing.assert_array_equal(points, layout.positions(matrix))


def test_edges_from_the_threshold_on() -> None:
    matrix = np.array([[1, 0.5, np.nan], [0.5, 1, 0.49], [np.nan, 0.49, 1]])
    assert layout.edges(matrix, 0.5) == [(0, 1)]


def test_a_stray_stands_apart() -> None:
    shown = view(0)
    points = np.array(shown["graph"]["nodes"])
    kept, stray = points[:6], points[6]
    assert min(np.linalg.norm(kept - stray, axis=1)) > max(np.sort(np.linalg.norm(kept - k, axis=1))[1] for k in kept)
    assert shown["photos"][6]["propose"]["to"] == NAMES[5]
