"""Work on tables that is divided into units: which row groups a unit reads, and functions mapped over units.

What is mapped is written as plain functions of one unit. The caller decides who runs them: `LocalMapper` runs them in
this process; ray_jobs has another `UnitMapper` for the operators of Ray Data.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from faceverify.inputs import stream_table
from faceverify.storage import Location


@dataclass(frozen=True)
class RowGroups:
    """Consecutive row groups of one Parquet file.

    file: the file; number: of this unit among those of its table; first, stop: row groups; rows: in all of them.
    """

    file: Location
    number: int
    first: int
    stop: int
    rows: int

    def read(self, columns: list[str] | None = None, rows: int = 65_536) -> Iterator[pa.Table]:
        """Yield the rows in order, `rows` at a time at most; see `inputs.stream_table`.

        Raises:
            UserError: the file is damaged, or holds text that is not UTF-8.
        """
        return stream_table([self.file], columns, rows, range(self.first, self.stop))


def row_groups(files: Sequence[Location], rows: int) -> list[RowGroups]:
    """Divide a table by the footers of its files: units of at least `rows` rows, where the file has that many left."""
    units: list[RowGroups] = []
    for file in files:
        with file.open_input() as stream:
            facts = pq.read_metadata(stream)
        first, held = 0, 0
        for group in range(facts.num_row_groups):
            held += facts.row_group(group).num_rows
            if held >= rows or (held and group + 1 == facts.num_row_groups):
                units.append(RowGroups(file, len(units), first, group + 1, held))
                first, held = group + 1, 0
    return units


def table_rows(files: Sequence[Location]) -> int:
    """How many rows a table has, by the footers of its files."""
    return sum(unit.rows for unit in row_groups(files, 1 << 62))


class Blocks(Protocol):
    """Tables that a `UnitMapper` holds somewhere; may be mapped over, or shared with the work on other units."""

    @property
    def rows(self) -> int:
        """How many rows all tables have."""
        ...


class UnitMapper(Protocol):
    """Calls `work(*shared, unit)` for every unit; a unit is any small object, or a table where `units` are Blocks.

    `work` is a module-level function. It may be called again for the same unit, so what it writes must not depend on
    that. Of `shared`, Blocks reach `work` as a list of tables in order, other objects as they are.
    """

    def rows(
        self, work: Callable[..., pa.Table], units: Sequence[Any] | Blocks, shared: tuple[Any, ...], schema: pa.Schema
    ) -> pa.Table:
        """Return the rows of all small tables that `work` returns, in no particular order."""
        ...

    def blocks(
        self,
        work: Callable[..., pa.Table],
        units: Sequence[Any] | Blocks,
        shared: tuple[Any, ...] = (),
        sort_by: Sequence[str] = (),
        hold: bool = True,
    ) -> Blocks:
        """The tables that `work` returns, sorted by columns without nulls, or else in no particular order.

        With `hold` the work is done at once; without, when the blocks are mapped over, which may be done only once.
        """
        ...


@dataclass(frozen=True)
class LocalBlocks:
    """Tables in this process."""

    tables: list[pa.Table]

    @property
    def rows(self) -> int:
        """How many rows all tables have."""
        return sum(table.num_rows for table in self.tables)


class LocalMapper:
    """A `UnitMapper` that does the work in this process, one unit after the other."""

    def rows(
        self, work: Callable[..., pa.Table], units: Sequence[Any] | Blocks, shared: tuple[Any, ...], schema: pa.Schema
    ) -> pa.Table:
        """Call `work(*shared, unit)` for every unit, in order; the rows of all tables that it returns, together."""
        return pa.concat_tables([schema.empty_table(), *self._tables(work, units, shared)])

    def blocks(
        self,
        work: Callable[..., pa.Table],
        units: Sequence[Any] | Blocks,
        shared: tuple[Any, ...] = (),
        sort_by: Sequence[str] = (),
        hold: bool = True,
    ) -> LocalBlocks:
        """Call `work(*shared, unit)` for every unit, in order; the tables, joined and sorted if `sort_by` is given."""
        tables = list(self._tables(work, units, shared))
        if sort_by and tables:
            tables = [pa.concat_tables(tables).sort_by([(name, "ascending") for name in sort_by]).combine_chunks()]
        return LocalBlocks(tables)

    def _tables(
        self, work: Callable[..., pa.Table], units: Sequence[Any] | Blocks, shared: tuple[Any, ...]
    ) -> Iterator[pa.Table]:
        given = [one.tables if isinstance(one, LocalBlocks) else one for one in shared]
        for unit in units.tables if isinstance(units, LocalBlocks) else units:  # type: ignore[union-attr]
            yield work(*given, unit)
