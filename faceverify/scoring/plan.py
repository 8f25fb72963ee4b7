"""The plan of a scoring run: pairs numbered and cut into shards, and the distinct photos they name.

    .work/pairs/   tables.PAIRS + extra columns + a, b (photo numbers) + fault
    .work/photos/  one row per distinct photo, in order of first appearance: where its bytes are, or its embedding

Pairs are streamed, so memory grows with the number of distinct photos and not with the number of pairs.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify import tables
from faceverify.errors import UserError
from faceverify.inputs import stream_table
from faceverify.scoring import named
from faceverify.scoring.csv_output import CsvConfig, chosen_columns, left_out
from faceverify.scoring.reuse import Reused, Wanted
from faceverify.scoring.similarity import PhotoIndex
from faceverify.shards import write_shards
from faceverify.storage import Location

PLANNED_ROWS = 16_384  # rows of `photos` put together at a time


@dataclass(frozen=True)
class ScorePlan:
    """What was planned, and how it was cut; kept in the run folder, so that a resumed run cuts the same way."""

    pairs: int
    photos: int
    pair_shards: int
    photo_shards: int
    rows_per_photo_shard: int
    dim: int  # of re-used embeddings, 0 if there are none
    reused: int  # photos whose embedding was given
    not_reused: dict[str, int]  # of the others that have a row: why it was not taken, and how many
    found: dict[str, Any] = field(default_factory=dict)  # photos found under another name: Naming.ways

    def as_json(self) -> dict[str, Any]:
        """For `RunFolder.note`."""
        return asdict(self)


def make_plan(
    pairs: Iterable[pa.Table],
    photos: list[Location] | Location | None,
    embeddings: Sequence[list[Location]],
    wanted: Wanted | None,
    work: Location,
    pairs_per_shard: int,
    photos_per_shard: int,
    max_failed: float = 1.0,
) -> ScorePlan:
    """Stream the pairs into shards, then list the photos that they name.

    Args:
        pairs: tables.PAIRS + extra columns + `fault`, in input order.
        photos: the files of a photos table, or the root folder of the photos, or None if embeddings hold all.
        embeddings: embeddings tables to re-use, each as its files; of rows that fit, the first table's is taken.
        wanted: what a row must be made of to be taken; None takes all rows, where no photos are given.
        work: the run's working folder.
        pairs_per_shard: rows per shard of pairs.
        photos_per_shard: rows per shard of photos.
        max_failed: the share of pairs or photos that may be missing.

    Raises:
        UserError: no pairs at all, a table with a photo twice, or too many photos that are not there.
    """
    index, strays = PhotoIndex(), named.Strays()
    count = 0

    def numbered() -> Iterator[pa.Table]:
        nonlocal count
        for piece in pairs:
            count += piece.num_rows
            strays.see(piece)
            sound = pc.is_null(piece["fault"])  # a forbidden path is never looked at: it gets no number (-1)
            for name in ("a", "b"):
                numbers = index.encode(pc.if_else(sound, piece[f"photo_{name}"], None))
                piece = piece.append_column(name, pa.array(numbers))
            yield piece

    pair_shards = write_shards(work / "pairs", numbered(), pairs_per_shard)
    if count == 0:
        raise UserError("pairs: the list is empty; there is nothing to score.")
    reused = Reused(index.numbers, wanted)
    for files in embeddings:
        reused.add(files)
    # Photos that are given must be there, whatever embeddings there are: these are of the photos as they are now.
    given = reused.given if wanted is None else np.zeros(len(index.numbers), bool)
    naming = named.look_up(index.numbers, photos, [file for files in embeddings for file in files], given)
    planned = [work / "pairs" / entry.path for entry in (work / "pairs").files(recursive=False)]
    named.check(planned, count, index.numbers, naming, strays, photos, max_failed)
    photo_shards = write_shards(work / "photos", photo_rows(index, photos, reused, naming.others), photos_per_shard)
    cut = (count, len(index.numbers), pair_shards, photo_shards, photos_per_shard)
    return ScorePlan(*cut, reused.dim, reused.taken, dict(reused.why_not), naming.ways)


def check_pairs(pieces: Iterable[pa.Table], csv: CsvConfig) -> list[str]:
    """Look at the beginning of the list, before work starts.

    Returns:
        The columns that will be missing in the CSV, because it cannot hold them.

    Raises:
        UserError: it is empty, or the CSV is to have a column that there will not be.
    """
    first = next((piece for piece in pieces if piece.num_rows), None)
    if first is None:
        raise UserError("pairs: the list is empty; there is nothing to score.")
    further = [field for field in first.schema if field.name not in (*tables.SCORES.names, "fault")]
    schema = pa.schema([*tables.PAIRS, *further, *list(tables.SCORES)[len(tables.PAIRS) :]])
    chosen_columns(csv, schema)
    return left_out(csv, schema)


def photo_rows(
    index: PhotoIndex, photos: list[Location] | Location | None, reused: Reused, others: dict[str, str]
) -> Iterator[pa.Table]:
    """One row per distinct photo in the order of their numbers: `row` (the number), tables.PHOTOS, and, where
    embeddings are re-used, `embedding`, `photo_version` and `crop`.

    A photo keeps the name that the list has for it; `others` holds the names under which some of them are there.
    """
    names = list(index.numbers)
    known = _from_table(photos, index.numbers, others) if isinstance(photos, list) else None
    for start in range(0, len(names), PLANNED_ROWS):
        part = names[start : start + PLANNED_ROWS]
        if known is not None:
            rows = known.slice(start, len(part))
        else:
            there = [others.get(name, name) for name in part]
            uris = [f"{photos.uri}/{name}" for name in there] if isinstance(photos, Location) else [None] * len(part)
            rows = _bare(part, uris)
        given = reused.columns(rows, start) if reused.dim else {}
        rows = rows.add_column(0, "row", pa.array(np.arange(start, start + len(part))))
        for name, values in given.items():
            rows = rows.append_column(name, values)
        yield rows


def _renamed(pieces: Iterable[pa.Table], others: dict[str, str]) -> Iterator[pa.Table]:
    """The rows, and once more, under the names that the list has for them, those that it names otherwise."""
    names_of: dict[str, list[str]] = {}
    for name, other in others.items():
        names_of.setdefault(other, []).append(name)
    for table in pieces:
        yield table
        if others:
            again = [(row, n) for row, one in enumerate(table["photo"].to_pylist()) for n in names_of.get(one, ())]
            rows = table.take(pa.array([row for row, _ in again], pa.int64()))
            yield rows.set_column(0, "photo", pa.array([name for _, name in again], pa.string()))


# A photo that no table knows has no uri: scoring says so in the status of its pairs.
PLANNED = pa.schema([f.with_nullable(True) for f in tables.PHOTOS])


def _bare(names: list[str], uris: list[str] | list[None]) -> pa.Table:
    rows = PLANNED.empty_table()
    columns = {name: pa.nulls(len(names), rows.schema.field(name).type) for name in rows.column_names}
    return pa.table(columns | {"photo": pa.array(names), "uri": pa.array(uris, pa.string())}, schema=PLANNED)


def _from_table(files: list[Location], numbers: dict[str, int], others: dict[str, str]) -> pa.Table:
    """The rows of a photos table that the pairs name, in the order of their numbers; unknown ones without uri."""
    pieces, order = [], []
    for table in _renamed(stream_table(files, PLANNED.names), others):
        found = np.array([numbers.get(name, -1) for name in table["photo"].to_pylist()], np.int64)
        use = np.flatnonzero(found >= 0)
        pieces.append(table.take(pa.array(use)).select(PLANNED.names).cast(PLANNED))
        order.append(found[use])
    present = np.concatenate(order) if order else np.zeros(0, np.int64)
    if len(np.unique(present)) != len(present):
        raise UserError("photos: the table names a photo twice; its key `photo` must be unique.")
    absent = np.setdiff1d(np.arange(len(numbers)), present)
    names = list(numbers)
    pieces.append(_bare([names[i] for i in absent], [None] * len(absent)))
    joined = pa.concat_tables(pieces)
    return joined.take(pa.array(np.argsort(np.concatenate([present, absent]), kind="stable")))
