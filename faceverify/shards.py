"""A table cut into shards of a fixed number of rows, so that work on it can be divided, repeated and resumed.

Shard k is row group `k % PER_FILE` of file `k // PER_FILE`: a worker reads its own rows and nothing else, and a list of
100 million photos is some thousands of files.
"""

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

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
