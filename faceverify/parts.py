"""A *part*: the rows of one unit of work as one Parquet file, counted by who wrote it.

    <work>/<stage>/00000017.parquet            the rows of shard 17; its presence means that shard 17 is done
    <work>/<stage>.rejects/00000017.parquet    its rows that failed, if any did

A shard is a fixed slice of the input, so a part's name and content do not depend on who computed it or how often. Its
footer says how many of its rows are what (`PartFacts`): nobody reads rows to count them. `plan_files` says which parts
together make a published file of a good size, and `make_file` makes it, on whichever machine has time.
"""

import errno
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain

import pyarrow as pa
import pyarrow.parquet as pq

from faceverify import tables
from faceverify.storage import Location

EXAMPLES = 3  # names kept of each reason for which rows failed
# The fewest rows or bytes of a published file but the last: a table of millions of small files is slow
# to open.
FILE_ROWS, FILE_BYTES = 64_000, 128 << 20
GROUP_ROWS, GROUP_BYTES = 32_768, 64 << 20  # of a row group: what is held in memory while a file is made
REFUSED_FOR = "refused: "  # before the names of counts of what refused pairs, which stand beside those of statuses
NOT_JUDGED = "not judged: "  # the same before those of which photos of a pair were not judged
_KEY = b"faceverify"
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV)  # of file systems without hard links
_THREADS = 32  # of which each waits for an answer of S3


@dataclass
class PartFacts:
    """What a part's footer says of it.

    rows: how many; counts: of rejects by reason, of scores by status, of decisions by decision and by "decision:
    reason"; examples: of rejects, the first photos or pairs of each reason.
    """

    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, other: "PartFacts") -> None:
        """Add what another part's footer says."""
        self.rows += other.rows
        self.counts.update(other.counts)
        for reason, names in other.examples.items():
            self.examples[reason] = (self.examples.get(reason, []) + names)[:EXAMPLES]


def facts_of(rows: pa.Table) -> PartFacts:
    """Count a table, as `PartFacts` says; of a table of another kind only the rows."""
    facts = PartFacts(rows.num_rows)
    if _begins_with(rows, tables.REJECTS):
        facts.counts.update(_counted(rows, "reason"))
        for reason in facts.counts:
            some = rows.filter(pa.compute.equal(rows["reason"], reason)).slice(0, EXAMPLES)
            named = zip(some["photo"].to_pylist(), some["pair"].to_pylist(), strict=True)
            facts.examples[reason] = [photo if photo is not None else pair for photo, pair in named]
    elif _begins_with(rows, tables.DECISIONS):
        facts.counts.update(_counted(rows, "decision"))
        both = pa.compute.binary_join_element_wise(rows["decision"], rows["reason"], ": ")
        facts.counts.update(_counted(pa.table({"both": both}), "both"))
    elif "status" in rows.column_names:
        facts.counts.update(_counted(rows, "status"))
        for column, prefix in (("refused_for", REFUSED_FOR), ("not_judged", NOT_JUDGED)):
            if column in rows.column_names:
                found = _counted(rows.filter(rows[column].is_valid()), column)
                facts.counts.update({f"{prefix}{name}": count for name, count in found.items()})
    return facts


def _begins_with(rows: pa.Table, schema: pa.Schema) -> bool:
    return rows.column_names[: len(schema)] == schema.names


def _counted(rows: pa.Table, name: str) -> dict[str, int]:
    return {one["values"]: one["counts"] for one in rows[name].combine_chunks().value_counts().to_pylist()}


def part(work: Location, stage: str, shard: int) -> Location:
    """Where the rows of one shard go."""
    return work / stage / f"{shard:08d}.parquet"


def write_part(work: Location, stage: str, shard: int, rows: pa.Table, rejects: pa.Table | None = None) -> None:
    """Write one shard; the rows go last, because their presence says that the shard is done.

    Rejects of an earlier, interrupted attempt are replaced: a photo that can be read now must not be told both ways.
    """
    if rejects is not None:
        place = part(work, f"{stage}.rejects", shard)
        if rejects.num_rows:
            place.write_bytes(parquet_bytes(rejects))
        else:
            place.delete()
    part(work, stage, shard).write_bytes(parquet_bytes(rows))


def text_piece(work: Location, stage: str, shard: int) -> Location:
    """Where the rows of one shard go as text, if that is asked for: before its part, which says that it is done."""
    return work / f"{stage}.csv" / f"{shard:08d}.csv"


def read_part(location: Location) -> pa.Table:
    """The rows of one part."""
    with location.open_input() as stream:
        return pq.ParquetFile(stream).read()


def read_part_columns(location: Location, columns: Sequence[str]) -> pa.Table:
    """Some columns of one part."""
    with location.open_input() as stream:
        return pq.ParquetFile(stream).read(list(columns))


def read_facts(locations: Sequence[Location]) -> list[PartFacts]:
    """What the footers of parts say, in order; of parts in S3 many are asked at a time."""
    if len(locations) < 2 or locations[0].is_local:
        return [_read_facts(location) for location in locations]
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(_read_facts, locations))


def total(facts: Iterable[PartFacts]) -> PartFacts:
    """The sum."""
    together = PartFacts()
    for one in facts:
        together.add(one)
    return together


def _read_facts(location: Location) -> PartFacts:
    with location.open_input() as stream:
        footer = pq.ParquetFile(stream).metadata
    known = json.loads((footer.metadata or {}).get(_KEY, b"{}"))
    return PartFacts(footer.num_rows, Counter(known.get("counts", {})), known.get("examples", {}))


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as the bytes of one Parquet file, with its facts."""
    sink = pa.BufferOutputStream()
    with _writer(sink, table.schema) as writer:
        writer.write_table(table)
        _note(writer, facts_of(table))
    return sink.getvalue().to_pybytes()


@dataclass(frozen=True)
class NewFile:
    """A file of a published table that is to be made of parts."""

    target: Location
    parts: tuple[Location, ...]


def plan_files(parts: Sequence[tuple[Location, int, int]], folder: Location) -> list[NewFile]:
    """Which consecutive parts make a file each, so that all files but the last are of a good size.

    Args:
        parts: (place, rows, bytes) in order.
        folder: of the table.
    """
    groups: list[list[Location]] = []
    rows = size = FILE_ROWS
    for place, more_rows, more_bytes in parts:
        if rows >= FILE_ROWS or size >= FILE_BYTES:
            groups.append([])
            rows = size = 0
        groups[-1].append(place)
        rows, size = rows + more_rows, size + more_bytes
    return [NewFile(folder / file_name(number, len(groups)), tuple(group)) for number, group in enumerate(groups)]


def file_name(number: int, files: int) -> str:
    """The name of one file of a table: names in alphabetical order are files in order."""
    return f"part-{number:0{max(5, len(str(files - 1)))}d}.parquet"


def make_file(new: NewFile) -> None:
    """Make a file of parts; a single part becomes it as it is: linked, or in S3 copied where it lies."""
    if len(new.parts) > 1:
        write_file(new.target, (piece for place in new.parts for piece in _pieces(place)))
    elif new.target.is_local:
        new.target.make_parent()
        try:
            os.link(new.parts[0].path, new.target.path)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            shutil.copyfile(new.parts[0].path, new.target.path)
    else:
        new.target.fs.copy_file(new.parts[0].path, new.target.path)


def make_files(files: Sequence[NewFile]) -> None:
    """Make several in this process; in S3 many at a time."""
    if len(files) < 2 or files[0].target.is_local:
        for new in files:
            make_file(new)
    else:
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(make_file, files))


def _pieces(place: Location) -> Iterator[pa.Table]:
    with place.open_input() as stream:
        file = pq.ParquetFile(stream)
        yield file.schema_arrow.empty_table()  # where there are no rows at all, the columns are known
        yield from map(pa.Table.from_batches, ([batch] for batch in file.iter_batches(GROUP_ROWS)))


def write_file(target: Location, pieces: Iterator[pa.Table]) -> int:
    """Write tables of one schema, at least one, as one Parquet file with its facts; returns the number of rows.

    Row groups have at least GROUP_ROWS rows or GROUP_BYTES bytes, and no more than one of them is held in memory.
    """
    first = next(pieces)
    facts = PartFacts()
    held: list[pa.Table] = []
    held_rows = held_bytes = 0
    with target.open_output() as stream, _writer(stream, first.schema) as writer:
        for piece in chain([first], pieces):
            if held_rows >= GROUP_ROWS or held_bytes >= GROUP_BYTES:
                writer.write_table(pa.concat_tables(held))
                held, held_rows, held_bytes = [], 0, 0
            facts.add(facts_of(piece))
            held.append(piece)
            held_rows, held_bytes = held_rows + piece.num_rows, held_bytes + piece.nbytes
        writer.write_table(pa.concat_tables(held))
        _note(writer, facts)
    return facts.rows


def _writer(stream: pa.NativeFile, schema: pa.Schema) -> pq.ParquetWriter:
    """Columns that are dictionary-encoded in memory come back as what they encode: no Arrow schema is kept then."""
    encoded = any(pa.types.is_dictionary(column.type) for column in schema)
    return pq.ParquetWriter(stream, schema, store_schema=not encoded, **tables.parquet_options(schema))


def _note(writer: pq.ParquetWriter, facts: PartFacts) -> None:
    writer.add_key_value_metadata({_KEY: json.dumps({"counts": facts.counts, "examples": facts.examples}).encode()})
