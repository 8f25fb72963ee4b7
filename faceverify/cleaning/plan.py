"""The plan of a cleaning run: people numbered in the order of their names, photos and embeddings joined in shards.

    .work/people.parquet                    name and split; a person's number is the row
    .work/photos/<shard>/<piece>.parquet    rows of the photos table of some people, and the person's number
    .work/vectors/<shard>/<piece>.parquet   photo, embedding
    .work/sample.parquet                    the real photos of some people: number, embedding; to choose thresholds from

All photos of a person are in one shard, and a shard is a run of people in the order of their names, so that what comes
out does not depend on how it was cut. Photos without a person get the number behind the last one.
Both tables are streamed: beside the names of people, memory holds 14 bytes per photo and the buffers.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify.cleaning.decisions_file import ReviewDecision
from faceverify.errors import UserError
from faceverify.inputs import read_schema, stream_table
from faceverify.pairs.chance import person_keys
from faceverify.parts import parquet_bytes, read_part
from faceverify.provenance import hash_names
from faceverify.storage import Location

PHOTOS, VECTORS, PEOPLE, SAMPLE = "photos", "vectors", "people.parquet", "sample.parquet"
NUMBER = "_person_number"
BUFFER = 1 << 26  # bytes of rows held before they are written
SAMPLE_PHOTOS = 4096


@dataclass(frozen=True)
class CleanPlan:
    """The size of the work; kept in the run folder, so that a resumed run goes on with the same shards."""

    photos: int
    people: int
    shards: int
    dim: int
    embedded: int  # photos that have an embedding

    def as_json(self) -> dict[str, int]:
        """For `RunFolder.note`."""
        return asdict(self)


def make_plan(
    photos: list[Location],
    embeddings: list[Location],
    decisions: list[ReviewDecision],
    work: Location,
    photos_per_shard: int,
) -> CleanPlan:
    """Stream the photos twice and the embeddings once, and write the shards (again, if that was interrupted).

    Args:
        photos: files of the photos table.
        embeddings: files of the embeddings table; photos that it lacks are planned without.
        decisions: those of the reviewers.
        work: the run's working folder.
        photos_per_shard: a shard is closed before it gets larger than this, if it holds more than one person.

    Raises:
        UserError: no photos, a photo named twice, or a decision about a photo that is not there or of another person.
    """
    for name in (PHOTOS, VECTORS, PEOPLE, SAMPLE):
        (work / name).delete()
    index = PhotoIndex(photos)
    index.check(decisions)
    shard_of = cut(index.counts, photos_per_shard)
    shards = int(shard_of[index.counts > 0].max()) + 1
    _write_people(work, index)
    _distribute(work / PHOTOS, index.routed_photos(photos, shard_of))
    sample = CalibrationSample(index)
    _distribute(work / VECTORS, index.routed_vectors(embeddings, shard_of, sample))
    sample.write(work / SAMPLE)
    dim = read_schema(embeddings[0]).field("embedding").type.list_size
    return CleanPlan(len(index.hashes), len(index.names), shards, dim, int(index.embedded.sum()))


class PhotoIndex:
    """The person of each photo, looked up by a 64-bit hash of the photo's key.

    names: of the people, sorted; counts: [people + 1] photos of each, the last of nobody;
    hashes: [R] uint64 sorted; number: [R] int32 person; fake: [R] bool; embedded: [R] bool, filled by `routed_vectors`.
    """

    def __init__(self, files: list[Location]) -> None:
        hashes, people, fakes, splits = [], [], [], []
        encoder, split_encoder = _Encoder(), _Encoder()
        for table in stream_table(files, ["photo", "person", "is_fake", "split"]):
            splits.append(split_encoder.encode(table["split"]))
            hashes.append(hash_names(table["photo"]))
            people.append(encoder.encode(table["person"]))
            fakes.append(pc.fill_null(table["is_fake"], False).to_numpy())
        if not sum(map(len, hashes)):
            raise UserError("photos: the table is empty; there is nothing to clean.")
        self.names, rank = encoder.sorted()
        everything = np.concatenate(hashes)
        order = np.argsort(everything, kind="stable")
        self.hashes = everything[order]
        self.number = rank[np.concatenate(people)][order].astype(np.int32)
        self.fake = np.concatenate(fakes)[order]
        self.embedded = np.zeros(len(order), bool)
        self.counts = np.bincount(self.number, minlength=len(self.names) + 1)
        self.splits = self._splits(split_encoder, rank[np.concatenate(people)], np.concatenate(splits))
        if (self.hashes[1:] == self.hashes[:-1]).any():
            raise UserError("photos: the table names a photo twice; its key `photo` must be unique.")

    def _splits(self, encoder: "_Encoder", number: np.ndarray, split: np.ndarray) -> list[str | None]:
        """The split of each person, null if their photos are in none."""
        names, rank = encoder.sorted()
        of = np.full(len(self.names) + 1, -1)
        np.maximum.at(of, number, np.where(split > 0, rank[split], -1))
        return [names[code] if code >= 0 else None for code in of[:-1].tolist()]

    def find(self, names: pa.ChunkedArray) -> np.ndarray:
        """Rows [K] of photos, -1 where there is no such photo."""
        wanted = hash_names(names)
        at = np.minimum(np.searchsorted(self.hashes, wanted), len(self.hashes) - 1)
        return np.where(self.hashes[at] == wanted, at, -1)

    def check(self, decisions: list[ReviewDecision]) -> None:
        """Check that all decisions are about photos of this table, and name their persons.

        Raises:
            UserError: names the photo.
        """
        rows = self.find(pa.chunked_array([pa.array([d.photo for d in decisions], pa.string())]))
        for decision, row in zip(decisions, rows, strict=True):
            subject = f"decisions: the photo '{decision.photo}' (decided by {decision.reviewer})"
            if row < 0:
                raise UserError(f"{subject} is not in the photos table; nothing was applied: is it the right file?")
            number = self.number[row]
            person = self.names[number] if number < len(self.names) else ""
            if person != decision.person:
                raise UserError(
                    f"{subject} is of '{person}' here, but of '{decision.person}' there; nothing was applied: was the "
                    "table made again since the review?"
                )

    def routed_photos(self, files: list[Location], shard_of: np.ndarray) -> Iterator[tuple[np.ndarray, pa.Table]]:
        """The rows of the photos table with their person's number, and the shard of each."""
        for table in stream_table(files):
            number = self.number[self.find(table["photo"])]
            yield shard_of[number], table.append_column(NUMBER, pa.array(number, pa.int64()))

    def routed_vectors(
        self, files: list[Location], shard_of: np.ndarray, sample: "CalibrationSample"
    ) -> Iterator[tuple[np.ndarray, pa.Table]]:
        """Photo and embedding of the photos that are in the photos table, and the shard of each."""
        for table in stream_table(files, ["photo", "embedding"], rows=8192):
            rows = self.find(table["photo"])
            known = np.flatnonzero((rows >= 0) & table["embedding"].is_valid().to_numpy())
            table, rows = table.take(pa.array(known)), rows[known]
            if self.embedded[rows].any() or len(np.unique(rows)) < len(rows):
                raise UserError("embeddings: the table names a photo twice; its key `photo` must be unique.")
            self.embedded[rows] = True
            sample.add(rows, table)
            yield shard_of[self.number[rows]], table


class CalibrationSample:
    """The real photos of as many people as make up SAMPLE_PHOTOS; a hash of their names decides which people."""

    def __init__(self, index: PhotoIndex) -> None:
        order = np.argsort(person_keys(index.names, seed=0), kind="stable")
        enough = np.searchsorted(np.cumsum(index.counts[order]), SAMPLE_PHOTOS) + 1
        chosen = np.zeros(len(index.names) + 1, bool)
        chosen[order[:enough]] = True
        self._chosen = chosen[index.number] & ~index.fake
        self._number = index.number
        self._pieces: list[pa.Table] = []

    def add(self, rows: np.ndarray, table: pa.Table) -> None:
        """Keep the rows that belong to the sample."""
        use = np.flatnonzero(self._chosen[rows])
        number = pa.array(self._number[rows[use]], pa.int64())
        self._pieces.append(pa.table({NUMBER: number, "embedding": table["embedding"].take(pa.array(use))}))

    def write(self, place: Location) -> None:
        """Write the sample; the order of its rows does not matter."""
        if self._pieces:
            place.write_bytes(parquet_bytes(pa.concat_tables(self._pieces)))


class _Encoder:
    """Numbers for names in the order in which they come; 0 for null and the empty name: nobody."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {"": 0}

    def encode(self, column: pa.ChunkedArray) -> np.ndarray:
        encoded = pc.fill_null(column.cast(pa.string()), "").combine_chunks().dictionary_encode()
        encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
        known = [self._numbers.setdefault(name, len(self._numbers)) for name in encoded.dictionary.to_pylist()]
        return np.array(known, np.int64)[encoded.indices.to_numpy()]

    def sorted(self) -> tuple[list[str], np.ndarray]:
        """The names in order, and the place of each number in that order; nobody is behind the last."""
        names = sorted(name for name in self._numbers if name)
        rank = np.empty(len(self._numbers), np.int64)
        rank[[self._numbers[name] for name in names]] = np.arange(len(names))
        rank[0] = len(names)
        return names, rank


def cut(counts: np.ndarray, photos_per_shard: int) -> np.ndarray:
    """The shard of each person [P] int64: consecutive people with at most `photos_per_shard` photos (or one person)."""
    shard_of, shard, held = np.empty(len(counts), np.int64), 0, 0
    for number, count in enumerate(counts.tolist()):
        if held and held + count > photos_per_shard:
            shard, held = shard + 1, 0
        shard_of[number] = shard
        held += count
    return shard_of


def _write_people(work: Location, index: PhotoIndex) -> None:
    columns = {"person": pa.array(index.names, pa.string()), "split": pa.array(index.splits, pa.string())}
    (work / PEOPLE).write_bytes(parquet_bytes(pa.table(columns)))


def _distribute(folder: Location, routed: Iterable[tuple[np.ndarray, pa.Table]]) -> None:
    """Write rows into the folders of their shards; memory holds `BUFFER` bytes of them."""
    held: dict[int, list[pa.Table]] = {}
    pieces: Counter[int] = Counter()
    size = 0

    def flush() -> None:
        for shard, tables_held in sorted(held.items()):
            place = folder / f"{shard:08d}" / f"{pieces[shard]:06d}.parquet"
            place.write_bytes(parquet_bytes(pa.concat_tables(tables_held)))
            pieces[shard] += 1
        held.clear()

    for shards, table in routed:
        if not len(shards):
            continue
        order = np.argsort(shards, kind="stable")
        table = table.take(pa.array(order))
        found, first = np.unique(shards[order], return_index=True)
        for shard, start, stop in zip(found.tolist(), first, np.r_[first[1:], len(order)], strict=True):
            held.setdefault(shard, []).append(table.slice(start, stop - start))
        size += table.nbytes
        if size >= BUFFER:
            flush()
            size = 0
    flush()


def check_columns(schema: pa.Schema) -> None:
    """Check that a photos table has no column that cleaning needs for itself.

    Raises:
        UserError: it has.
    """
    if NUMBER in schema.names:
        raise UserError(f"photos: the table has a column '{NUMBER}', which cleaning uses itself; rename it.")


@dataclass(frozen=True)
class PhotoShard:
    """Some people with all their N photos, sorted by person, then by name of the photo.

    photos: tables.PHOTOS and further columns, N rows; number: [N] int64, number of the person, or `people` where there
    is none; people: how many people the run has; units: [N, D] float32 unit vectors, zero without an embedding.
    """

    photos: pa.Table
    number: np.ndarray
    people: int
    units: np.ndarray

    @cached_property
    def embedded(self) -> np.ndarray:
        """Photos [N] bool that have an embedding which is finite and not zero."""
        return np.asarray(self.units.any(axis=1))

    @cached_property
    def fake(self) -> np.ndarray:
        """Photos [N] bool that are fakes."""
        return pc.fill_null(self.photos["is_fake"], False).to_numpy()

    @cached_property
    def real(self) -> np.ndarray:
        """Row numbers of the photos that people consist of: real, embedded, and with a person."""
        return np.flatnonzero(self.embedded & ~self.fake & (self.number < self.people))

    @cached_property
    def names(self) -> list[str]:
        """Keys of the photos, in order."""
        return self.photos["photo"].to_pylist()


def read_shard(work: Location, shard: int, people: int, dim: int) -> PhotoShard:
    """Read a shard that `make_plan` wrote.

    Args:
        work: the run's working folder.
        shard: its number.
        people: how many people the run has.
        dim: numbers in an embedding.
    """
    photos = _pieces(work / PHOTOS / f"{shard:08d}")
    assert photos is not None, f"shard {shard} has no photos"
    photos = photos.sort_by([(NUMBER, "ascending"), ("photo", "ascending")]).combine_chunks()
    vectors = _pieces(work / VECTORS / f"{shard:08d}")
    units = np.zeros((photos.num_rows, dim), np.float32)
    if vectors is not None:
        at = pc.index_in(photos["photo"], vectors["photo"].combine_chunks()).to_numpy(zero_copy_only=False)
        found = np.flatnonzero(~np.isnan(at.astype(np.float64)))
        units[found] = unit_vectors(vectors["embedding"])[at[found].astype(np.int64)]
    return PhotoShard(photos.drop_columns([NUMBER]), photos[NUMBER].to_numpy(), people, units)


def unit_vectors(column: pa.ChunkedArray) -> np.ndarray:
    """Embeddings [N, D] float32 divided by their lengths; zero where one is not finite or of length zero."""
    joined = column.combine_chunks()
    joined = joined.chunk(0) if isinstance(joined, pa.ChunkedArray) else joined
    vectors = joined.flatten().to_numpy().reshape(len(joined), -1)
    length = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    points = np.isfinite(length) & (length > 0)
    scale = np.where(points, 1 / np.where(points, length, 1), 0)
    return np.where(points[:, None], vectors, 0) * scale[:, None].astype(np.float32)


def _pieces(folder: Location) -> pa.Table | None:
    """All rows of a folder of pieces; None if there is none."""
    files = [folder / entry.path for entry in folder.files(recursive=False) if entry.path.endswith(".parquet")]
    return pa.concat_tables([read_part(file) for file in files]) if files else None
