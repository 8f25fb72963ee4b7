"""A list of pairs divided into units that can be read by themselves, so that several processes read one list.

A list in Parquet is divided at its row groups, a large CSV at ends of lines. For that it must be plain: UTF-8, not
packed, and without quotes, so that an end of line is always one; where workers find another one, it is read as a whole.
Every other list is a single unit.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faceverify.datasets import PairListConfig
from faceverify.datasets.pair_columns import PairSource, normalise
from faceverify.datasets.pair_lists import (
    columns_of,
    csv_pieces,
    format_of,
    open_pairs,
    parquet_parts,
    parquet_pieces,
    source_of,
)
from faceverify.datasets.text_lists import PIECE, open_list
from faceverify.inputs import read_schema
from faceverify.storage import Location
from faceverify.units import UnitMapper, row_groups

UNIT_BYTES = 64 << 20  # of a CSV
UNIT_ROWS = 1 << 20  # of a list in Parquet: the fewest rows, where row groups are smaller


class PairUnit(Protocol):
    """Consecutive pairs of a list."""

    @property
    def number(self) -> int:
        """Of the unit, from 0."""
        ...

    def pieces(self) -> Iterator[pa.RecordBatch]:
        """The pairs in order, as `pair_lists.open_pairs` gives them.

        Raises:
            UserError: as there.
        """
        ...


@dataclass(frozen=True)
class WholeList:
    """All of a list; arguments as of `open_pairs`."""

    location: Location
    config: PairListConfig
    root: Location | None
    number: int = 0

    def pieces(self) -> Iterator[pa.RecordBatch]:
        """See `PairUnit`."""
        return open_pairs(self.location, self.config, self.root)


@dataclass(frozen=True)
class GroupsOfList:
    """Row groups of one Parquet file.

    number: of the unit; file: the file; first, stop: row groups; first_row: number of their first row in the list;
    source: see `normalise`.
    """

    number: int
    file: Location
    first: int
    stop: int
    first_row: int
    source: PairSource

    def pieces(self) -> Iterator[pa.RecordBatch]:
        """See `PairUnit`; what pyarrow raises is not turned into sentences."""
        row = self.first_row
        with self.file.open_input() as stream, pq.ParquetFile(stream) as file:
            for piece in parquet_pieces(file, range(self.first, self.stop)):
                yield normalise(piece, row, self.source)
                row += len(piece)


@dataclass(frozen=True)
class LinesOfCsv:
    """The lines of a plain CSV that begin in a range of its bytes.

    number: of the unit; file: the file; header: its first line; start, stop: bytes; delimiter, named: see
    `pair_lists.columns_of`; source: see `normalise`; first_row: number of the first of its rows in the list; rows: how
    many it has. These two are not known before the lines are counted.
    """

    number: int
    file: Location
    header: bytes
    start: int
    stop: int
    delimiter: str
    named: list[str]
    source: PairSource
    first_row: int = 0
    rows: int = 0

    def pieces(self) -> Iterator[pa.RecordBatch]:
        """See `PairUnit`; what pyarrow raises is not turned into sentences.

        Raises:
            ArrowInvalid: it has other rows than were counted.
        """
        row = self.first_row
        for piece in csv_pieces(pa.BufferReader(self.header + self.text()), self.delimiter, self.named):
            yield normalise(piece, row, self.source)
            row += len(piece)
        if row != self.first_row + self.rows:
            raise pa.ArrowInvalid(f"{row - self.first_row} rows where {self.rows} were counted")

    def text(self) -> bytes:
        """The lines."""
        with self.file.open_input() as stream:
            size = stream.size()
            begin, end = (
                _line_begin(stream, at, size) if at > len(self.header) else at for at in (self.start, self.stop)
            )
            stream.seek(begin)
            return stream.read(max(0, end - begin))


def _line_begin(stream: pa.NativeFile, at: int, size: int) -> int:
    """Where the first line begins that does not begin before `at`."""
    at -= 1
    stream.seek(at)
    while piece := stream.read(PIECE):
        if (found := piece.find(b"\n")) >= 0:
            return at + found + 1
        at += len(piece)
    return size


_COUNTED = pa.schema([("number", pa.int64()), ("rows", pa.int64())])


def _count_lines(unit: LinesOfCsv) -> pa.Table:
    """How many rows a unit has; -1 if its lines may not be what they seem."""
    text = unit.text().replace(b"\r\n", b"\n")
    rows = -1
    if b'"' not in text and b"\r" not in text and _is_utf8(text):
        ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))
        lengths = np.diff(ends, prepend=-1, append=len(text)) - 1
        rows = int(np.count_nonzero(lengths))  # the reader passes over empty lines
    return pa.table([[unit.number], [rows]], schema=_COUNTED)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


@dataclass(frozen=True)
class PairList:
    """A list and its units, in order.

    whole: the list as one unit, which says the most of a mistake in it.
    """

    whole: PairUnit
    units: list[PairUnit]

    def counted(self, mapper: UnitMapper) -> "PairList":
        """The list whose units know the numbers of their rows."""
        lines = [unit for unit in self.units if isinstance(unit, LinesOfCsv)]
        if not lines:
            return self
        found = mapper.rows(_count_lines, lines, (), _COUNTED).sort_by("number")["rows"].to_pylist()
        if min(found) < 0:
            return PairList(self.whole, [self.whole])
        first = np.cumsum([0, *found]).tolist()
        units = zip(lines, first, found, strict=False)
        return PairList(self.whole, [replace(unit, first_row=row, rows=rows) for unit, row, rows in units])


def divide(location: Location, config: PairListConfig, root: Location | None = None) -> PairList:
    """Divide a list; arguments as of `open_pairs`.

    Raises:
        UserError: it cannot be read.
    """
    whole = WholeList(location, config, root)
    units: list[PairUnit] = []
    if not config.split:
        source, kind = source_of(location, config, root), format_of(location, config)
        if kind == "parquet":
            units = _groups(location, source)
        elif kind == "csv" and location.is_file() and location.stat().size > UNIT_BYTES:
            units = _lines(location, config, source)
    return PairList(whole, units if len(units) > 1 else [whole])


def _lines(location: Location, config: PairListConfig, source: PairSource) -> list[PairUnit]:
    """Units of a CSV; none if it is not plain as far as its beginning shows."""
    with open_list(location, "pairs") as text:
        delimiter, named = columns_of(text, location, config)
        skipped, said = text.skipped, text.header
    with location.open_input() as stream:
        header, size = stream.read(PIECE).partition(b"\n")[0] + b"\n", stream.size()
    if skipped or b'"' in header or header.rstrip(b"\r\n") != said.encode():
        return []  # lines before the header, a byte order mark, another encoding, packed
    starts = [len(header), *range(UNIT_BYTES, size, UNIT_BYTES)]
    ranges = zip(starts, [*starts[1:], size], strict=True)
    return [
        LinesOfCsv(number, location, header, start, stop, delimiter, named, source)
        for number, (start, stop) in enumerate(ranges)
    ]


def _groups(location: Location, source: PairSource) -> list[PairUnit]:
    """Units of Parquet files; none if their columns differ, about which the reader of the whole list has a sentence."""
    files = parquet_parts(location)
    schemas = [read_schema(file).remove_metadata() for file in files]
    if any(not schema.equals(schemas[0]) for schema in schemas):
        return []
    units: list[PairUnit] = []
    row = 0
    for groups in row_groups(files, UNIT_ROWS):
        units.append(GroupsOfList(groups.number, groups.file, groups.first, groups.stop, row, source))
        row += groups.rows
    return units
