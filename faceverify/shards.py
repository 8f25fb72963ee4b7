"""A table cut into shards of a fixed number of rows, so that work on it can be divided, repeated and resumed.

Shard k is row group `k % PER_FILE` of file `k // PER_FILE`: a worker reads its own rows and nothing else, and a list of
100 million photos is some thousands of files.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa
import pyarrow.parquet as pq

from faceverify.inputs import stream_table
from faceverify.storage import Location
from faceverify.tables import parquet_options

PER_FILE = 64


def write_shards(folder: Location, pieces: Iterable[pa.Table], shard_rows: int) -> int:
    """Write a stream of tables of one schema as shards; returns how many. Memory holds one shard."""
    writer: pq.ParquetWriter | None = None
    count = 0
    for shard in rebatched(pieces, shard_rows):
        if count % PER_FILE == 0:
            if writer:
                writer.close()
            location = _file(folder, count)
            location.make_parent()
            options = parquet_options(shard.schema)
            writer = pq.ParquetWriter(location.path, shard.schema, filesystem=location.fs, **options)
        assert writer is not None
        writer.write_table(shard, row_group_size=shard.num_rows)
        count += 1
    if writer:
        writer.close()
    return count


def read_shard(folder: Location, shard: int, dictionaries: Iterable[str] = ()) -> pa.Table:
    """The rows of one shard; the columns named in `dictionaries` stay dictionary-encoded."""
    with _file(folder, shard).open_input() as stream:
        return pq.ParquetFile(stream, read_dictionary=list(dictionaries)).read_row_group(shard % PER_FILE)


def read_column(folder: Location, name: str) -> pa.ChunkedArray:
    """One column of all shards, in order."""
    chunks = []
    for entry in folder.files(recursive=False):
        with (folder / entry.path).open_input() as stream:
            chunks.append(pq.ParquetFile(stream).read([name])[name])
    return (
        pa.chunked_array([c for column in chunks for c in column.chunks])
        if chunks
        else pa.chunked_array([], pa.string())
    )


def rebatched(pieces: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in the same order, in tables of exactly `rows` rows (the last may be shorter, none is empty)."""
    held: list[pa.Table] = []
    held_rows = 0
    for piece in pieces:
        held.append(piece)
        held_rows += piece.num_rows
        while held_rows >= rows:
            joined = pa.concat_tables(held)
            yield joined.slice(0, rows).combine_chunks()
            held, held_rows = [joined.slice(rows)], held_rows - rows
    if held_rows:
        yield pa.concat_tables(held).combine_chunks()


def _file(folder: Location, shard: int) -> Location:
    return folder / f"{shard // PER_FILE:06d}.parquet"


MOST_GROUP_BYTES = 256 << 20  # of a row group, in memory: a worker reads all of it for each task


@dataclass(frozen=True)
class TableShards:
    """A table cut into shards where it lies: shard by shard a slice of a row group, so that nothing is written again.

    groups: (file, row group, its rows, number of its first shard); the last shard of a row group may be shorter.
    """

    files: tuple[Location, ...]
    versions: tuple[tuple[int, int], ...]  # size and time of change of each file: another one is not taken from memory
    columns: tuple[str, ...]
    shard_rows: int
    groups: tuple[tuple[int, int, int, int], ...]

    @classmethod
    def of(cls, files: Sequence[Location], columns: Sequence[str], key: str, shard_rows: int) -> "TableShards | None":
        """Cut a table by the footers of its files.

        Args:
            files: of the table.
            columns: to be read; those that are missing are left out.
            key: the column that is null in no row.
            shard_rows: rows of a shard.

        Returns:
            None if that does not do: the key may be null somewhere, or row groups are very large.
        """
        groups, first = list[tuple[int, int, int, int]](), 0
        for number, file in enumerate(files):
            with file.open_input() as stream:
                footer = pq.read_metadata(stream)
            wanted = [i for i in range(footer.num_columns) if footer.schema.column(i).path.split(".")[0] in columns]
            at = footer.schema.names.index(key)
            for group in range(footer.num_row_groups):
                facts = footer.row_group(group)
                if not facts.num_rows:
                    continue
                known = facts.column(at).statistics
                size = sum(facts.column(i).total_uncompressed_size for i in wanted)
                if known is None or known.null_count is None or known.null_count or size > MOST_GROUP_BYTES:
                    return None
                groups.append((number, group, facts.num_rows, first))
                first += -(-facts.num_rows // shard_rows)
        entries = [file.stat() for file in files]
        versions = tuple((entry.size, entry.mtime_ns) for entry in entries)
        return cls(tuple(files), versions, tuple(columns), shard_rows, tuple(groups))

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return sum(rows for _, _, rows, _ in self.groups)

    def __len__(self) -> int:
        """How many shards there are."""
        return sum(-(-rows // self.shard_rows) for _, _, rows, _ in self.groups)

    def read(self, shard: int) -> pa.Table:
        """The rows of one shard.

        Raises:
            UserError: the file is damaged, or holds text that is not UTF-8.
        """
        at = bisect_right(self.groups, shard, key=lambda group: group[3]) - 1
        file, group, _, first = self.groups[at]
        rows = _group(self.files[file], self.versions[file], group, self.columns)
        return rows.slice((shard - first) * self.shard_rows, self.shard_rows)


@lru_cache(maxsize=1)
def _group(file: Location, _: tuple[int, int], group: int, columns: tuple[str, ...]) -> pa.Table:
    """A row group; a task asks for its shards one after another."""
    pieces = list(stream_table([file], list(columns), groups=[group]))
    return pa.concat_tables(pieces)
