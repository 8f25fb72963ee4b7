"""Which rows of the scores table count, and how they are grouped."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from faceverify.errors import UserError
from faceverify.evaluation.scored_pairs import read
from faceverify.tables import SCORES


def table(*rows: dict[str, Any]) -> pa.Table:
    """A scores table; every row is a genuine pair of person `a` at 0.5 but for what it changes."""
    usual = {
        "photo_a": "a/1.jpg",
        "photo_b": "a/2.jpg",
        "label": 1,
        "kind": "genuine",
        "generator": None,
        "split": None,
        "person_a": "a",
        "person_b": "a",
        "similarity": 0.5,
        "accepted": None,
        "status": "ok",
    }
    return pa.Table.from_pylist([usual | {"pair": str(i)} | row for i, row in enumerate(rows)], schema=SCORES)


IMPOSTOR: dict[str, Any] = {"label": 0, "kind": "impostor", "person_b": "b"}


def test_groups_are_genuine_impostor_and_each_generator_by_name() -> None:
    fakes = [{"label": 0, "kind": "deepfake", "generator": name} for name in ("roop", "ghost", None, "genuine")]
    pairs = read(table({}, IMPOSTOR, *fakes))
    assert pairs.generators == ("genuine", "ghost", "roop", "unknown")  # a generator may be called anything
    np.testing.assert_array_equal(pairs.group, [0, 1, 4, 3, 5, 2])
    np.testing.assert_array_equal(pairs.kind, [0, 1, 2, 2, 2, 2])
    assert pairs.of(2, 3).size == 2


def test_a_missing_kind_is_told_from_label_and_generator() -> None:
    rows = [{"kind": None}, {"kind": None, "label": 0}, {"kind": None, "label": 0, "generator": "ghost"}]
    pairs = read(table(*rows))
    np.testing.assert_array_equal(pairs.group, [0, 1, 2])
    assert pairs.notes == ("1 negative pairs name neither kind nor generator and count as impostors.",)


def test_failed_and_unlabelled_pairs_are_counted_apart() -> None:
    failed = {"status": "no_face", "similarity": None}
    rows = [{}, IMPOSTOR, failed, IMPOSTOR | failed, failed | {"label": None, "kind": None}]
    rows += [{"status": "corrupt", "similarity": None}, {"label": None, "kind": None}]
    pairs = read(table(*rows))
    assert pairs.similarity.size == 2
    assert pairs.failures.pairs == 7
    assert pairs.failures.failed == 4
    assert pairs.failures.unlabelled == 1
    assert list(pairs.failures.by_status.items()) == [("no_face", 3), ("corrupt", 1)]
    assert pairs.failures.by_kind == {"genuine": 2, "impostor": 1, "deepfake": 0}


def test_persons_are_numbered_across_both_columns() -> None:
    pairs = read(table({}, IMPOSTOR, {"person_a": "b", "person_b": "b"}))
    assert pairs.persons is not None
    assert pairs.persons.count == 2
    np.testing.assert_array_equal(pairs.persons.first, [0, 0, 1])
    np.testing.assert_array_equal(pairs.persons.second, [0, 1, 1])


def test_tables_of_several_chunks_read_the_same() -> None:
    rows = [{}, IMPOSTOR, {"label": 0, "kind": "deepfake", "generator": "ghost"}, {"person_a": "c", "person_b": "c"}]
    whole = table(*rows)
    parts = read(pa.concat_tables([whole.slice(0, 1), whole.slice(1)]))
    together = read(whole)
    np.testing.assert_array_equal(parts.group, together.group)
    assert parts.persons is not None
    assert together.persons is not None
    np.testing.assert_array_equal(parts.persons.second, together.persons.second)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [([{}, {"person_b": None}], "1 pairs do not name both persons"), ([{}, {}], "all pairs are of one person")],
)
def test_without_persons_it_says_why(rows: list[dict[str, Any]], reason: str) -> None:
    pairs = read(table(*rows))
    assert pairs.persons is None
    assert pairs.no_persons == reason


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"kind": "morph"}, "kind is none of genuine, impostor, deepfake in 1 rows, first in pair '1'"),
        ({"label": 2}, "label is neither 0 nor 1"),
        ({"label": -1, "kind": None}, "label is neither 0 nor 1"),
        ({"label": 0}, "contradict each other"),
        ({"label": 1, "kind": "deepfake"}, "contradict each other"),
        ({"similarity": None}, "similarity is no finite number"),
        ({"similarity": float("nan")}, "similarity is no finite number"),
    ],
)
def test_rows_that_make_no_sense_are_refused_by_name(row: dict[str, Any], fault: str) -> None:
    with pytest.raises(UserError, match=fault):
        read(table({}, row))


def test_a_table_without_usable_pairs_or_columns_is_refused() -> None:
    with pytest.raises(UserError, match="None of the 1 pairs"):
        read(table({"label": None}))
    with pytest.raises(UserError, match="column 'label' is missing"):
        read(table({}).drop_columns(["label"]))
