"""Scoring: cosines against a naive loop, every pair exactly once, statuses that say why."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverify import tables
from faceverify.errors import Reason
from faceverify.scoring.similarity import OK, STATES, PhotoFacts, cosines, score_rows
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
    numbers = pairs["a"].to_numpy(), pairs["b"].to_numpy()
    return score_rows(pairs.drop_columns(["a", "b"]), numbers, UNITS.__getitem__, facts, threshold)


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
