"""The policies, on random detections in every order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverify.align.detections import Detections, choose, no_detections
from faceverify.errors import BadData, Reason

# Coarse numbers, so that ties happen.
corners = st.integers(-2, 20).map(lambda v: 10.0 * v)
sides = st.integers(0, 3).map(lambda v: 20.0 * v)
faces = st.lists(
    st.tuples(corners, corners, sides, sides, st.sampled_from([0.6, 0.7, 0.9])), min_size=1, max_size=8, unique=True
)


def detections(rows):
    x, y, w, h, scores = np.array(rows, np.float32).T
    boxes = np.stack([x, y, x + w, y + h], 1)
    return Detections(boxes, scores, np.zeros((len(rows), 5, 2), np.float32))


def box(rows, policy, height=200, width=200):
    found = detections(rows)
    index = choose(found, policy, height, width)
    return (*found.boxes[index].tolist(), float(found.scores[index]))


@given(faces, st.randoms(use_true_random=False), st.sampled_from(["largest", "most_central"]))
def test_order_of_detections_does_not_matter(rows, random, policy):
    shuffled = rows.copy()
    random.shuffle(shuffled)
    assert box(rows, policy)[:2] == box(shuffled, policy)[:2]
    assert box(rows, policy)[4] == box(shuffled, policy)[4]


@given(faces)
def test_largest_is_of_greatest_area(rows):
    x1, y1, x2, y2, _ = box(rows, "largest")
    assert (x2 - x1) * (y2 - y1) == max(w * h for _, _, w, h, _ in rows)


@given(faces, st.integers(100, 400), st.integers(100, 400))
def test_most_central_maximises_area_less_twice_the_squared_distance(rows, height, width):
    def value(x1, y1, x2, y2):
        distance = ((x1 + x2) / 2 - width / 2) ** 2 + ((y1 + y2) / 2 - height / 2) ** 2
        return (x2 - x1) * (y2 - y1) - 2 * distance

    best = max(value(x, y, x + w, y + h) for x, y, w, h, _ in rows)
    assert value(*box(rows, "most_central", height, width)[:4]) == pytest.approx(best)


def test_policies_differ():
    middle, corner = (90, 90, 20, 20, 0.9), (0, 0, 40, 40, 0.9)
    assert box([middle, corner], "largest")[:2] == (0, 0)
    assert box([middle, corner], "most_central")[:2] == (90, 90)


def test_ties_go_to_the_score_then_left_then_top():
    rows = [(50, 0, 20, 20, 0.7), (10, 30, 20, 20, 0.7), (10, 20, 20, 20, 0.7)]
    assert box(rows, "largest")[:2] == (10, 20)
    assert box([*rows, (60, 60, 20, 20, 0.9)], "largest")[:2] == (60, 60)


@pytest.mark.parametrize("policy", ["largest", "most_central", "refuse"])
def test_no_face(policy):
    result = choose(no_detections(), policy, 100, 100)
    assert isinstance(result, BadData)
    assert result.reason is Reason.NO_FACE


@given(faces)
def test_refuse_takes_a_single_face_only(rows):
    result = choose(detections(rows), "refuse", 200, 200)
    if len(rows) == 1:
        assert result == 0
    else:
        assert isinstance(result, BadData)
        assert result.reason is Reason.SEVERAL_FACES
        assert str(len(rows)) in result.detail
