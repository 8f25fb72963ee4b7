"""The plan of a scoring run: pairs numbered and cut into shards, and the distinct photos they name.

    .work/pairs/   tables.PAIRS + extra columns + a, b (photo numbers) + fault
    .work/photos/  one row per distinct photo, in order of first appearance: where its bytes are, or its embedding

Pairs are streamed, so memory grows with the number of distinct photos and not with the number of pairs.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify import tables
from faceverify.errors import UserError
from faceverify.inputs import read_schema, stream_table
from faceverify.scoring.csv_output import CsvConfig, chosen_columns, left_out
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

    def as_json(self) -> dict[str, int]:
        """For `RunFolder.note`."""
        return asdict(self)


def make_plan(
    pairs: Iterable[pa.Table],
    photos: list[Location] | Location | None,
    embeddings: list[Location],
    work: Location,
    pairs_per_shard: int,
    photos_per_shard: int,
) -> ScorePlan:
    """Stream the pairs into shards, then list the photos that they name.

    Args:
        pairs: tables.PAIRS + extra columns + `fault`, in input order.
        photos: the files of a photos table, or the root folder of the photos, or None if embeddings hold all.
        embeddings: the files of an embeddings table to re-use; may be empty.
        work: the run's working folder.
        pairs_per_shard: rows per shard of pairs.
        photos_per_shard: rows per shard of photos.

    Raises:
        UserError: no pairs at all, or a table with a photo twice.
    """
    index = PhotoIndex()
    count = 0

    def numbered() -> Iterator[pa.Table]:
        nonlocal count
        for piece in pairs:
            count += piece.num_rows
            sound = pc.is_null(piece["fault"])  # a forbidden path is never looked at: it gets no number (-1)
            for name in ("a", "b"):
                numbers = index.encode(pc.if_else(sound, piece[f"photo_{name}"], None))
                piece = piece.append_column(name, pa.array(numbers))
            yield piece

    pair_shards = write_shards(work / "pairs", numbered(), pairs_per_shard)
    if count == 0:
        raise UserError("pairs: the list is empty; there is nothing to score.")
    reused = Reused(embeddings, index.numbers)
    photo_shards = write_shards(work / "photos", photo_rows(index, photos, reused), photos_per_shard)
    return ScorePlan(count, len(index.numbers), pair_shards, photo_shards, photos_per_shard, reused.dim, reused.count)


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


class Reused:
    """The rows of an existing embeddings table that the pairs need and that point somewhere.

    dim: of the embeddings, 0 if there are none; count: how many. They are held in memory until the plan is written.
    """

    def __init__(self, files: list[Location], numbers: dict[str, int]) -> None:
        self.dim = read_schema(files[0]).field("embedding").type.list_size if files else 0
        self.count = end = 0
        # Room for all; the system gives only what is written to.
        self._vectors = np.empty((len(numbers), self.dim), np.float32)
        self._position = np.full(len(numbers), -1, np.int64)
        for table in stream_table(files, ["photo", "embedding"]):
            found = np.array([numbers.get(name, -1) for name in table["photo"].to_pylist()], np.int64)
            column = table["embedding"].combine_chunks()
            use = np.flatnonzero((found >= 0) & column.is_valid().to_numpy(zero_copy_only=False))
            vectors = column.take(pa.array(use)).flatten().to_numpy().reshape(-1, self.dim)
            norms = np.linalg.norm(vectors, axis=1)
            pointing = np.isfinite(norms) & (norms > 0)
            use, end = use[pointing], self.count + int(pointing.sum())
            if end > len(numbers):
                break  # more rows than photos
            self._vectors[self.count : end] = vectors[pointing]
            self._position[found[use]] = np.arange(self.count, end)
            self.count = end
        if end != np.count_nonzero(self._position >= 0):
            raise UserError("embeddings: the table names a photo twice; its key `photo` must be unique.")

    def column(self, start: int, stop: int) -> pa.Array:
        """Embeddings of the photos numbered start ... stop-1, null where there is none."""
        position = self._position[start:stop]
        values = self._vectors[np.maximum(position, 0)]  # of those without one whatever lies there: the mask hides it
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), self.dim, mask=pa.array(position < 0))


def photo_rows(index: PhotoIndex, photos: list[Location] | Location | None, reused: Reused) -> Iterator[pa.Table]:
    """One row per distinct photo in the order of their numbers: `row` (the number), tables.PHOTOS, and `embedding`."""
    names = list(index.numbers)
    known = _from_table(photos, index.numbers) if isinstance(photos, list) else None
    for start in range(0, len(names), PLANNED_ROWS):
        part = names[start : start + PLANNED_ROWS]
        if known is not None:
            rows = known.slice(start, len(part))
        else:
            uris = [f"{photos.uri}/{name}" for name in part] if isinstance(photos, Location) else [None] * len(part)
            rows = _bare(part, uris)
        rows = rows.add_column(0, "row", pa.array(np.arange(start, start + len(part))))
        yield rows.append_column("embedding", reused.column(start, start + len(part))) if reused.dim else rows


# A photo that no table knows has no uri: scoring says so in the status of its pairs.
PLANNED = pa.schema([f.with_nullable(True) for f in tables.PHOTOS])


def _bare(names: list[str], uris: list[str] | list[None]) -> pa.Table:
    rows = PLANNED.empty_table()
    columns = {name: pa.nulls(len(names), rows.schema.field(name).type) for name in rows.column_names}
    return pa.table(columns | {"photo": pa.array(names), "uri": pa.array(uris, pa.string())}, schema=PLANNED)


def _from_table(files: list[Location], numbers: dict[str, int]) -> pa.Table:
    """The rows of a photos table that the pairs name, in the order of their numbers; unknown ones without uri."""
    pieces, order = [], []
    for table in stream_table(files, PLANNED.names):
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
