"""The distinct photos of a scoring run after embedding: their unit vectors, their states, the rows to publish."""

from collections.abc import Iterator
from itertools import chain

import numpy as np
import pyarrow as pa

from faceverify import tables
from faceverify.errors import Reason
from faceverify.inputs import stream_table, table_files
from faceverify.parts import part, read_part
from faceverify.provenance import noted_versions
from faceverify.scoring import named
from faceverify.scoring.plan import ScorePlan, photo_rows
from faceverify.scoring.reuse import Reused
from faceverify.scoring.similarity import STATES, PhotoFacts, PhotoIndex, fill_matrix, mark_states
from faceverify.shards import read_column, read_shard
from faceverify.storage import Location

STAGE = "embeddings"


def load_units(work: Location, plan: ScorePlan, dim: int, shards: range) -> np.ndarray:
    """Unit embeddings [N,dim] float32 of the photos in `shards`, in the order of their numbers; zeros where none."""
    first = shards.start * plan.rows_per_photo_shard
    stop = min(shards.stop * plan.rows_per_photo_shard, plan.photos)
    units = np.zeros((stop - first, dim), np.float32)
    for shard in shards:
        for table in shard_embeddings(work, plan, shard):
            fill_matrix(units, table["row"].to_numpy() - first, table)
    return units


def shard_embeddings(work: Location, plan: ScorePlan, shard: int) -> Iterator[pa.Table]:
    """The embeddings of one shard of photos, with their `row` numbers: those given, then those computed."""
    if plan.reused:
        rows = read_shard(work / "photos", shard)
        yield rows.filter(rows["embedding"].is_valid()).select(["photo", "embedding", "photo_version", "crop", "row"])
    computed = part(work, STAGE, shard)
    if computed.is_file():
        yield read_part(computed)


def rows_to_embed(work: Location, shard: int) -> pa.Table:
    """The photos of a shard but for those whose embedding is given, as rows of the photos table, with `row`."""
    rows = read_shard(work / "photos", shard)
    if "embedding" not in rows.column_names:
        return rows
    return rows.filter(rows["embedding"].is_null()).drop_columns("embedding")


def planned_versions(work: Location, plan: ScorePlan, done: set[int]) -> Iterator[tuple[pa.Table, list[str | None]]]:
    """The photos that an unfinished run has dealt with: their rows, and the versions of which embeddings were made or
    taken, or that were rejected."""
    for shard in range(plan.photo_shards):
        rows = read_shard(work / "photos", shard)
        given = [rows.filter(rows["embedding"].is_valid())] if plan.dim else []
        places = [part(work, stage, shard) for stage in (STAGE, f"{STAGE}.rejects")] if shard in done else []
        seen = noted_versions([*given, *(read_part(place) for place in places if place.is_file())])
        known = rows.filter(pa.array([photo in seen for photo in rows["photo"].to_pylist()], pa.bool_()))
        yield known, [seen[photo] for photo in known["photo"].to_pylist()]


def published_versions(out: Location, photos: list[Location] | Location) -> Iterator[tuple[pa.Table, list[str | None]]]:
    """The same of a finished run."""
    made = (stream_table(table_files(out / name, name), ["photo", "photo_version"]) for name in (STAGE, "rejects"))
    seen = noted_versions(chain.from_iterable(made))
    index = PhotoIndex()
    index.encode(pa.array(list(seen), pa.string()))
    others = named.look_up(index.numbers, photos, [], np.zeros(len(index.numbers), bool)).others
    for rows in photo_rows(index, photos, Reused(index.numbers, None), others):
        yield rows, [seen[photo] for photo in rows["photo"].to_pylist()]


def published_rows(work: Location, plan: ScorePlan, dim: int, digest: str) -> Iterator[pa.Table]:
    """The rows of the output table `embeddings`, in the order of the photo numbers."""
    schema = tables.embeddings(dim)
    numbered = schema.append(pa.field("row", pa.int64()))
    for shard in range(plan.photo_shards):
        pieces = [_complete(table, dim, digest).cast(numbered) for table in shard_embeddings(work, plan, shard)]
        joined = pa.concat_tables([numbered.empty_table(), *pieces])
        yield joined.sort_by("row").select(schema.names)


def _complete(table: pa.Table, dim: int, digest: str) -> pa.Table:
    """Give re-used rows the columns that computed ones have."""
    if "norm" in table.column_names:
        return table
    vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, dim)
    norms = pa.array(np.linalg.norm(vectors, axis=1), pa.float32())
    table = table.append_column("norm", norms).append_column("model", pa.repeat(digest, len(vectors)))
    return table.select(["photo", "embedding", "norm", "model", "photo_version", "crop", "row"])


def photo_facts(work: Location, plan: ScorePlan, rejects: list[Location], embedded: bool) -> PhotoFacts:
    """States and labels of all photos.

    Args:
        work: the run's working folder.
        plan: the plan.
        rejects: parts with the photos that failed.
        embedded: whether photos without an embedding were embedded; if not (no photos were given), they are unknown.
    """
    folder = work / "photos"
    names = read_column(folder, "photo").to_pylist()
    states = np.zeros(plan.photos, np.uint8)
    if not embedded:
        states[read_column(folder, "embedding").is_null().to_numpy()] = STATES.index(Reason.UNKNOWN_PHOTO.value)
    mark_states(states, {name: i for i, name in enumerate(names)}, map(read_part, rejects))
    labels = {name: _combined(read_column(folder, name)) for name in ("person", "is_fake", "generator")}
    known = {name: None if values.null_count == len(values) else values for name, values in labels.items()}
    return PhotoFacts(states, **known)


def _combined(column: pa.ChunkedArray) -> pa.Array:
    joined = column.combine_chunks()
    return joined.chunk(0) if isinstance(joined, pa.ChunkedArray) and joined.num_chunks else joined
