"""Text for CSV files that people open in a spreadsheet: a cell that begins like a formula is shown and not run."""

import pyarrow as pa
import pyarrow.compute as pc

# What spreadsheets take for the beginning of a formula; they trim blanks, and some read the wide signs alike.
FORMULA = "^[ ]*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$|^[+-]?(inf|nan)$"


def escaped(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """A column with a ' before texts that a spreadsheet would run; numbers, also those written as text, as they are."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return column
    runs = pc.and_not(pc.match_substring_regex(column, FORMULA), pc.match_substring_regex(column, NUMBER))
    quoted = pc.binary_join_element_wise(pa.scalar("'", kind), column, pa.scalar("", kind))
    return pc.if_else(runs, quoted, column)


def escaped_cell(value: object) -> object:
    """One cell, as `escaped`."""
    return escaped(pa.array([value]))[0].as_py() if isinstance(value, str) else value
