"""What a user may name as input: a table, the output folder of a job, or a folder of photos; and how each is read."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from faceverify import tables
from faceverify.config import digest
from faceverify.errors import UserError
from faceverify.matching import is_side_file
from faceverify.redaction import first_line
from faceverify.run_folder import MANIFEST, WORK, read_manifest
from faceverify.storage import Location, NotAFileError, open_location

BUFFER = 4 << 20  # bytes read of a column at a time


def table_files(location: Location, name: str) -> list[Location]:
    """The Parquet files of table `name` at `location`: a file, a folder of files, or a job's output folder.

    Returns:
        The files in order; empty if there is no such table (a folder of photos, say).

    Raises:
        UserError: the table belongs to a run that has not finished.
    """
    if location.is_file():
        return [location] if location.name.endswith(".parquet") else []
    for folder, run in ((location / name, location), (location, location.parent)):
        entries = [entry.path for entry in folder.files(recursive=False) if entry.path.endswith(".parquet")]
        if folder == location and f"{name}.parquet" in entries:
            entries = [f"{name}.parquet"]  # beside other tables
        if entries:
            if (run / WORK).exists() and not (run / MANIFEST).exists():
                raise UserError(
                    f"{folder} belongs to a run that has not finished; run its command again until it ends."
                )
            return [folder / entry for entry in entries]
    if (location / WORK).exists() and not (location / MANIFEST).exists():
        raise UserError(f"{location} belongs to a run that has not finished; run its command again until it ends.")
    return []


KEYS = frozenset({"photo", "pair", "photo_a", "photo_b", "status"})


def open_table(
    location: Location, name: str, schema: pa.Schema, field: str, optional: bool = False, keyless: bool = False
) -> list[Location]:
    """Like `table_files`, but the table must be there, have the columns of `schema`, and rows, unless `optional`.

    Args:
        location: a file, a folder of files, or a job's output folder.
        name: of the table.
        schema: what it must hold.
        field: the option that names it, for messages.
        optional: it may have no rows.
        keyless: rows without a key are taken too.

    Raises:
        UserError: there is none, it is damaged or empty, columns are missing or mistyped, or rows of a foreign table
            lack a key.
    """
    files = table_files(location, name)
    if not files:
        raise UserError(
            f"{field}: '{location}' holds no table '{name}'; give the output folder of the job that makes it."
        )
    tables.validate(read_schema(files[0]), schema, f"{field}: {files[0]}")
    if not optional:
        check_not_empty(files, location, field)
    if not keyless and run_manifest(location) is None:  # what jobs make has all keys
        for file in files:
            _check_keys(file, KEYS & set(schema.names), field)
    return files


def _check_keys(file: Location, keys: frozenset[str], field: str) -> None:
    """Ask the statistics of a Parquet file whether a key is null anywhere."""
    with _readable(file), file.open_input() as stream:
        facts = pq.ParquetFile(stream).metadata
    for group in map(facts.row_group, range(facts.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            known = column.statistics if column.path_in_schema in keys else None
            if known is not None and known.null_count:
                key = column.path_in_schema
                raise UserError(
                    f"{field}: '{file}' has no `{key}`, the key of its rows, in {known.null_count:,} of them; leave "
                    "these out."
                )


def check_not_empty(files: list[Location], location: Location, field: str) -> None:
    """Check that a table has rows.

    Raises:
        UserError: it has none.
    """
    if not any(row_count(file) for file in files):
        raise UserError(
            f"{field}: the table in '{location}' has no rows, so there is nothing to work on; the last lines, and the "
            "table rejects, of the job that made it say why."
        )


def row_count(file: Location) -> int:
    """The number of rows of a file of a table."""
    with file.open_input() as stream:
        return pq.read_metadata(stream).num_rows


def open_photos(location: Location) -> list[Location] | Location:
    """The files of a photos table, or the folder of photos that `location` is.

    Raises:
        UserError: it is neither, or the table lacks columns or rows.
    """
    files = photo_table_files(location)
    if files:
        tables.validate(read_schema(files[0]), tables.PHOTOS, f"photos: {files[0]}")
        check_not_empty(files, location, "photos")
    elif location.is_file():
        raise UserError(f"photos: '{location}' is a file; give a folder of photos, or a photos table (Parquet).")
    return files or location


def photo_table_files(location: Location) -> list[Location]:
    """The files of a photos table; empty if `location` is a folder of photos, whatever other tables lie in it.

    Raises:
        UserError: the table belongs to a run that has not finished, or is damaged.
    """
    files = table_files(location, "photos")
    if not files or location.is_file() or (location / MANIFEST).exists():
        return files
    try:
        tables.validate(read_schema(files[0]), tables.PHOTOS, "")
    except UserError:
        if _holds_more_than_tables(location):
            return []
    return files


def _holds_more_than_tables(folder: Location) -> bool:
    """Whether photos may lie in `folder`: something that is no side file, or a sub-folder with a file in it."""
    return any(not is_side_file(entry.path) for entry in folder.listing(hidden=False)[0])


def one_photo(photos: list[Location] | Location) -> Location:
    """Where the photos are: the folder, or the first photo that the table names (for checks before work starts)."""
    if isinstance(photos, Location):
        return photos
    first = next((rows["uri"][0].as_py() for rows in stream_table(photos, ["uri"], rows=1) if rows.num_rows), None)
    return open_location(first) if first else photos[0]


def root_of(photos: list[Location] | Location | None) -> Location | None:
    """The folder to which the names of photos are relative; None where it does not show."""
    if not isinstance(photos, list):
        return photos
    first = next(
        (rows.to_pylist()[0] for rows in stream_table(photos, ["photo", "uri"], rows=1) if rows.num_rows), None
    )
    if first is None or not first["uri"].endswith(f"/{first['photo']}"):
        return None
    return open_location(first["uri"].removesuffix(f"/{first['photo']}") or "/")


def open_embeddings(location: Location, optional: bool = False) -> list[Location]:
    """The files of an embeddings table, which has rows unless `optional`.

    Raises:
        UserError: there is none, it is empty, or columns are missing or mistyped.
    """
    files = table_files(location, "embeddings")
    if not files:
        raise UserError(f"embeddings: '{location}' holds no embeddings table; give the output of score or embed.")
    schema = read_schema(files[0])
    kind = schema.field("embedding").type if "embedding" in schema.names else None
    dim = kind.list_size if kind is not None and pa.types.is_fixed_size_list(kind) else 512
    tables.validate(schema, tables.embeddings(dim), f"embeddings: {files[0]}")
    if not optional:
        check_not_empty(files, location, "embeddings")
    return files


def read_schema(file: Location) -> pa.Schema:
    """The Arrow schema of a Parquet file.

    Raises:
        UserError: the file is not Parquet, or has a column twice.
    """
    with _readable(file), file.open_input() as stream:
        schema = pq.read_schema(stream)
    twice = [name for name in schema.names if schema.names.count(name) > 1]
    if twice:
        raise UserError(f"'{file}' has the column {twice[0]} twice; keep one of each.")
    return schema


@contextmanager
def _readable(file: Location) -> Iterator[None]:
    """Around the reading of a Parquet file: says which one cannot be read."""
    try:
        yield
    except (pa.ArrowException, NotAFileError, PermissionError) as error:
        raise UserError(f"'{file}' is not a Parquet file that can be read ({first_line(error)}).") from None
    except OSError as error:
        if not file.is_local or error.errno:
            raise
        raise UserError(f"'{file}' is a damaged Parquet file ({first_line(error)}).") from None


def stream_table(
    files: list[Location], columns: list[str] | None = None, rows: int = 65_536, groups: Sequence[int] | None = None
) -> Iterator[pa.Table]:
    """The rows of a table in order, some at a time; missing optional columns are left out.

    Memory holds a few buffers of every column, however large the file's row groups are.

    Args:
        files: of the table.
        columns: to be read; None = all.
        rows: at a time, at most.
        groups: row groups to be read of each file; None = all.

    Raises:
        UserError: a file is damaged, or holds text that is not UTF-8.
    """
    for file in files:
        with _readable(file), file.open_input() as stream:
            parquet = pq.ParquetFile(stream, buffer_size=BUFFER, pre_buffer=False)
            names = None if columns is None else [c for c in columns if c in parquet.schema_arrow.names]
            for batch in parquet.iter_batches(rows, groups, columns=names):
                yield pa.Table.from_batches([tables.with_sound_text(batch)])


def fingerprint(location: Location) -> str:
    """A digest that changes when the input changes: content of a small file, else names, sizes and times."""
    if location.is_file():
        entry = location.stat()
        return location.sha256() if entry.size < 1 << 28 else digest([entry.path, entry.size, entry.mtime_ns])
    return digest([(entry.path, entry.size, entry.mtime_ns) for entry in location.files()])


def names_in(folder: Location) -> str:
    """A digest of which files there are below a folder, and where that is; not of what is in them."""
    return digest([folder.real, [entry.path for entry in folder.files()]])


def run_manifest(location: Location) -> dict[str, Any] | None:
    """The manifest of the run whose output folder, or a table in it, `location` is; None if there is none."""
    for folder in (location, location.parent):
        if (folder / MANIFEST).is_file():
            return read_manifest(folder / MANIFEST)
    return None
