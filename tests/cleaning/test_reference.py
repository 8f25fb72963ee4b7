"""The reference's rule: its own results, and the bulk path against it."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverify.cleaning.reference import reference_rule, reference_rule_bulk


def test_golden(golden: Path) -> None:
    content = json.loads((golden / "graph_cleaning.json").read_text())
    seen = 0
    for name, case in content["cases"].items():
        if "cosine" not in case:
            assert not case["moved"], name  # a person without a matrix keeps everything; here: no photo is judged
            continue
        kept = reference_rule(np.array(case["cosine"]), np.array(case["labels"]) == 1, content["threshold"])
        names = np.array(case["file_names"])
        assert sorted(names[kept]) == sorted(case["kept"]), name
        assert sorted(names[~kept]) == sorted(case["moved"]), name
        seen += 1
    assert seen >= 8


def test_an_edge_is_at_the_threshold_in_float32() -> None:
    at = np.float32(0.15)
    for cosine, stays in ((float(at), True), (0.15, True), (float(np.nextafter(at, np.float32(0))), False)):
        matrix = np.array([[1, cosine], [cosine, 1]])
        assert reference_rule(matrix, np.zeros(2, bool)).all() == stays


def test_an_only_photo_goes_and_its_fakes_with_it() -> None:
    assert not reference_rule(np.ones((3, 3)), np.array([False, True, True])).any()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(0, 10**6), st.sampled_from([0.1, 0.3, 0.6]))
def test_bulk_is_the_same_rule(sizes: list[int], seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((sum(sizes), 6)).astype(np.float32)
    person = np.repeat(np.arange(len(sizes)) * 3, sizes)
    found = reference_rule_bulk(vectors, person, threshold)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for number in np.unique(person):
        mine = units[person == number]
        assert (found[person == number] == reference_rule(mine @ mine.T, np.zeros(len(mine), bool), threshold)).all()


def test_bulk_of_nothing() -> None:
    assert not len(reference_rule_bulk(np.zeros((0, 4), np.float32), np.zeros(0, np.int64)))


@pytest.mark.parametrize("count", [0, 1])
def test_of_no_photos(count: int) -> None:
    assert not reference_rule(np.ones((count, count)), np.zeros(count, bool)).any()
