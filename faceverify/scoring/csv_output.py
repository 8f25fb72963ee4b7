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
    """all = every column of the scores; challenge = pair_id,similarity; none = write no CSV."""
    columns: tuple[str, ...] = ()
    """Columns to write instead of the preset's; `name=header` renames one, e.g. pair=pair_id."""
    fill: float | None = None
    """Similarity to write for pairs that could not be scored, for leaderboards that take no blanks;
    none = leave blank."""
    escape: bool = False
    """Put ' before texts that a spreadsheet would run as a formula (file names that begin with =, +, - or @); for
    people. Programs read names as they are, so it is off."""


CHALLENGE = ("pair=pair_id", "similarity")


def chosen_columns(config: CsvConfig, available: list[str]) -> dict[str, str]:
    """Column name -> header.

    Raises:
        UserError: a column that the scores do not have.
    """
    if not config.columns and config.preset != "challenge":
        return {name: name for name in available}  # whatever they are called, an = in it included
    asked = config.columns or CHALLENGE
    chosen = dict((column.partition("=")[0], column.partition("=")[2] or column) for column in asked)
    unknown = [name for name in chosen if name not in available]
    if unknown:
        raise UserError(f"csv.columns: the scores have no column '{unknown[0]}'; they have {', '.join(available)}.")
    return chosen


def write_csv(target: Location, pieces: Iterable[pa.Table], config: CsvConfig, schema: pa.Schema) -> None:
    """Write the pieces in order as one CSV file with a header."""
    chosen = chosen_columns(config, schema.names)
    if config.escape:
        chosen = {name: str(escaped_cell(header)) for name, header in chosen.items()}
    fields = [pa.field(header, schema.field(name).type) for name, header in chosen.items()]
    with target.open_output() as stream, pa_csv.CSVWriter(stream, pa.schema(fields)) as writer:
        for piece in pieces:
            if config.fill is not None:
                filled = pc.fill_null(piece["similarity"], pa.scalar(config.fill, pa.float32()))
                piece = piece.set_column(piece.schema.get_field_index("similarity"), "similarity", filled)
            columns = [piece[name].cast(schema.field(name).type) for name in chosen]
            columns = [escaped(column) for column in columns] if config.escape else columns
            writer.write_table(pa.table(columns, schema=pa.schema(fields)))
