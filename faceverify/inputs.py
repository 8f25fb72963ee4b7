"""What a user may name as input: a table, the output folder of a job, or a folder of photos; and how each is read."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from faceverify import tables
from faceverify.config import digest
from faceverify.errors import UserError
from faceverify.run_folder import MANIFEST, WORK, read_manifest
from faceverify.storage import Location, open_location

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
        entries = [entry for entry in folder.files(recursive=False) if entry.path.endswith(".parquet")]
        if entries:
            if (run / WORK).exists() and not (run / MANIFEST).exists():
                raise UserError(
                    f"{folder} belongs to a run that has not finished; run its command again until it ends."
                )
            return [folder / entry.path for entry in entries]
    if (location / WORK).exists() and not (location / MANIFEST).exists():
        raise UserError(f"{location} belongs to a run that has not finished; run its command again until it ends.")
    return []


def open_table(location: Location, name: str, schema: pa.Schema, field: str) -> list[Location]:
    """Like `table_files`, but the table must be there and have the columns of `schema`.

    Raises:
        UserError: there is none, it is damaged, or columns are missing or mistyped.
    """
    files = table_files(location, name)
    if not files:
        raise UserError(
            f"{field}: '{location}' holds no table '{name}'; give the output folder of the job that makes it."
        )
    tables.validate(read_schema(files[0]), schema, f"{field}: {files[0]}")
    return files


def open_photos(location: Location) -> list[Location] | Location:
    """The files of a photos table, or the folder of photos that `location` is.

    Raises:
        UserError: it is neither, or the table lacks columns.
    """
    files = table_files(location, "photos")
    if files:
        tables.validate(read_schema(files[0]), tables.PHOTOS, f"photos: {files[0]}")
    elif location.is_file():
        raise UserError(f"photos: '{location}' is a file; give a folder of photos, or a photos table (Parquet).")
    return files or location


def one_photo(photos: list[Location] | Location) -> Location:
    """Where the photos are: the folder, or the first photo that the table names (for checks before work starts)."""
    if isinstance(photos, Location):
        return photos
    first = next((rows["uri"][0].as_py() for rows in stream_table(photos, ["uri"], rows=1) if rows.num_rows), None)
    return open_location(first) if first else photos[0]


def open_embeddings(location: Location) -> list[Location]:
    """The files of an embeddings table.

    Raises:
        UserError: there is none, or columns are missing or mistyped.
    """
    files = table_files(location, "embeddings")
    if not files:
        raise UserError(f"embeddings: '{location}' holds no embeddings table; give the output of score or embed.")
    schema = read_schema(files[0])
    kind = schema.field("embedding").type if "embedding" in schema.names else None
    dim = kind.list_size if kind is not None and pa.types.is_fixed_size_list(kind) else 512
    tables.validate(schema, tables.embeddings(dim), f"embeddings: {files[0]}")
    return files


def read_schema(file: Location) -> pa.Schema:
    """The Arrow schema of a Parquet file.

    Raises:
        UserError: the file is not Parquet.
    """
    try:
        with file.open_input() as stream:
            return pq.read_schema(stream)
    except pa.ArrowInvalid as error:
        raise UserError(f"'{file}' is not a Parquet file ({str(error).splitlines()[0]}).") from None


def stream_table(files: list[Location], columns: list[str] | None = None, rows: int = 65_536) -> Iterator[pa.Table]:
    """The rows of a table in order, some at a time; missing optional columns are left out.

    Memory holds a few buffers of every column, however large the file's row groups are.
    """
    for file in files:
        with file.open_input() as stream:
            parquet = pq.ParquetFile(stream, buffer_size=BUFFER, pre_buffer=False)
            names = None if columns is None else [c for c in columns if c in parquet.schema_arrow.names]
            for batch in parquet.iter_batches(rows, columns=names):
                yield pa.Table.from_batches([batch])


def fingerprint(location: Location) -> str:
    """A digest that changes when the input changes: content of a small file, else names, sizes and times."""
    if location.is_file():
        entry = location.stat()
        return location.sha256() if entry.size < 1 << 28 else digest([entry.path, entry.size, entry.mtime_ns])
    return digest([(entry.path, entry.size, entry.mtime_ns) for entry in location.files()])


def run_manifest(location: Location) -> dict[str, Any] | None:
    """The manifest of the run whose output folder, or a table in it, `location` is; None if there is none."""
    for folder in (location, location.parent):
        if (folder / MANIFEST).is_file():
            return read_manifest(folder / MANIFEST)
    return None
