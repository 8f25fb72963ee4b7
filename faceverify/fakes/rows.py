"""The table that fakes make: all the photos that were given and, behind them, the fakes."""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from faceverify import tables
from faceverify.cleaning.materialise import safe_name
from faceverify.errors import UserError
from faceverify.fakes import Description
from faceverify.fakes.audit import MEASURED
from faceverify.fakes.choosing import Choice, FakeId, seed_of
from faceverify.fakes.photo_pool import PhotoPool
from faceverify.fakes.storing import Stored

STAGE = "fake"  # in rejects
ADDED = pa.schema(
    [
        ("source_photo", pa.string()),  # whose face it is; null for photos that this job did not make
        ("further_sources", pa.list_(pa.string())),  # for generators that take several photos of the person
        ("target_photo", pa.string()),  # into which it was put; null where there is none
        ("target_person", pa.string()),
        ("seed", pa.int64()),  # of everything random in making this fake
        ("pasted_box", pa.list_(pa.int32(), 4)),  # x0 y0 x1 y1 in pixels, x1 and y1 exclusive; null if all is new
        ("how", pa.string()),  # variants that the seed has chosen
        ("weights", pa.list_(pa.string())),  # "name sha256" of each file that the generator loaded
        ("recoding", pa.string()),  # how the file was stored again; null if it is as it was given or made
        ("original_uri", pa.string()),  # of a given photo that was stored again: the file that it was
        ("original_landmarks", tables.LANDMARKS),  # likewise
        *MEASURED,
    ]
)


def extra_columns(given: pa.Schema) -> pa.Schema:
    """The columns of a photos table beside tables.PHOTOS, and those that fakes add; all may be null.

    Raises:
        UserError: the table has a column of one of the added names and another type.
    """
    tables.validate(given, pa.schema([field for field in ADDED if field.name in given.names]), "photos")
    named = {*tables.PHOTOS.names, *ADDED.names}
    return pa.schema([*(field.with_nullable(True) for field in given if field.name not in named), *ADDED])


def table_schema(extra: pa.Schema) -> pa.Schema:
    """The schema of the whole table."""
    return pa.schema([*tables.PHOTOS, *extra])


def given_rows(pieces: Iterable[pa.Table], extra: pa.Schema) -> Iterator[pa.Table]:
    """The photos that were given, with the added columns: null, or what an earlier run of this job wrote there."""
    schema = table_schema(extra)
    for piece in pieces:
        columns = [
            piece[field.name].cast(field.type) if field.name in piece.column_names else pa.nulls(len(piece), field.type)
            for field in schema
        ]
        yield pa.table(columns, schema=schema)


def name_of(person: str, generator: str, seed: int, index: int) -> str:
    """The key of a fake without its suffix: its place below the pictures' folder, as the layout `folders` has it."""
    return f"{safe_name(person)}/fake/{generator}/{seed}_{index:02d}"


def check_names(photos: pa.ChunkedArray, generators: Iterable[Description], seed: int) -> None:
    """Check that no photo has the name of a fake to come.

    Raises:
        UserError: names one.
    """
    for generator in generators:
        pattern = rf"/fake/{generator.name}/{seed}_\d+\.(png|jpg|webp)$"
        same = photos.filter(pc.match_substring_regex(photos, pattern))
        if len(same):
            raise UserError(
                f"photos: '{same[0]}' has the name of a fake that {generator.name} would make with seed {seed}; give "
                "another --seed."
            )


def as_row(
    pool: PhotoPool,
    wanted: FakeId,
    choice: Choice,
    how: str,
    file: Stored,
    made_by: Description,
    measured: dict[str, float | None],
) -> dict[str, Any]:
    """What is known of a fake, but for its name and place."""
    first, *further = (pool.photos[photo].as_py() for photo in choice.sources)
    target = choice.target
    return {
        "person": pool.names[wanted.person].as_py(),
        "is_fake": True,
        "generator": made_by.name,
        "split": pool.splits[wanted.person].as_py(),
        "landmarks": None if file.landmarks is None else file.landmarks.reshape(10).tolist(),
        "source_photo": first,
        "further_sources": further or None,
        "target_photo": None if target is None else pool.photos[target].as_py(),
        "target_person": None if target is None else pool.person_of(target),
        "seed": seed_of(pool, wanted),
        "pasted_box": file.box,
        "how": how,
        "weights": [f"{one.name} {one.sha256}" for one in made_by.weights] or None,
        "recoding": file.recoding,
        "bytes_size": len(file.data),
        **measured,
    }


def as_table(rows: list[dict[str, Any]], extra: pa.Schema) -> pa.Table:
    """Rows of fakes as a table; columns that they lack are null."""
    return pa.Table.from_pylist(rows, table_schema(extra))
