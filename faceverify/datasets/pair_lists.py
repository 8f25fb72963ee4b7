"""Lists of pairs to be scored, of any length: read in pieces, in the order of the file, every pair exactly once.

CSV (also with semicolons or tabs, in UTF-16, or in gzip: see `text_lists`) and Parquet with the columns `photo_a,
photo_b` and, if known, `label, kind, generator, pair, split, person_a, person_b`; also `pathA, pathB, label,
deepfake_a, deepfake_b` (the lists of the Kryptonite challenge's solutions) and the `pairs.txt` of LFW. Other columns
travel along unchanged (from CSV as strings, and those without a name left out).

Every piece has the columns of `tables.PAIRS`, then the further ones, then `fault` (string): null, or `outside_root` for
a pair one of whose paths leaves the photos' root. Such a pair keeps its place, so that it too gets its line of output.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from faceverify.datasets.lfw import read_pairs
from faceverify.datasets.options import PairListConfig
from faceverify.datasets.pair_columns import PairSource, normalise
from faceverify.datasets.paths import ways_to_write
from faceverify.datasets.text_lists import TextList, open_list
from faceverify.errors import UserError
from faceverify.redaction import first_line
from faceverify.storage import Location, NotAFileError
from faceverify.tables import with_sound_text

_BLOCK_BYTES = 1 << 20  # of CSV text per piece, about 13,000 pairs; pyarrow reads some thirty pieces ahead
_PARQUET_ROWS = 1 << 16
HEADERS = ({"photo_a", "photo_b"}, {"pathA", "pathB"})


def open_pairs(
    location: Location, config: PairListConfig | None = None, root: Location | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the pairs of `location` in pieces of one schema (module docstring), at least one piece even if it is empty.

    `pair` is the list's own column `pair` or `pair_id`, else the row's number from 0. `kind` follows from `label` where
    the list has none: 1 is genuine; 0 is deepfake if the row names a fake (deepfake_a, deepfake_b, generator), else
    impostor. An absolute path below `root`, the photos' folder, is taken for its path relative to it. Memory holds a
    few pieces, never the list.

    Raises:
        UserError: the file is missing or unreadable, columns are missing, or a value is not allowed (naming the row).
    """
    config = config or PairListConfig()
    if not location.exists():
        raise UserError(f"pairs: there is no file or folder '{location}'; check the path.")
    source = source_of(location, config, root)
    pieces = _checked(_READERS[format_of(location, config)](location, config), source)
    return _of_split(pieces, config.split, source) if config.split else pieces


def source_of(location: Location, config: PairListConfig, root: Location | None) -> PairSource:
    """How a list is called in messages, and what is taken off its paths."""
    return PairSource(location.uri, config.strip_prefix, ways_to_write(root) if root else ())


def format_of(location: Location, config: PairListConfig) -> str:
    """Which reader a list takes: csv, parquet or lfw.

    Raises:
        UserError: see `open_list`.
    """
    if config.format != "auto":
        return config.format
    if location.is_dir() or location.name.endswith(".parquet") or _begins_with(location, b"PAR1"):
        return "parquet"
    if not location.name.removesuffix(".gz").endswith(".txt"):
        return "csv"
    with open_list(location, "pairs") as text:  # the "Unicode text" of spreadsheets has the same suffix
        columns = set(text.columns(text.delimiter(*HEADERS)))
    return "csv" if any(names <= columns for names in HEADERS) else "lfw"


def _begins_with(location: Location, magic: bytes) -> bool:
    try:
        with location.open_input() as stream:
            return stream.read(len(magic)) == magic
    except (NotAFileError, PermissionError):
        return False  # reading it will report the error


def _checked(pieces: Iterator[pa.RecordBatch], source: PairSource) -> Iterator[pa.RecordBatch]:
    """Normalised pieces, with what pyarrow raises while reading turned into sentences."""
    first_row = 0
    try:
        for piece in pieces:
            yield normalise(piece, first_row, source)
            first_row += len(piece)
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"pairs: '{source.name}' cannot be read after {first_row} rows ({first_line(error)})."
        ) from None


def _of_split(pieces: Iterator[pa.RecordBatch], split: str, source: PairSource) -> Iterator[pa.RecordBatch]:
    """The pairs of one split alone."""
    kept, others = 0, set[str]()
    for piece in pieces:
        chosen = piece.filter(pc.equal(piece["split"], split))
        if not kept and not len(chosen):
            others |= {name for name in pc.unique(piece["split"]).to_pylist() if name is not None}
        kept += len(chosen)
        yield chosen
    if not kept:
        there = f"its splits are {', '.join(sorted(others))}" if others else "it has no splits"
        raise UserError(f"pair_list.split is '{split}', but no pair of '{source.name}' is of that split; {there}.")


def _read_csv(location: Location, config: PairListConfig) -> Iterator[pa.RecordBatch]:
    with open_list(location, "pairs") as text:
        delimiter, named = columns_of(text, location, config)
        yield from csv_pieces(text, delimiter, named)


def columns_of(text: TextList, location: Location, config: PairListConfig) -> tuple[str, list[str]]:
    """What stands between the columns of a list, and the names of those that have one.

    Raises:
        UserError: there is no header, or it has a name twice; or the delimiter asked for cannot be one.
    """
    if not text.header:
        raise UserError(
            f"pairs: '{location}' is empty; write a first line of column names, photo_a and photo_b at least."
        )
    delimiter = "\t" if location.name.endswith(".tsv") else config.delimiter or text.delimiter(*HEADERS)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise UserError(f"pair_list.delimiter is '{delimiter}'; give one character, or nothing to have it found.")
    named = [name for name in text.columns(delimiter) if name]  # spreadsheets end lines with empty columns
    if len(set(named)) < len(named):
        raise UserError(f"pairs: '{location}' has a column twice among {', '.join(named)}; keep one of each.")
    return delimiter, named


def csv_pieces(text: Any, delimiter: str, named: list[str]) -> Iterator[pa.RecordBatch]:
    """The columns `named` of CSV in UTF-8, as strings; at least one piece."""
    convert = pacsv.ConvertOptions(
        # Strings throughout: a type guessed from the first block would break on a later one, and 007 is not 7.
        column_types=dict.fromkeys(named, pa.string()),
        include_columns=named,
        null_values=[""],
        strings_can_be_null=True,
    )
    parse = pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    read = pacsv.ReadOptions(block_size=_BLOCK_BYTES)
    reader = pacsv.open_csv(text, read_options=read, parse_options=parse, convert_options=convert)
    yield from _at_least_one(reader, reader.schema)


def parquet_parts(location: Location) -> list[Location]:
    """The files of a list in Parquet, in order.

    Raises:
        UserError: it is a folder without any.
    """
    if not location.is_dir():
        return [location]
    entries = [entry.path for entry in location.files() if entry.path.endswith(".parquet")]
    parts = [location / path for path in entries if not path.startswith((".", "_"))]
    if not parts:
        raise UserError(f"pairs: the folder '{location}' holds no *.parquet file; check the path.")
    return parts


def _read_parquet(location: Location, _config: PairListConfig) -> Iterator[pa.RecordBatch]:
    schema: pa.Schema | None = None
    parts = parquet_parts(location)
    for part in parts:
        with part.open_input() as stream, pq.ParquetFile(stream) as file:
            schema = schema or file.schema_arrow.remove_metadata()
            if not file.schema_arrow.equals(schema):
                raise UserError(
                    f"pairs: '{part}' has other columns than '{parts[0]}'; the parts of a list have the same."
                )
            yield from _at_least_one(parquet_pieces(file), schema)


def parquet_pieces(file: pq.ParquetFile, groups: range | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a file, or of some of its row groups, in pieces.

    Raises:
        ArrowInvalid: some text is not UTF-8.
    """
    return map(with_sound_text, file.iter_batches(_PARQUET_ROWS, groups))


def _read_lfw(location: Location, _config: PairListConfig) -> Iterator[pa.RecordBatch]:
    yield from read_pairs(location).to_batches()


def _at_least_one(pieces: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    seen = False
    for piece in pieces:
        seen = True
        yield piece
    if not seen:
        yield pa.RecordBatch.from_pylist([], schema=schema)


_READERS: dict[str, Callable[[Location, PairListConfig], Iterator[pa.RecordBatch]]] = {
    "csv": _read_csv,
    "parquet": _read_parquet,
    "lfw": _read_lfw,
}
