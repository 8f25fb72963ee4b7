"""Which rows of the scores table count, and how they are grouped."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from faceverify.errors import UserError
from faceverify.evaluation.score_rows import ScoreRows
from faceverify.evaluation.scored_pairs import Reading, ScoredPairs
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


@pytest.fixture
def read() -> Iterator[Callable[[pa.Table], ScoredPairs]]:
    """Reads a table; its pairs can be used until the test ends."""
    with ExitStack() as stack:
        yield lambda scores: stack.enter_context(Reading(ScoreRows(scores))).pairs()


def groups(pairs: ScoredPairs) -> list[int]:
    return np.concatenate([group for _, group in pairs.chunks()]).tolist()


def people(pairs: ScoredPairs) -> list[tuple[int, int]]:
    """Both persons of each pair, by the numbers that the bootstrap's draw knows them by."""
    assert pairs.persons is not None
    chunks = [np.stack([first, second], axis=1) for _, _, first, second in pairs.chunks_with_persons()]
    return [tuple(row) for row in pairs.persons.order[np.concatenate(chunks)].tolist()]


Read = Callable[[pa.Table], ScoredPairs]
IMPOSTOR: dict[str, Any] = {"label": 0, "kind": "impostor", "person_b": "b"}


def test_groups_are_genuine_impostor_and_each_generator_by_name(read: Read) -> None:
    fakes = [{"label": 0, "kind": "deepfake", "generator": name} for name in ("roop", "ghost", None, "genuine")]
    pairs = read(table({}, IMPOSTOR, *fakes))
    assert pairs.generators == ("genuine", "ghost", "roop", "unknown")  # a generator may be called anything
    assert groups(pairs) == [0, 1, 4, 3, 5, 2]
    assert pairs.counts.tolist() == [1, 1, 1, 1, 1, 1]
    assert [scores.tolist() for scores in pairs.sorted([2, 3], [0])] == [[0.5, 0.5], [0.5]]


def test_a_missing_kind_is_told_from_label_and_generator(read: Read) -> None:
    rows = [{"kind": None}, {"kind": None, "label": 0}, {"kind": None, "label": 0, "generator": "ghost"}]
    pairs = read(table(*rows))
    assert groups(pairs) == [0, 1, 2]
    assert pairs.notes == ("1 negative pairs name neither kind nor generator and count as impostors.",)


def test_failed_and_unlabelled_pairs_are_counted_apart(read: Read) -> None:
    failed = {"status": "no_face", "similarity": None}
    rows = [{}, IMPOSTOR, failed, IMPOSTOR | failed, failed | {"label": None, "kind": None}]
    rows += [{"status": "corrupt", "similarity": None}, {"label": None, "kind": None}]
    pairs = read(table(*rows))
    assert pairs.counts.sum() == 2
    assert pairs.failures.pairs == 7
    assert pairs.failures.failed == 4
    assert pairs.failures.unlabelled == 1
    assert list(pairs.failures.by_status.items()) == [("no_face", 3), ("corrupt", 1)]
    assert pairs.failures.by_kind == {"genuine": 2, "impostor": 1, "deepfake": 0}


def test_persons_are_numbered_as_if_the_first_column_was_read_before_the_second(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The random draw then knows them by the same numbers, whatever the size of the batches."""
    named = [("a", "z"), ("b", "b"), ("z", "a"), ("c", "y"), ("b", "x")]
    rows = [IMPOSTOR | {"person_a": one, "person_b": other} for one, other in named]
    want = {"a": 0, "b": 1, "z": 2, "c": 3, "y": 4, "x": 5}
    for size in (1, 2, 3, 100):
        monkeypatch.setattr(ScoreRows.batches, "__defaults__", (size,))
        pairs = read(table(*rows))
        assert people(pairs) == [(want[one], want[other]) for one, other in named], size
        assert pairs.persons is not None and pairs.persons.count == 6


def test_tables_of_several_chunks_read_the_same(read: Read) -> None:
    rows = [{}, IMPOSTOR, {"label": 0, "kind": "deepfake", "generator": "ghost"}, {"person_a": "c", "person_b": "c"}]
    whole = table(*rows)
    parts, together = read(pa.concat_tables([whole.slice(0, 1), whole.slice(1)])), read(whole)
    assert groups(parts) == groups(together) and people(parts) == people(together)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [([{}, {"person_b": None}], "1 pairs do not name both persons"), ([{}, {}], "all pairs are of one person")],
)
def test_without_persons_it_says_why(read: Read, rows: list[dict[str, Any]], reason: str) -> None:
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
def test_rows_that_make_no_sense_are_refused_by_name(read: Read, row: dict[str, Any], fault: str) -> None:
    with pytest.raises(UserError, match=fault):
        read(table({}, row))


def test_a_table_without_usable_pairs_or_columns_is_refused(read: Read) -> None:
    with pytest.raises(UserError, match="None of the 1 pairs"):
        read(table({"label": None}))
    with pytest.raises(UserError, match="column 'label' is missing"):
        read(table({}).drop_columns(["label"]))
