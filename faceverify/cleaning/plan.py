"""The plan of a cleaning run: people numbered in the order of their names, photos and embeddings joined in shards.

    .work/people.parquet                   name and split; a person's number is the row
    .work/photos/<shard>/<unit>.parquet    rows of the photos table of some people, and the person's number
    .work/vectors/<shard>/<unit>.parquet   photo, embedding
    .work/sample/<unit>.parquet            the real photos of some people: number, embedding; to choose thresholds from

All photos of a person are in one shard, and a shard is a run of people in the order of their names, so that what comes
out does not depend on how it was cut. Photos without a person get the number behind the last one.
Both tables are read and distributed unit by unit (row groups, see `faceverify.units`); embeddings find their person by
an index of hashed keys, 13 bytes per photo. The driver holds the names and counts of people only.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify.cleaning.decisions_file import ReviewDecision
from faceverify.errors import UserError
from faceverify.hashed_keys import HASHES, REPEATED, find_rows, repeated_hashes
from faceverify.inputs import read_schema
from faceverify.pairs.chance import person_keys
from faceverify.parts import parquet_bytes, read_part
from faceverify.provenance import hash_names
from faceverify.storage import Location
from faceverify.units import Blocks, RowGroups, UnitMapper, row_groups
from faceverify.vectors import lengths

PHOTOS, VECTORS, PEOPLE, SAMPLE = "photos", "vectors", "people.parquet", "sample"
NUMBER = "_person_number"
PHOTOS_PER_UNIT, VECTORS_PER_UNIT = 131_072, 32_768  # at least, where row groups are no larger
BUFFER = 1 << 26  # bytes of rows held before they are written
SAMPLE_PHOTOS = 4096
_COUNTS = pa.schema([("person", pa.string()), ("split", pa.string()), ("photos", pa.int64())])
_OWNERS = pa.schema([("hash", pa.uint64()), ("number", pa.int32())])


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


@dataclass(frozen=True)
class NumberedPeople:
    """All people of a run.

    names: [P] sorted; splits: [P], null where their photos are in none; counts: [P + 1] int64, photos of each, the last
    of nobody.
    """

    names: pa.Array
    splits: pa.Array
    counts: np.ndarray


def make_plan(
    photos: list[Location],
    embeddings: list[Location],
    decisions: list[ReviewDecision],
    work: Location,
    photos_per_shard: int,
    mapper: UnitMapper,
) -> CleanPlan:
    """Read the photos twice and the embeddings once, and write the shards (again, if that was interrupted).

    Args:
        photos: files of the photos table.
        embeddings: files of the embeddings table; photos that it lacks are planned without.
        decisions: those of the reviewers.
        work: the run's working folder.
        photos_per_shard: a shard is closed before it gets larger than this, if it holds more than one person.
        mapper: does the work.

    Raises:
        UserError: no photos, a photo named twice, or a decision about a photo that is not there or of another person.
    """
    for name in (PHOTOS, VECTORS, PEOPLE, SAMPLE):
        (work / name).delete()
    units = row_groups(photos, PHOTOS_PER_UNIT)
    people = number_people(mapper.rows(count_photos, units, (), _COUNTS))
    shard_of = cut(people.counts, photos_per_shard)
    index = mapper.blocks(distribute_photos, units, (work, people.names, shard_of), sort_by=["hash"])
    count = _count_unique(mapper, index, "photos")
    _check_decisions(mapper, index, people.names, decisions)
    vectors = row_groups(embeddings, VECTORS_PER_UNIT)
    routes = (work, index, shard_of, _sampled(people))
    found = mapper.blocks(distribute_vectors, vectors, routes, sort_by=["hash"], hold=False)
    embedded = _count_unique(mapper, found, "embeddings")
    (work / PEOPLE).write_bytes(parquet_bytes(pa.table({"person": people.names, "split": people.splits})))
    shards = int(shard_of[people.counts > 0].max()) + 1
    dim = read_schema(embeddings[0]).field("embedding").type.list_size
    return CleanPlan(count, len(people.names), shards, dim, embedded)


def count_photos(unit: RowGroups) -> pa.Table:
    """How many photos each person has in each split; null and the empty name are nobody."""
    pieces = [piece.select(["person", "split"]) for piece in unit.read(["person", "split"])]
    rows = pa.concat_tables(pieces).group_by(["person", "split"]).aggregate([([], "count_all")])
    person = pc.fill_null(rows["person"].cast(pa.string()), "")
    split = pc.if_else(pc.equal(rows["split"], ""), None, rows["split"].cast(pa.string()))
    return pa.table([person, split, rows["count_all"]], schema=_COUNTS)


def number_people(counts: pa.Table) -> NumberedPeople:
    """Number the people in the order of their names.

    Args:
        counts: by `count_photos` of all units, in any order.

    Raises:
        UserError: there are no photos.
    """
    if not counts.num_rows:
        raise UserError("photos: the table is empty; there is nothing to clean.")
    found = counts.group_by("person").aggregate([("photos", "sum"), ("split", "max")]).sort_by("person")
    nobody = pc.equal(found["person"], "")
    of_nobody = pc.sum(found.filter(nobody)["photos_sum"]).as_py() or 0
    found = found.filter(pc.invert(nobody)).combine_chunks()
    names, splits = (found[name].combine_chunks() for name in ("person", "split_max"))
    return NumberedPeople(names, splits, np.r_[found["photos_sum"].to_numpy(), of_nobody].astype(np.int64))


def distribute_photos(work: Location, names: pa.Array, shard_of: np.ndarray, unit: RowGroups) -> pa.Table:
    """Write the photos of a unit, with their person's number, into the folders of their shards.

    Returns:
        An index by `hash` of the photo's key: number of the person, and whether it is a fake.
    """
    index = []

    def routed() -> Iterable[tuple[np.ndarray, pa.Table]]:
        for table in unit.read():
            of = pc.fill_null(pc.index_in(table["person"].cast(pa.string()), names), len(names))
            number = of.to_numpy().astype(np.int64)
            fake = pc.fill_null(table["is_fake"], False).to_numpy()
            index.append({"hash": hash_names(table["photo"]), "number": number.astype(np.int32), "is_fake": fake})
            yield shard_of[number], table.append_column(NUMBER, pa.array(number))

    _distribute(work / PHOTOS, unit.number, routed())
    joined = {name: np.concatenate([piece[name] for piece in index]) for name in ("hash", "number", "is_fake")}
    return pa.table(joined).sort_by("hash")


def distribute_vectors(
    work: Location, index: list[pa.Table], shard_of: np.ndarray, sampled: np.ndarray, unit: RowGroups
) -> pa.Table:
    """Write photo and embedding of the photos that are in the photos table into the folders of their shards.

    Args:
        work: the run's working folder.
        index: by `distribute_photos`, of all photos.
        shard_of: [P + 1] int64, shard of each person.
        sampled: [P + 1] bool, people whose real photos go into the sample.
        unit: of the embeddings table.

    Returns:
        The sorted hashes of the photos found.
    """
    hashes, sample = [], []
    numbers, fakes = (_joined(index, name) for name in ("number", "is_fake"))
    first_row = np.cumsum([0, *(block.num_rows for block in index)])

    def routed() -> Iterable[tuple[np.ndarray, pa.Table]]:
        for table in unit.read(["photo", "embedding"], rows=8192):
            wanted = hash_names(table["photo"])
            block, row = find_rows(wanted, index)
            known = np.flatnonzero((block >= 0) & table["embedding"].is_valid().to_numpy())
            table, at = table.take(pa.array(known)), first_row[block[known]] + row[known]
            number = numbers[at].astype(np.int64)
            hashes.append(wanted[known])
            use = np.flatnonzero(sampled[number] & ~fakes[at])
            if len(use):
                rows = pa.array(use)
                sample.append(pa.table({NUMBER: number[use], "embedding": table["embedding"].take(rows)}))
            yield shard_of[number], table

    _distribute(work / VECTORS, unit.number, routed())
    if sample:
        place = work / SAMPLE / f"{unit.number:08d}.parquet"
        place.write_bytes(parquet_bytes(pa.concat_tables(sample)))
    return pa.table({"hash": np.sort(np.concatenate([np.zeros(0, np.uint64), *hashes]))}, schema=HASHES)


def _joined(index: list[pa.Table], name: str) -> np.ndarray:
    """A column of all blocks of an index; of a single one without a copy."""
    columns = [block[name].to_numpy() for block in index]
    return columns[0] if len(columns) == 1 else np.concatenate(columns)


def owners_of(hashes: np.ndarray, block: pa.Table) -> pa.Table:
    """The persons' numbers of those of some photos, by hash, that are in a block of the index."""
    found, row = find_rows(hashes, [block])
    here = np.flatnonzero(found >= 0)
    return pa.table({"hash": hashes[here], "number": block["number"].to_numpy()[row[here]]}, schema=_OWNERS)


def _count_unique(mapper: UnitMapper, index: Blocks, table: str) -> int:
    """How many photos there are, by blocks sorted by hash.

    Raises:
        UserError: one comes twice.
    """
    found = mapper.rows(repeated_hashes, index, (), REPEATED)
    if any(found["repeated"].to_pylist()):
        raise UserError(f"{table}: the table names a photo twice; its key `photo` must be unique.")
    return pc.sum(found["rows"]).as_py() or 0


def _check_decisions(mapper: UnitMapper, index: Blocks, names: pa.Array, decisions: list[ReviewDecision]) -> None:
    """Check that all decisions are about photos of this table, and name their persons.

    Raises:
        UserError: names the photo.
    """
    if not decisions:
        return
    hashes = hash_names(pa.chunked_array([pa.array([d.photo for d in decisions], pa.string())]))
    found = mapper.rows(owners_of, index, (hashes,), _OWNERS)
    number_of = dict(zip(found["hash"].to_pylist(), found["number"].to_pylist(), strict=True))
    for decision, key in zip(decisions, hashes.tolist(), strict=True):
        subject = f"decisions: the photo '{decision.photo}' (decided by {decision.reviewer})"
        number = number_of.get(key)
        if number is None:
            raise UserError(f"{subject} is not in the photos table; nothing was applied: is it the right file?")
        person = names[number].as_py() if number < len(names) else ""
        if person != decision.person:
            raise UserError(
                f"{subject} is of '{person}' here, but of '{decision.person}' there; nothing was applied: was the "
                "table made again since the review?"
            )


def _sampled(people: NumberedPeople) -> np.ndarray:
    """As many people as have SAMPLE_PHOTOS photos together, [P + 1] bool; a hash of their names decides which."""
    order = np.argsort(person_keys(people.names.to_pylist(), seed=0), kind="stable")
    enough = np.searchsorted(np.cumsum(people.counts[order]), SAMPLE_PHOTOS) + 1
    chosen = np.zeros(len(people.counts), bool)
    chosen[order[:enough]] = True
    return chosen


def cut(counts: np.ndarray, photos_per_shard: int) -> np.ndarray:
    """The shard of each person [P] int64: consecutive people with at most `photos_per_shard` photos (or one person)."""
    shard_of, shard, held = np.empty(len(counts), np.int64), 0, 0
    for number, count in enumerate(counts.tolist()):
        if held and held + count > photos_per_shard:
            shard, held = shard + 1, 0
        shard_of[number] = shard
        held += count
    return shard_of


def _distribute(folder: Location, unit: int, routed: Iterable[tuple[np.ndarray, pa.Table]]) -> None:
    """Write rows of a unit into the folders of their shards; memory holds `BUFFER` bytes of them.

    The names of the files depend on the unit and on its rows alone, so doing it again replaces them.
    """
    held: dict[int, list[pa.Table]] = {}
    pieces: Counter[int] = Counter()
    size = 0

    def flush() -> None:
        for shard, tables_held in sorted(held.items()):
            place = folder / f"{shard:08d}" / f"{unit:08d}-{pieces[shard]:04d}.parquet"
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
    length = lengths(vectors)
    points = np.isfinite(length) & (length > 0)
    # Not `vectors.unit`: a bad embedding is zero here, and decisions rest on products with a float32 factor.
    scale = np.where(points, 1 / np.where(points, length, 1), 0)
    return np.where(points[:, None], vectors, 0) * scale[:, None].astype(np.float32)


def read_sample(work: Location) -> pa.Table | None:
    """The real photos of some people: NUMBER and embedding; None if none of them has an embedding."""
    return _pieces(work / SAMPLE)


def _pieces(folder: Location) -> pa.Table | None:
    """All rows of a folder of pieces; None if there is none."""
    files = [folder / entry.path for entry in folder.files(recursive=False) if entry.path.endswith(".parquet")]
    return pa.concat_tables([read_part(file) for file in files]) if files else None
