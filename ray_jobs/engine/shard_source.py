"""Rows of shards as Ray Data reads them: the first operator of every dataset of the jobs."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import ray
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

ReadRows = Callable[[int], pa.Table]


class ShardSource(Datasource):
    """Shards of a table, read by the workers.

    Args:
        read: gives the rows of a shard.
        shards: numbers.
        each: shards that one task reads.
        column: of the shard's number, which is added to the rows.
        name: of the operator, in Ray's statistics and dashboard.
    """

    def __init__(self, read: ReadRows, shards: Sequence[int], each: int, column: str, name: str) -> None:
        super().__init__()
        self._read, self._column, self._name = read, column, name
        self._parts = [shards[i : i + each] for i in range(0, len(shards), each)]

    def __len__(self) -> int:
        return len(self._parts)

    def get_name(self) -> str:
        """See `Datasource`."""
        return self._name

    def estimate_inmemory_data_size(self) -> int | None:
        """See `Datasource`; unknown."""
        return None

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        """See `Datasource`; the cut is given, whatever parallelism is asked for."""
        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        read = ray.put(self._read)  # once, and not with every task: it may hold much
        return [ReadTask(_Reader(read, some, self._column), unknown) for some in self._parts]


class _Reader:
    def __init__(self, read: ray.ObjectRef, shards: Sequence[int], column: str) -> None:
        self.read, self.shards, self.column = read, shards, column

    def __call__(self) -> Iterator[pa.Table]:
        read: ReadRows = ray.get(self.read)
        for shard in self.shards:
            rows = read(shard)
            yield rows.append_column(self.column, pa.repeat(shard, rows.num_rows))
