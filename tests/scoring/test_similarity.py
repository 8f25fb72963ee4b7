"""Scoring: cosines against a naive loop, every pair exactly once, statuses that say why."""

import itertools
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverify import tables
from faceverify.errors import Reason
from faceverify.forensics.thresholds import ForensicThresholds
from faceverify.scoring.similarity import OK, STATES, ForensicFacts, PairDecision, PhotoFacts, cosines, score_rows
from faceverify.vectors import unit

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(20, 16)).astype(np.float32) * 30
UNITS = unit(VECTORS)


def pair_table(a: list[int], b: list[int], fault: list[str | None] | None = None, **columns: list) -> pa.Table:
    names = {f"photo_{s}": [f"p{i}" for i in numbers] for s, numbers in (("a", a), ("b", b))}
    values = {"pair": [str(i) for i in range(len(a))]} | names | columns
    filled = [pa.array(values[f.name], f.type) if f.name in values else pa.nulls(len(a), f.type) for f in tables.PAIRS]
    table = pa.table(filled, schema=tables.PAIRS)
    numbers = {"a": pa.array(a, pa.int64()), "b": pa.array(b, pa.int64())}
    for name, column in (numbers | {"fault": pa.array(fault or [None] * len(a), pa.string())}).items():
        table = table.append_column(name, column)
    return table


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=60), st.integers(1, 7))
def test_cosines_equal_a_naive_loop_in_float64(pairs: list[tuple[int, int]], chunk: int) -> None:
    a, b = (np.array([p[side] for p in pairs], np.int64) for side in (0, 1))
    got = cosines(UNITS.__getitem__, a, b, chunk)
    wide = VECTORS.astype(np.float64)
    for value, i, j in zip(got, a, b, strict=True):
        want = wide[i] @ wide[j] / np.linalg.norm(wide[i]) / np.linalg.norm(wide[j])
        assert value == pytest.approx(want, abs=3e-7) and -1 <= value <= 1


def test_unit_keeps_zero_and_extremes_finite() -> None:
    rows = np.array([[0, 0], [3e37, 4e37], [3e-30, 4e-30]], np.float32)
    assert unit(rows) == pytest.approx(np.array([[0, 0], [0.6, 0.8], [0.6, 0.8]]), abs=1e-6)


def score(pairs: pa.Table, facts: PhotoFacts, threshold: float | None) -> pa.Table:
    return decide(pairs, facts, PairDecision(threshold=threshold))


def decide(pairs: pa.Table, facts: PhotoFacts, decision: PairDecision) -> pa.Table:
    numbers = pairs["a"].to_numpy(), pairs["b"].to_numpy()
    return score_rows(pairs.drop_columns(["a", "b"]), numbers, UNITS.__getitem__, facts, decision)


def test_failed_photos_and_forbidden_pairs_come_out_with_their_reason() -> None:
    states = np.zeros(20, np.uint8)
    states[3] = STATES.index(Reason.NO_FACE.value)
    states[4] = STATES.index(Reason.TRUNCATED.value)
    table = pair_table([0, 3, 1, 3, -1], [1, 0, 4, 4, -1], [None, None, None, None, "outside_root"])
    got = score(table, PhotoFacts(states), 0.1)
    assert got["status"].to_pylist() == [OK, "no_face", "truncated", "no_face", "outside_root"]
    assert [v is None for v in got["similarity"].to_pylist()] == [False, True, True, True, True]
    assert [v is None for v in got["accepted"].to_pylist()] == [False, True, True, True, True]
    assert got.select(tables.PAIRS.names).equals(table.select(tables.PAIRS.names))
    tables.validate(got.schema, tables.SCORES, "scores")


def test_accepted_is_at_or_above_the_threshold_and_null_without_one() -> None:
    table = pair_table([0, 1, 2], [1, 2, 2])
    similarity = score(table, PhotoFacts(np.zeros(20, np.uint8)), None)
    assert similarity["accepted"].null_count == 3
    at = similarity["similarity"][1].as_py()
    decided = score(table, PhotoFacts(np.zeros(20, np.uint8)), at)
    assert decided["accepted"].to_pylist() == [s >= at for s in similarity["similarity"].to_pylist()]


def test_labels_are_taken_from_the_photos_where_the_list_has_none() -> None:
    facts = PhotoFacts(
        np.zeros(20, np.uint8),
        person=pa.array(["ann", "ann", "bob", "ann"] + [None] * 16),
        is_fake=pa.array([False, False, False, True] + [None] * 16),
        generator=pa.array([None, None, None, "swap"] + [None] * 16, pa.string()),
    )
    got = score(pair_table([0, 0, 0], [1, 2, 3]), facts, None)
    assert got["kind"].to_pylist() == ["genuine", "impostor", "deepfake"]
    assert got["label"].to_pylist() == [1, 0, 0]
    assert got["generator"].to_pylist() == [None, None, "swap"]
    assert got["person_b"].to_pylist() == ["ann", "bob", "ann"]


def test_labels_of_the_list_win() -> None:
    facts = PhotoFacts(np.zeros(20, np.uint8), person=pa.array(["ann"] * 20), is_fake=pa.array([False] * 20))
    table = pair_table([0, 0], [1, 2], label=[0, 1], kind=["impostor", "genuine"])
    got = score(table, facts, None)
    assert got["label"].to_pylist() == [0, 1] and got["kind"].to_pylist() == ["impostor", "genuine"]


LIMITS = ForensicThresholds(model="f", values=(3.0, 2.0, None), bpcer=(None,) * 3, photos=(0,) * 3, cost=0.05)


def forensic_pairs(too_small: str) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    """All pairs of 20 photos; scores of 0 to 4 by turns, eyes 20 to 96 pixels apart, some unknown."""
    scores = np.array([0, 4, 2.5, 0] * 5, np.float32)
    eyes = np.linspace(20, 96, 20).astype(np.float32)
    eyes[7], scores[11] = np.nan, np.nan
    states = np.zeros(20, np.uint8)
    states[15] = STATES.index(Reason.NO_FACE.value)
    facts = PhotoFacts(states, forensic=ForensicFacts(scores, eyes))
    a, b = (list(side) for side in zip(*itertools.combinations(range(20), 2), strict=True))
    table = pair_table([*a, -1], [*b, -1], [None] * len(a) + ["outside_root"])
    given: Any = {"threshold": -0.2, "forensic": LIMITS, "too_small": too_small, "forensic_with": "f"}
    return decide(table, facts, PairDecision(**given)), scores, eyes


@pytest.mark.parametrize("too_small", ["similarity", "refuse"])
def test_both_numbers_decide_as_a_naive_loop_says(too_small: str) -> None:
    got, scores, eyes = forensic_pairs(too_small)

    def judged(photo: int) -> tuple[bool, bool]:
        e, s = eyes[photo], scores[photo]
        limit = None if np.isnan(e) or e < 32 or e >= 64 or np.isnan(s) else 3.0 if e < 48 else 2.0
        return limit is not None, limit is not None and s >= limit

    reasons, unseen = set(), set()
    for row in got.to_pylist():
        if row["status"] != OK:
            assert row["accepted"] is row["refused_for"] is row["forensic_a"] is row["eyes_b"] is None
            assert row["not_judged"] is None
            continue
        a, b = (int(row[name][1:]) for name in ("photo_a", "photo_b"))
        (seen_a, bad_a), (seen_b, bad_b) = judged(a), judged(b)
        far, bad = row["similarity"] < -0.2, bad_a or bad_b
        small = too_small == "refuse" and not (seen_a and seen_b)
        why = "both" if far and bad else "similarity" if far else "forensic" if bad else "too_small" if small else None
        assert (row["refused_for"], row["accepted"]) == (why, why is None)
        assert row["forensic_a"] == (None if np.isnan(scores[a]) else scores[a])
        assert row["eyes_b"] == (None if np.isnan(eyes[b]) else eyes[b])
        which = {(False, True): "a", (True, False): "b", (False, False): "both"}.get((seen_a, seen_b))
        assert row["not_judged"] == which
        reasons.add(why)
        unseen.add(which)
    assert reasons == {None, "both", "similarity", "forensic", *(["too_small"] if too_small == "refuse" else [])}
    assert unseen == {None, "a", "b", "both"}
    assert got.schema.names[-7:] == tables.FORENSIC_SCORES.names


def test_without_a_threshold_forensic_scores_stand_there_and_decide_nothing() -> None:
    facts = PhotoFacts(np.zeros(20, np.uint8), forensic=ForensicFacts(*(np.full(20, 50, np.float32) for _ in "ab")))
    got = decide(pair_table([0, 1], [2, 3]), facts, PairDecision(forensic=LIMITS, forensic_with="f"))
    assert got["accepted"].null_count == got["refused_for"].null_count == 2
    assert got["forensic_a"].to_pylist() == [50, 50] and got["forensic_with"].to_pylist() == ["f", "f"]


def test_without_a_forensic_model_there_are_no_columns_of_it() -> None:
    got = score(pair_table([0, 1], [2, 3]), PhotoFacts(np.zeros(20, np.uint8)), 0.0)
    assert not set(tables.FORENSIC_SCORES.names) & set(got.schema.names)
