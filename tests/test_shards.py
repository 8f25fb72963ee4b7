"""Shards: the same rows in the same order, cut exactly."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceverify import shards
from faceverify.shards import PER_FILE, TableShards, read_column, read_shard, rebatched, write_shards
from faceverify.storage import Location


@given(sizes=st.lists(st.integers(0, 30), max_size=12), rows=st.integers(1, 40))
def test_rebatching_keeps_rows_and_order(sizes: list[int], rows: int) -> None:
    numbers = iter(range(sum(sizes)))
    pieces = [pa.table({"n": pa.array([next(numbers) for _ in range(size)], pa.int64())}) for size in sizes]
    got = list(rebatched(pieces, rows))
    assert [v for piece in got for v in piece["n"].to_pylist()] == list(range(sum(sizes)))
    assert all(piece.num_rows == rows for piece in got[:-1])
    assert all(0 < piece.num_rows <= rows for piece in got)


@settings(max_examples=10)
@given(total=st.integers(0, 5 * PER_FILE), rows=st.integers(1, 3))
def test_every_shard_reads_back(total: int, rows: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = Location(str(tmp_path_factory.mktemp("shards")))
    table = pa.table({"n": list(range(total)), "s": [f"row {i}" for i in range(total)]}, schema=SCHEMA)
    count = write_shards(folder, [table.slice(0, total // 3), table.slice(total // 3)], rows)
    assert count == -(-total // rows)
    got = [read_shard(folder, shard, ["s"]) for shard in range(count)]
    assert [v for piece in got for v in piece["n"].to_pylist()] == list(range(total))
    assert read_column(folder, "s").to_pylist() == table["s"].to_pylist()


SCHEMA = pa.schema([("n", pa.int64()), ("s", pa.string())])


def test_a_worker_can_read_any_shard_of_many_files(tmp_path: Path) -> None:
    folder = Location(str(tmp_path))
    write_shards(folder, [pa.table({"n": list(range(3 * PER_FILE + 1))})], 1)
    assert len(folder.files()) == 4
    assert read_shard(folder, 2 * PER_FILE + 5)["n"].to_pylist() == [2 * PER_FILE + 5]


@settings(max_examples=30)
@given(sizes=st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=3), rows=st.integers(1, 4))
def test_a_table_is_cut_where_it_lies(
    sizes: list[list[int]], rows: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, numbers = tmp_path_factory.mktemp("table"), iter(range(1000))
    for number, groups in enumerate(sizes):
        with pq.ParquetWriter(folder / f"{number}.parquet", SCHEMA.append(pa.field("more", pa.int64()))) as writer:
            for size in groups:
                some = [next(numbers) for _ in range(size)]
                writer.write_table(pa.table({"n": some, "s": [f"row {n}" for n in some], "more": some}, writer.schema))
    files = [Location(str(path)) for path in sorted(folder.iterdir())]
    table = TableShards.of(files, ["s", "absent", "n"], "s", rows)
    assert table is not None
    got = [table.read(shard) for shard in range(len(table))]
    assert [n for piece in got for n in piece["n"].to_pylist()] == list(range(table.rows)) == list(range(next(numbers)))
    assert all(0 < piece.num_rows <= rows and piece.column_names == ["s", "n"] for piece in got)


def test_a_table_whose_key_may_be_null_or_whose_row_groups_are_huge_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "table.parquet"
    pq.write_table(pa.table({"s": ["a", None]}), file)
    assert TableShards.of([Location(str(file))], ["s"], "s", 1) is None
    pq.write_table(pa.table({"s": ["a", "b"]}), file)
    assert TableShards.of([Location(str(file))], ["s"], "s", 1) is not None
    monkeypatch.setattr(shards, "MOST_GROUP_BYTES", 1)
    assert TableShards.of([Location(str(file))], ["s"], "s", 1) is None


def test_a_table_that_was_made_again_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "table.parquet"
    for name in ("a", "b"):
        pq.write_table(pa.table({"s": [name]}), file)
        os.utime(file, ns=(ord(name), ord(name)))
        table = TableShards.of([Location(str(file))], ["s"], "s", 1)
        assert table is not None and table.read(0)["s"].to_pylist() == [name]
