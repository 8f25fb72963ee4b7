"""The distinct photos of a scoring run after embedding: their unit vectors, their states, what they were made of.

Embeddings lie in parts as they are published: those that were given (`reuse`), and those that were computed, one part
per shard of `.work/photos`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify.errors import Reason
from faceverify.inputs import stream_table, table_files
from faceverify.parts import part, read_part, read_part_columns
from faceverify.provenance import noted_versions
from faceverify.scoring import named
from faceverify.scoring.numbering import joined
from faceverify.scoring.plan import ScorePlan, photo_rows
from faceverify.scoring.reuse import GIVEN, NUMBERS
from faceverify.scoring.similarity import STATES, ForensicFacts, PhotoFacts, mark_states
from faceverify.shards import read_column, read_shard
from faceverify.storage import Location
from faceverify.vectors import unit

STAGE = "embeddings"
READ_ROWS = 8_192  # embeddings at a time


@dataclass(frozen=True)
class EmbeddedPart:
    """One part with embeddings. stage: GIVEN or STAGE; shard: its number; size: bytes of the file."""

    stage: str
    shard: int
    size: int

    def numbers(self, work: Location) -> np.ndarray:
        """The numbers of its photos, in order."""
        if self.stage == GIVEN:
            return read_part(part(work, NUMBERS, self.shard))["number"].to_numpy()
        photos = read_shard(work / "photos", self.shard)
        names = (chunk for table in self._read(work, "photo") for chunk in table["photo"].chunks)
        at = pc.index_in(joined(names), value_set=joined(photos["photo"].chunks))
        return photos["row"].to_numpy()[at.to_numpy()]

    def units(self, work: Location) -> Iterator[np.ndarray]:
        """Its unit vectors [R,D] float32, some at a time."""
        for table in self._read(work, "embedding"):
            column = table["embedding"].combine_chunks()
            yield unit(column.flatten().to_numpy().reshape(len(column), -1))

    def _read(self, work: Location, column: str) -> Iterator[pa.Table]:
        return stream_table([part(work, self.stage, self.shard)], [column], READ_ROWS)


def embedded_parts(work: Location) -> list[EmbeddedPart]:
    """All parts with embeddings."""
    listed = ((stage, file) for stage in (GIVEN, STAGE) for file in (work / stage).files(recursive=False))
    return [
        EmbeddedPart(stage, int(file.path[:8]), file.size)
        for stage, file in listed
        if file.path.endswith(".parquet") and not file.path.startswith(".")
    ]


def load_units(work: Location, dim: int, parts: Sequence[EmbeddedPart]) -> tuple[np.ndarray, np.ndarray]:
    """Unit embeddings [N,dim] float32 of some parts, and the numbers [N] int64 of their photos."""
    numbers = np.concatenate([np.zeros(0, np.int64), *(one.numbers(work) for one in parts)])
    units = np.empty((len(numbers), dim), np.float32)
    at = 0
    for rows in chain.from_iterable(one.units(work) for one in parts):
        units[at : at + len(rows)] = rows
        at += len(rows)
    return units, numbers


def planned_versions(work: Location, plan: ScorePlan, done: set[int]) -> Iterator[tuple[pa.Table, list[str | None]]]:
    """The photos that an unfinished run has dealt with: their rows, and the versions of which embeddings were made or
    taken, or that were rejected."""
    given = [one for one in embedded_parts(work) if one.stage == GIVEN]
    known = _all_rows(work / "known") if given else None
    for one in given:
        versions = stream_table([part(work, GIVEN, one.shard)], ["photo_version"])
        assert known is not None
        yield (
            known.take(pa.array(one.numbers(work))),
            [version for rows in versions for version in rows["photo_version"].to_pylist()],
        )
    for shard in sorted(done):
        rows = read_shard(work / "photos", shard)
        places = [part(work, stage, shard) for stage in (STAGE, f"{STAGE}.rejects")]
        seen = noted_versions(read_part(place) for place in places if place.is_file())
        dealt = rows.filter(pa.array([photo in seen for photo in rows["photo"].to_pylist()], pa.bool_()))
        yield dealt, [seen[photo] for photo in dealt["photo"].to_pylist()]


def _all_rows(folder: Location) -> pa.Table:
    return pa.concat_tables(stream_table([folder / entry.path for entry in folder.files(recursive=False)]))


def published_versions(out: Location, photos: list[Location] | Location) -> Iterator[tuple[pa.Table, list[str | None]]]:
    """The same of a finished run."""
    made = (stream_table(table_files(out / name, name), ["photo", "photo_version"]) for name in (STAGE, "rejects"))
    seen = noted_versions(chain.from_iterable(made))
    others = named.look_up(list(seen), photos, []).others
    yield photo_rows(pa.array(list(seen), pa.large_string()), photos, others), list(seen.values())


def forensic_facts(work: Location, photos: int, parts: Sequence[EmbeddedPart]) -> ForensicFacts:
    """Forensic scores and eye distances [photos] of the photos of some parts; NaN of all others."""
    found = ForensicFacts(*(np.full(photos, np.nan, np.float32) for _ in range(2)))
    for one in parts:
        rows = read_part_columns(part(work, one.stage, one.shard), ["forensic", "eyes"])
        at = one.numbers(work)
        found.scores[at], found.eyes[at] = (pc.fill_null(rows[name], np.nan).to_numpy() for name in rows.column_names)
    return found


def photo_facts(work: Location, plan: ScorePlan, rejects: list[Location], unknown: np.ndarray) -> PhotoFacts:
    """States and labels of all photos.

    Args:
        work: the run's working folder.
        plan: the plan.
        rejects: parts with the photos that failed.
        unknown: photos [N] bool that nothing is known of, because no photos were given and they have no embedding.
    """
    states = np.zeros(plan.photos, np.uint8)
    states[unknown] = STATES.index(Reason.UNKNOWN_PHOTO.value)
    folder = work / "known"
    if not folder.exists():
        return PhotoFacts(states)
    if rejects:
        mark_states(states, names_of_photos(work), map(read_part, rejects))
    labels = {name: _combined(read_column(folder, name)) for name in ("person", "is_fake", "generator")}
    known = {name: None if values.null_count == len(values) else values for name, values in labels.items()}
    return PhotoFacts(states, **known)


def names_of_photos(work: Location) -> pa.Array:
    """The names of all photos, in the order of their numbers."""
    return joined(read_column(work / "known", "photo").chunks)


def _combined(column: pa.ChunkedArray) -> pa.Array:
    joined = column.combine_chunks()
    return joined.chunk(0) if isinstance(joined, pa.ChunkedArray) and joined.num_chunks else joined
