"""Columns of every type that Parquet holds, on their way from the list of pairs to the scores and their CSV."""

import csv
import datetime
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceverify import tables
from faceverify.datasets import PairListConfig
from faceverify.datasets.pair_lists import open_pairs
from faceverify.datasets.pair_units import divide
from faceverify.errors import UserError
from faceverify.run_folder import RunFolder
from faceverify.scoring.csv_output import CsvConfig, left_out, write_csv
from faceverify.scoring.numbering import Numbering, read_pairs_shard
from faceverify.scoring.plan import check_pairs, make_plan
from faceverify.scoring.similarity import PairDecision, PhotoFacts, score_rows
from faceverify.storage import Location, open_location
from faceverify.units import LocalMapper

NOON = datetime.datetime(2026, 5, 4, 12)
# Name -> the column, and what a CSV says of its first value; None where it leaves the column out.
ODD: dict[str, tuple[pa.Array, str | None]] = {
    "list": (pa.array([[1, 2], None]), None),
    "large list": (pa.array([[1], []], pa.large_list(pa.int8())), None),
    "fixed list": (pa.array([[1, 2], None], pa.list_(pa.float32(), 2)), None),
    "list view": (pa.array([[1], None], pa.list_view(pa.int8())), None),
    "struct": (pa.array([{"x": 1}, None]), None),
    "map": (pa.array([[("x", 1)], None], pa.map_(pa.string(), pa.int8())), None),
    "binary": (pa.array([b"\xff\n,", None]), None),
    "large binary": (pa.array([b"\xff", None], pa.large_binary()), None),
    "fixed binary": (pa.array([b"\xff\xfe", None], pa.binary(2)), None),
    "uuid": (pa.array([b"\xff" * 16, None], pa.uuid()), None),
    "json": (pa.array(["{}", None], pa.json_()), "{}"),
    "dictionary": (pa.array(["x", "y"]).dictionary_encode(), "x"),
    "dictionary of numbers": (pa.array([7, 8]).dictionary_encode(), "7"),
    "large string": (pa.array(["x", None], pa.large_string()), "x"),
    "string view": (pa.array(["x", None], pa.string_view()), "x"),
    "decimal": (pa.array([decimal.Decimal("1.50"), None]), "1.50"),
    "time": (pa.array([NOON.time(), None], pa.time64("us")), "12:00:00.000000"),
    "date": (pa.array([NOON.date(), None]), "2026-05-04"),
    "moment": (pa.array([NOON, None], pa.timestamp("ms")), "2026-05-04 12:00:00.000"),
    "moment somewhere": (pa.array([NOON, None], pa.timestamp("ms", "UTC")), "2026-05-04 12:00:00.000Z"),
    "moment nowhere": (pa.array([NOON, None], pa.timestamp("ms", "Mars/Base")), None),
    "duration": (pa.array([datetime.timedelta(seconds=3), None], pa.duration("s")), "3"),
    "half": (pa.array([np.float16(0.5), None], pa.float16()), "0.5"),
    "null": (pa.nulls(2), ""),
    "boolean": (pa.array([True, None]), "true"),
    "": (pa.array([1, 2]), "1"),
    "a.b": (pa.array([1, 2]), "1"),
}


def list_of(folder: Path, columns: dict[str, pa.Array]) -> Location:
    named: dict[str, Any] = {"photo_a": ["x", "y"], "photo_b": ["y", "z"]}
    pq.write_table(pa.table(named | columns), folder / "pairs.parquet")
    return Location(str(folder / "pairs.parquet"))


def pieces(place: Location) -> list[pa.Table]:
    return [pa.Table.from_batches([piece]) for piece in open_pairs(place)]


def scored(folder: Path, place: Location) -> pa.Table:
    """The scores as a job publishes them: planned, scored and published."""
    run = RunFolder(open_location(str(folder / "out")), {}, ("scores",))
    plan = make_plan(divide(place, PairListConfig()), None, [], None, run.work, 100, 100, LocalMapper())
    planned = read_pairs_shard(run.work, plan.shards_of_units, 0)
    numbers = Numbering.read(run.work / "numbers").of(planned)
    units, facts = np.eye(3, dtype=np.float32), PhotoFacts(np.zeros(3, np.uint8))
    rows = score_rows(planned.drop_columns(["a", "b"]), numbers, units.__getitem__, facts, PairDecision())
    run.publish("scores", [rows], rows.schema)
    return rows


@pytest.mark.parametrize("name", ODD)
def test_a_column_of_any_type_travels_along(tmp_path: Path, name: str) -> None:
    column, said = ODD[name]
    place = list_of(tmp_path, {name: column})
    assert check_pairs(pieces(place), CsvConfig()) == ([] if said is not None else [name])
    rows = scored(tmp_path, place)
    stored, want = pq.read_table(tmp_path / "out" / "scores")[name], pq.read_table(place.path)[name]
    assert stored.type == want.type or isinstance(want.type, pa.DictionaryType)
    if name != "moment nowhere":
        assert stored.to_pylist() == want.to_pylist()
    write_csv(Location(str(tmp_path / "scores.csv")), [rows], CsvConfig(), rows.schema)
    with open(tmp_path / "scores.csv", newline="", encoding="utf-8") as stream:
        header, first, _ = list(csv.reader(stream))
    if said is None:
        assert name not in header and left_out(CsvConfig(), rows.schema) == [name]
    else:
        assert first[header.index(name)] == said


def test_what_a_csv_cannot_hold_is_refused_where_it_is_asked_for(tmp_path: Path) -> None:
    place = list_of(tmp_path, {"box": pa.array([[1], [2]])})
    with pytest.raises(UserError, match=r"csv\.columns: the column 'box' is list<.*>, which a CSV cannot hold"):
        check_pairs(pieces(place), CsvConfig(columns=("pair", "box")))
    assert check_pairs(pieces(place), CsvConfig(columns=("pair",))) == []
    assert check_pairs(pieces(place), CsvConfig(preset="challenge")) == []
    assert check_pairs(pieces(place), CsvConfig(preset="none")) == []


@pytest.mark.parametrize("name", ["fault", "similarity", "accepted", "status", "a", "b"])
def test_a_name_that_scoring_needs_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"has the column {name}, which scoring adds; rename or drop it"):
        check_pairs(pieces(list_of(tmp_path, {name: pa.array([1, 2])})), CsvConfig())


@pytest.mark.parametrize("name", ["row", "photo", "uri", "embedding", "norm"])
def test_a_name_of_other_tables_is_none_of_scorings(tmp_path: Path, name: str) -> None:
    scored(tmp_path, list_of(tmp_path, {name: pa.array([1, 2])}))
    assert pq.read_table(tmp_path / "out" / "scores")[name].to_pylist() == [1, 2]


def test_a_column_twice_is_refused(tmp_path: Path) -> None:
    text = pa.array(["x"])
    pq.write_table(pa.Table.from_arrays([text] * 4, ["photo_a", "photo_b", "n", "n"]), tmp_path / "pairs.parquet")
    with pytest.raises(UserError, match="has a column twice among photo_a, photo_b, n, n"):
        pieces(Location(str(tmp_path / "pairs.parquet")))


@pytest.mark.parametrize(
    ("columns", "label"),
    [
        ({"label": pa.array([1, 0], pa.uint64()).dictionary_encode()}, [1, 0]),
        ({"label": pa.array([decimal.Decimal("1.0"), None])}, [1, None]),
        ({"label": pa.array(["1", "0"], pa.string_view())}, [1, 0]),
        ({"label": pa.array(["1", "0"]).dictionary_encode()}, [1, 0]),
        ({"label": pa.nulls(2)}, [None, None]),
        ({"label": pa.array([1, 0], pa.bool8())}, [1, 0]),
        ({"photo_a": pa.array(["x", "y"]).dictionary_encode(), "photo_b": pa.array([b"y", b"z"])}, [None, None]),
        ({"photo_a": pa.array(["x", None], pa.large_string()), "kind": pa.nulls(2)}, [None, None]),
        ({"pair": pa.array([7, 8]).dictionary_encode(), "person_a": pa.array([1, 2])}, [None, None]),
    ],
)
def test_columns_that_scoring_reads_may_be_stored_in_many_ways(
    tmp_path: Path, columns: dict[str, pa.Array], label: list[int | None]
) -> None:
    (piece,) = pieces(list_of(tmp_path, columns))
    assert piece["label"].to_pylist() == label
    assert piece.schema.field("photo_a").equals(tables.PAIRS.field("photo_a"))


@pytest.mark.parametrize("name", tables.PAIRS.names)
def test_a_column_that_is_no_text_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=rf"has the column {name} of the type list<.*>, which cannot be read as text"):
        pieces(list_of(tmp_path, {name: pa.array([["x"], ["y"]])}))


def test_text_that_is_no_text_is_refused(tmp_path: Path) -> None:
    broken = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"\xffa"))
    for name in ("photo_a", "note"):
        with pytest.raises(UserError, match=r"cannot be read after 0 rows \(.*UTF8"):
            pieces(list_of(tmp_path, {name: broken}))
    with pytest.raises(UserError, match=r"cannot be read after 0 rows \(.*UTF8"):
        pieces(list_of(tmp_path, {"photo_a": pa.array([b"\xff", b"a"])}))
