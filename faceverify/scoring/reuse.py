"""Which embeddings of earlier runs can be taken, row by row: those made of the same photo, crop and model.

Blocks of the given tables are looked through by workers. What is taken is written at once as it will be published:

    .work/given/00000017.parquet           rows of `tables.embeddings`, of block 17 of all tables
    .work/given.numbers/00000017.parquet   the numbers of their photos
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify import tables
from faceverify.errors import UserError
from faceverify.inputs import read_schema
from faceverify.parts import parquet_bytes, part, write_file
from faceverify.provenance import Identifier, column_or_null, why_not, why_photo
from faceverify.scoring.numbering import joined
from faceverify.storage import Location
from faceverify.units import RowGroups, UnitMapper, row_groups

GIVEN, NUMBERS = "given", "given.numbers"
BLOCK_ROWS = 1 << 16  # of a table that one task looks through: a part of a good size
READ_ROWS = 8_192  # at a time

# What became of a row: taken; not looked for, because it points nowhere or an earlier table has the photo; or why it
# does not fit, apart from its photo; or what is wrong with its photo.
TAKEN, PASSED = "", "passed"
OTHER = ("of unknown origin", "other model", "other aligner", "other options of the aligner", "other forensic model")
OF_PHOTO = (
    "photo gone",
    "photo there now",
    "other landmarks",
    "photo identified in another way",
    "photo elsewhere",
    "photo changed",
)
OUTCOMES = (TAKEN, PASSED, *OTHER, *OF_PHOTO)
_CODE = {outcome: code for code, outcome in enumerate(OUTCOMES)}
_NOTHING = pa.scalar("", pa.large_string())
_FOUND = pa.schema([("number", pa.int64()), ("outcome", pa.uint8())])


@dataclass(frozen=True)
class Wanted:
    """What an embedding must be made of to be taken (see `faceverify.provenance`).

    forensic: digest of the forensic model that must have scored the photo; empty = none, whoever has.
    """

    model: str
    dim: int
    crop: str
    photos: Identifier
    forensic: str = ""

    @property
    def schema(self) -> pa.Schema:
        """Of the rows that are taken."""
        return tables.embeddings(self.dim, bool(self.forensic))


@dataclass(frozen=True)
class GivenTable:
    """One table of embeddings. prefix: put before the names of its photos."""

    files: list[Location]
    prefix: str = ""


@dataclass
class Reuse:
    """What was taken.

    dim: numbers of an embedding, 0 if no table was given; given: which photos have theirs, [N] bool; why_not: of the
    photos that have a row and do not.
    """

    dim: int
    given: np.ndarray
    why_not: Counter[str]


@dataclass(frozen=True)
class _Search:
    """What every task knows. lacking: which photos have no embedding yet, [N] bool; first_part: number of the part of
    the table's first block; model: the digest to be noted."""

    work: Location
    wanted: Wanted | None
    model: str
    lacking: np.ndarray
    prefix: str = ""
    first_part: int = 0


def blocks_of(table: GivenTable) -> list[RowGroups]:
    """What the tasks look through."""
    return row_groups(table.files, BLOCK_ROWS)


def take_given(
    photos: pa.Table, given: Sequence[GivenTable], wanted: Wanted | None, model: str, work: Location, mapper: UnitMapper
) -> Reuse:
    """Write the parts of the embeddings that can be taken; of several rows that fit, the first table's.

    Args:
        photos: what is known of the photos, in the order of their numbers: `photo` (large_string) and, unless all rows
            are wanted, `uri` and `landmarks`.
        given: the tables.
        wanted: what a row must be made of; None takes every row that points somewhere.
        model: digest of the model.
        work: the run's working folder.
        mapper: runs the work on blocks.

    Raises:
        UserError: a table names one of the photos twice.
    """
    for stage in (GIVEN, NUMBERS):
        (work / stage).delete()
    outcome = np.full(photos.num_rows, _CODE[PASSED], np.uint8)
    search = _Search(work, wanted, model, outcome != _CODE[TAKEN])
    for table in given:
        units = blocks_of(table)
        search = replace(search, prefix=table.prefix, lacking=outcome != _CODE[TAKEN])
        found = mapper.rows(_take_block, units, (search, photos), _FOUND)
        numbers, new = found["number"].to_numpy(), found["outcome"].to_numpy()
        if (np.bincount(numbers) > 1).any():
            raise UserError("embeddings: the table names a photo twice; its key `photo` must be unique.")
        # What was wrong with its photo says more of a row than that another table's is of another model.
        weaker = (new > _CODE[PASSED]) & (new < _CODE[OF_PHOTO[0]]) & (outcome[numbers] >= _CODE[OF_PHOTO[0]])
        use = (new != _CODE[PASSED]) & (outcome[numbers] != _CODE[TAKEN]) & ~weaker
        outcome[numbers[use]] = new[use]
        search = replace(search, first_part=search.first_part + len(units))
    counts = np.bincount(outcome, minlength=len(OUTCOMES)).tolist()
    why_not = Counter({why: n for why, n in zip(OUTCOMES, counts, strict=True) if n and why not in (TAKEN, PASSED)})
    dim = wanted.dim if wanted else dim_of(given[0]) if given else 0
    return Reuse(dim if given else 0, outcome == _CODE[TAKEN], why_not)


def dim_of(table: GivenTable) -> int:
    """Numbers in an embedding of a table."""
    return read_schema(table.files[0]).field("embedding").type.list_size


def _take_block(search: _Search, photos: pa.Table, block: RowGroups) -> pa.Table:
    """Look through one block: the numbers of the photos that are in it, and what became of their rows."""
    names = joined(chunk for table in block.read(["photo"]) for chunk in table["photo"].chunks)
    if search.prefix:
        names = pc.binary_join_element_wise(pa.scalar(search.prefix, pa.large_string()), names, _NOTHING)
    number = pc.fill_null(pc.index_in(names, value_set=photos["photo"].combine_chunks()), -1).to_numpy()
    outcome = np.full(len(number), _CODE[PASSED], np.uint8)
    taken: list[np.ndarray] = []
    target = part(search.work, GIVEN, search.first_part + block.number)
    schema = search.wanted.schema if search.wanted else tables.embeddings(dim_of(GivenTable([block.file])))
    columns = ["photo", "embedding", "model", "photo_version", "crop"]
    if search.wanted and search.wanted.forensic:
        there = read_schema(block.file).names
        columns += [name for name in tables.FORENSIC.names if name in there]

    def kept() -> Iterator[pa.Table]:
        yield schema.empty_table()
        start = 0
        for rows in block.read(columns, READ_ROWS):
            here = np.flatnonzero(number[start : start + len(rows)] >= 0)
            some, numbers = rows.take(pa.array(here)), number[start + here]
            vectors, found = _judge(search, photos, some, numbers)
            outcome[start + here] = found
            use = np.flatnonzero(found == _CODE[TAKEN])
            taken.append(numbers[use])
            named = pa.chunked_array([photos["photo"].combine_chunks().take(pa.array(numbers[use])).cast(pa.string())])
            yield _as_published(some.take(pa.array(use)), named, vectors[use], search, schema)
            start += len(rows)

    if not (number >= 0).any():
        return _FOUND.empty_table()
    rows = write_file(target, kept())
    if rows:
        numbers = pa.table({"number": np.concatenate(taken).astype(np.int64)})
        part(search.work, NUMBERS, search.first_part + block.number).write_bytes(parquet_bytes(numbers))
    else:
        target.delete()
    there = np.flatnonzero(number >= 0)
    return pa.table([number[there].astype(np.int64), outcome[there]], schema=_FOUND)


def _as_published(
    rows: pa.Table, names: pa.ChunkedArray, vectors: np.ndarray, search: _Search, schema: pa.Schema
) -> pa.Table:
    columns = {
        "photo": names,
        "embedding": pa.FixedSizeListArray.from_arrays(
            pa.array(vectors.reshape(-1)), schema.field("embedding").type.list_size
        ),
        "norm": np.linalg.norm(vectors, axis=1),
        "model": pa.repeat(search.model, len(vectors)),
        **{name: column_or_null(rows, name) for name in ("photo_version", "crop", *tables.FORENSIC.names)},
    }
    return pa.table(columns).select(schema.names).cast(schema)


def _judge(search: _Search, photos: pa.Table, rows: pa.Table, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The vectors [R,D] of rows, and what is to become of these, [R] uint8."""
    column = rows["embedding"].combine_chunks()
    dim = rows.schema.field("embedding").type.list_size
    vectors = np.zeros((len(numbers), dim), np.float32)
    if rows.num_rows:
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        vectors[valid] = column.drop_null().flatten().to_numpy().reshape(-1, dim)
    norms = np.linalg.norm(vectors, axis=1)
    outcome = np.zeros(len(numbers), np.uint8)
    if search.wanted is not None and rows.num_rows:
        outcome = _origins(search.wanted, rows, dim)
    pointing = np.isfinite(norms) & (norms > 0)
    outcome[(outcome == _CODE[TAKEN]) & ~pointing] = _CODE[PASSED]
    outcome[~search.lacking[numbers]] = _CODE[PASSED]
    if search.wanted is not None:
        _check_photos(search.wanted, photos, rows, numbers, outcome)
    return vectors, outcome


def _origins(wanted: Wanted, rows: pa.Table, dim: int) -> np.ndarray:
    """Which rows are of the wanted model and crop, and of a known photo, and why the others are not."""
    want = {"photo_version": "any", "crop": wanted.crop, "model": wanted.model}
    columns = {name: column_or_null(rows, name) for name in want}
    kinds = pa.table({"model": columns["model"], "crop": columns["crop"]})
    known = columns["photo_version"].is_valid().to_numpy()
    outcome = np.full(rows.num_rows, _CODE["of unknown origin"], np.uint8)
    for kind in kinds.group_by(["model", "crop"]).aggregate([]).to_pylist():
        same = pc.and_(_equal(columns["model"], kind["model"]), _equal(columns["crop"], kind["crop"])).to_numpy()
        outcome[same & known] = _CODE[why_not({"photo_version": "any", **kind}, want)]
    if wanted.forensic:
        scored = pc.fill_null(pc.equal(column_or_null(rows, "forensic_with").cast(pa.string()), wanted.forensic), False)
        outcome[(outcome == _CODE[TAKEN]) & ~scored.to_numpy()] = _CODE["other forensic model"]
    if dim != wanted.dim:
        outcome[outcome == _CODE[TAKEN]] = _CODE["other model"]
    return outcome


def _check_photos(wanted: Wanted, photos: pa.Table, rows: pa.Table, numbers: np.ndarray, outcome: np.ndarray) -> None:
    """Enter of rows to be taken whose photos are no longer what they were why that is so, in place."""
    candidates = np.flatnonzero(outcome == _CODE[TAKEN])
    now = wanted.photos.versions(photos.take(pa.array(numbers[candidates]))).to_pylist()
    then = column_or_null(rows, "photo_version").take(pa.array(candidates)).to_pylist()
    for row, have, is_now in zip(candidates.tolist(), then, now, strict=True):
        outcome[row] = _CODE[why_photo(have, is_now)]


def _equal(column: pa.ChunkedArray, value: str | None) -> pa.ChunkedArray:
    return column.is_null() if value is None else pc.fill_null(pc.equal(column, value), False)
