"""A scores table in files is what it is in memory."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceverify.errors import UserError
from faceverify.evaluation.score_rows import ScoreRows
from faceverify.storage import open_location


def test_rows_come_in_order_or_by_number(tmp_path: Path) -> None:
    table = pa.table({"pair": [f"p{number}" for number in range(50)], "similarity": range(50)})
    for number, (start, end) in enumerate([(0, 20), (20, 20), (20, 50)]):
        pq.write_table(table[start:end], tmp_path / f"{number}.parquet", row_group_size=7)
    files = ScoreRows([open_location(str(tmp_path / f"{number}.parquet")) for number in range(3)])
    for rows in (files, ScoreRows(table)):
        assert rows.schema.names == ["pair", "similarity"]
        batches = list(rows.batches(["similarity", "no such column"], 15))
        assert max(batch.num_rows for batch in batches) <= 15
        assert [one for batch in batches for one in batch["similarity"].to_pylist()] == list(range(50))
        assert rows.take([49, 0, 20, 19, 20], ["pair"]) == {n: {"pair": f"p{n}"} for n in (0, 19, 20, 49)}
        assert rows.take([], ["pair"]) == {}


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "scores.parquet").write_bytes(b"PAR1 no table")
    with pytest.raises(UserError, match=r"scores\.parquet"):
        ScoreRows([open_location(str(tmp_path / "scores.parquet"))])
