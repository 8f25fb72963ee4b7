"""The rows of a scores table of any size, in memory or in files: all in order, some at a time, or a few by number."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from faceverify.inputs import BUFFER, read_schema, stream_table
from faceverify.storage import Location

BATCH = 1 << 19


class ScoreRows:
    """A scores table; its rows are numbered from 0.

    Args:
        source: the table itself, or its Parquet files in order.
    """

    def __init__(self, source: pa.Table | Sequence[Location]) -> None:
        self._source = source
        self.schema: pa.Schema = source.schema if isinstance(source, pa.Table) else read_schema(source[0])

    def batches(self, columns: Iterable[str], rows: int = BATCH) -> Iterator[pa.Table]:
        """All rows in order, at most `rows` at a time, with those of `columns` that there are.

        Raises:
            UserError: a file is damaged, or holds text that is not UTF-8.
        """
        names = [name for name in columns if name in self.schema.names]
        if isinstance(self._source, pa.Table):
            table = self._source.select(names)
            for start in range(0, table.num_rows, rows):
                yield table.slice(start, rows)
        else:
            yield from stream_table(list(self._source), names, rows)

    def take(self, numbers: Iterable[int], columns: Sequence[str]) -> dict[int, dict[str, Any]]:
        """A few rows by their numbers, which must exist. Only the row groups that hold them are read."""
        wanted = sorted(set(numbers))
        if isinstance(self._source, pa.Table):
            rows = self._source.select(columns).take(pa.array(wanted, pa.int64())).to_pylist()
            return dict(zip(wanted, rows, strict=True))
        found: dict[int, dict[str, Any]] = {}
        start = 0
        for file in self._source if wanted else ():
            with file.open_input() as stream:
                parquet = pq.ParquetFile(stream, buffer_size=BUFFER, pre_buffer=False)
                for group in range(parquet.num_row_groups):
                    end = start + parquet.metadata.row_group(group).num_rows
                    if some := wanted[bisect_left(wanted, start) : bisect_left(wanted, end)]:
                        found |= _rows_of_group(parquet, group, start, some, columns)
                    start = end
        return found


def _rows_of_group(
    parquet: pq.ParquetFile, group: int, start: int, wanted: list[int], columns: Sequence[str]
) -> dict[int, dict[str, Any]]:
    """Rows `wanted` of one row group, whose first row has the number `start`."""
    found: dict[int, dict[str, Any]] = {}
    for batch in parquet.iter_batches(1 << 16, row_groups=[group], columns=list(columns)):
        some = wanted[bisect_left(wanted, start) : bisect_left(wanted, start + batch.num_rows)]
        places = pa.array([number - start for number in some], pa.int64())
        found |= zip(some, batch.take(places).to_pylist(), strict=True)
        start += batch.num_rows
        if len(found) == len(wanted):
            break
    return found
