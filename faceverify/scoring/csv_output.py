"""`scores.csv`: the columns asked for, in the order of the input."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from faceverify.errors import UserError
from faceverify.spreadsheet import escaped, escaped_cell
from faceverify.storage import Location


@dataclass(frozen=True, kw_only=True, slots=True)
class CsvConfig:
    """What `scores.csv` holds."""

    preset: Literal["all", "challenge", "none"] = "all"
    """all = every column of the scores that a CSV can hold; challenge = pair_id,similarity; none = write no CSV."""
    columns: tuple[str, ...] = ()
    """Columns to write instead of the preset's; `name=header` renames one, e.g. pair=pair_id."""
    fill: float | None = None
    """Similarity to write for pairs that could not be scored, for leaderboards that take no blanks;
    none = leave blank."""
    escape: bool = False
    """Put ' before texts that a spreadsheet would run as a formula (file names that begin with =, +, - or @); for
    people. Programs read names as they are, so it is off."""

    @property
    def wanted(self) -> bool:
        """Whether the file is written at all."""
        return self.preset != "none" or bool(self.columns)


CHALLENGE = ("pair=pair_id", "similarity")


def chosen_columns(config: CsvConfig, schema: pa.Schema) -> dict[str, str]:
    """Column name -> header. Of the preset `all`, columns that a CSV cannot hold (`left_out`) are not among them.

    Raises:
        UserError: a column is asked for that the scores do not have, or that a CSV cannot hold.
    """
    if not config.columns and config.preset != "challenge":
        # Whatever they are called, an = in it included; not what is the same in every row, nor what has no text.
        return {f.name: f.name for f in schema if f.name != "scored_with" and csv_type(f.type) is not None}
    asked = config.columns or CHALLENGE
    chosen = dict((column.partition("=")[0], column.partition("=")[2] or column) for column in asked)
    for name in chosen:
        if name not in schema.names:
            raise UserError(f"csv.columns: the scores have no column '{name}'; they have {', '.join(schema.names)}.")
        if csv_type(schema.field(name).type) is None:
            raise UserError(
                f"csv.columns: the column '{name}' is {schema.field(name).type}, which a CSV cannot hold; leave it "
                "out, it is in the table scores."
            )
    return chosen


def left_out(config: CsvConfig, schema: pa.Schema) -> list[str]:
    """The columns that `scores.csv` would hold, if a CSV could."""
    if config.columns or config.preset != "all":
        return []
    return [field.name for field in schema if csv_type(field.type) is None]


def csv_type(kind: pa.DataType) -> pa.DataType | None:
    """The type in which values of `kind` are written; None for lists, structures, bytes and what else has no text."""
    if isinstance(kind, pa.DictionaryType):
        return csv_type(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return csv_type(kind.storage_type)
    if kind == pa.string_view():
        return pa.string()
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return None  # Arrow would write them raw
    try:
        pa_csv.write_csv(pa.table({"one": pa.nulls(1, kind)}), pa.BufferOutputStream())
    except pa.ArrowException:
        return None
    return kind


def write_csv(target: Location, pieces: Iterable[pa.Table], config: CsvConfig, schema: pa.Schema) -> None:
    """Write the pieces in order as one CSV file with a header."""
    chosen = _columns(config, schema)
    with target.open_output() as stream, pa_csv.CSVWriter(stream, pa.schema(list(chosen.values()))) as writer:
        for piece in pieces:
            writer.write_table(_chosen(piece, config, chosen))


def csv_rows(rows: pa.Table, config: CsvConfig) -> bytes:
    """Some rows as text without a header: a piece of the file that they make together, see `faceverify.joining`."""
    sink = pa.BufferOutputStream()
    pa_csv.write_csv(
        _chosen(rows, config, _columns(config, rows.schema)), sink, pa_csv.WriteOptions(include_header=False)
    )
    return sink.getvalue().to_pybytes()


def csv_header(schema: pa.Schema, config: CsvConfig) -> bytes:
    """The first line of the file."""
    sink = pa.BufferOutputStream()
    pa_csv.write_csv(pa.schema(list(_columns(config, schema).values())).empty_table(), sink)
    return sink.getvalue().to_pybytes()


def _columns(config: CsvConfig, schema: pa.Schema) -> dict[str, pa.Field]:
    """Column name -> header and type in the file."""
    chosen = chosen_columns(config, schema)
    headers = {name: str(escaped_cell(header)) if config.escape else header for name, header in chosen.items()}
    return {name: pa.field(headers[name], csv_type(schema.field(name).type)) for name in chosen}


def _chosen(piece: pa.Table, config: CsvConfig, chosen: dict[str, pa.Field]) -> pa.Table:
    if config.fill is not None:
        filled = pc.fill_null(piece["similarity"], pa.scalar(config.fill, pa.float32()))
        piece = piece.set_column(piece.schema.get_field_index("similarity"), "similarity", filled)
    columns = [piece[name].cast(field.type) for name, field in chosen.items()]
    columns = [escaped(column) for column in columns] if config.escape else columns
    return pa.table(columns, schema=pa.schema(list(chosen.values())))
