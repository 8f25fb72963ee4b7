"""Shards: the same rows in the same order, cut exactly."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceverify.shards import PER_FILE, read_column, read_shard, rebatched, write_shards
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
