"""The plan of a scoring run: pairs numbered and cut into shards, and the distinct photos they name.

    .work/pairs/      the units of the list: tables.PAIRS + extra columns + a, b (see `numbering`) + fault
    .work/numbers/    the numbers of the photos
    .work/known/      what is known of each photo: tables.PHOTOS, in the order of the numbers, if photos are given
    .work/photos/     of these the ones that are to be embedded, with their `row` (the number)
    .work/given/      embeddings that are re-used (see `reuse`)

Workers read the list and the embeddings. The process that plans holds the names of the photos and some bytes for each,
and nothing of the size of the list.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify import tables
from faceverify.datasets.pair_units import PairList
from faceverify.errors import UserError
from faceverify.inputs import stream_table
from faceverify.naming import Naming
from faceverify.scoring import named
from faceverify.scoring.csv_output import CsvConfig, chosen_columns, left_out
from faceverify.scoring.numbering import (
    Numbering,
    PlannedPairs,
    count_pairs_with,
    joined,
    names_of_list,
    names_of_table,
    repeated,
    write_pairs,
)
from faceverify.scoring.reuse import GivenTable, Wanted, take_given
from faceverify.shards import write_shards
from faceverify.storage import Location
from faceverify.units import UnitMapper

KNOWN_ROWS = 65_536  # of a shard of `known`


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
    shards_of_units: list[int] = field(default_factory=list)  # how many shards each unit of the list has

    def as_json(self) -> dict[str, Any]:
        """For `RunFolder.note`."""
        return asdict(self)


def make_plan(
    pairs: PairList,
    photos: named.Photos,
    embeddings: Sequence[list[Location]],
    wanted: Wanted | None,
    work: Location,
    pairs_per_shard: int,
    photos_per_shard: int,
    mapper: UnitMapper,
    max_failed: float = 1.0,
    model: str = "",
) -> ScorePlan:
    """Cut the list into shards, and find the photos that it names.

    Args:
        pairs: the list.
        photos: the files of a photos table, or the root folder of the photos, or None if an embeddings table holds all.
        embeddings: embeddings tables to re-use, each as its files; of rows that fit, the first table's is taken.
        wanted: what a row must be made of to be taken; None takes all rows, where no photos are given.
        work: the run's working folder.
        pairs_per_shard: rows per shard of pairs.
        photos_per_shard: rows per shard of photos.
        mapper: runs what workers do.
        max_failed: the share of pairs or photos that may be missing.
        model: digest of the model.

    Raises:
        UserError: the list cannot be read, no pairs at all, a table with a photo twice, or too many photos that are not
            there.
    """
    for name in ("pairs", "numbers", "known", "photos"):
        (work / name).delete()
    known, planned = _read(pairs, photos, embeddings, work, pairs_per_shard, mapper)
    numbers = np.flatnonzero(planned.used)
    of_known = np.full(len(known), -1, np.int32)
    of_known[numbers] = np.arange(len(numbers))
    numbering = Numbering(of_known, planned.unknown)
    numbering.write(work / "numbers")
    names = joined([known.take(pa.array(numbers)), planned.unknown])
    naming = _look_up(names, planned.unknown, photos, embeddings)

    def failing() -> int:
        failed = pc.is_in(names, value_set=pa.array(naming.missing, pa.large_string())).to_numpy(zero_copy_only=False)
        return count_pairs_with(failed, numbering, len(planned.shards), work, mapper)

    named.check(planned.rows, len(names), naming, failing, planned.strays, photos, max_failed)
    rows = photo_rows(names, photos, naming.others) if photos is not None else pa.table({"photo": names})
    given = [GivenTable(files) for files in embeddings]
    cut = (planned.rows, len(names), sum(planned.shards))
    plan = plan_photos(rows, given, wanted, model, work, photos_per_shard, mapper, cut)
    return replace(plan, found=naming.ways, shards_of_units=planned.shards)


def plan_photos(
    rows: pa.Table,
    given: Sequence[GivenTable],
    wanted: Wanted | None,
    model: str,
    work: Location,
    photos_per_shard: int,
    mapper: UnitMapper,
    cut: tuple[int, int, int],
) -> ScorePlan:
    """Take the embeddings that are given, and cut the photos that have none into shards.

    Args:
        rows: `photo` (large_string) and, if photos are given, the other columns of tables.PHOTOS, in the order of the
            numbers.
        given, wanted, model, mapper: see `take_given`.
        work: the run's working folder.
        photos_per_shard: rows per shard of photos.
        cut: pairs, photos, shards of pairs.

    Raises:
        UserError: a table names a photo twice.
    """
    shards = 0
    reuse = take_given(
        rows.select([n for n in ("photo", "uri", "landmarks") if n in rows.column_names]),
        given,
        wanted,
        model,
        work,
        mapper,
    )
    if "uri" in rows.column_names:
        planned = rows.cast(PLANNED)
        write_shards(work / "known", [planned], KNOWN_ROWS)
        numbered = planned.add_column(0, "row", pa.array(np.arange(len(planned))))
        shards = write_shards(work / "photos", [numbered.filter(pa.array(~reuse.given))], photos_per_shard)
    taken = int(np.count_nonzero(reuse.given))
    return ScorePlan(*cut, shards, photos_per_shard, reuse.dim, taken, dict(reuse.why_not))


def _read(
    pairs: PairList,
    photos: named.Photos,
    embeddings: Sequence[list[Location]],
    work: Location,
    pairs_per_shard: int,
    mapper: UnitMapper,
) -> tuple[pa.Array, PlannedPairs]:
    """The known names, and what became of the list."""
    pairs = pairs.counted(mapper)
    try:
        if isinstance(photos, Location):
            known = names_of_list(pairs.units, mapper)
        else:
            known = names_of_table(photos if photos is not None else [f for one in embeddings for f in one], mapper)
        with ThreadPoolExecutor(1) as pool:  # while workers read the list
            twice = pool.submit(repeated, known)
            planned = write_pairs(pairs.units, known, work, pairs_per_shard, mapper)
    except UserError:
        if len(pairs.units) == 1:
            raise
        # Who reads the whole list names the first mistake in it, and its row.
        (work / "pairs").delete()
        return _read(PairList(pairs.whole, [pairs.whole]), photos, embeddings, work, pairs_per_shard, mapper)
    if planned.rows == 0:
        raise UserError("pairs: the list is empty; there is nothing to score.")
    if (twice.result() & planned.used).any():
        table = "embeddings" if photos is None else "photos"
        raise UserError(f"{table}: the table names a photo twice; its key `photo` must be unique.")
    return known, planned


def _look_up(names: pa.Array, unknown: pa.Array, photos: named.Photos, embeddings: Sequence[list[Location]]) -> Naming:
    """What there is for the names; those of a table are known to be there."""
    if not isinstance(photos, Location) and not len(unknown):
        return Naming()
    files = [file for table in embeddings for file in table]
    return named.look_up((unknown if photos is None else names).to_pylist(), photos, files)


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


# -- what is known of photos -------------------------------------------------------------------------------------------

# A photo that no table knows has no uri: scoring says so in the status of its pairs.
PLANNED = pa.schema([f.with_nullable(True) for f in tables.PHOTOS])
_NOTHING = pa.scalar("", pa.large_string())
_ROWS = PLANNED.set(0, pa.field("photo", pa.large_string()))


def photo_rows(names: pa.Array, photos: list[Location] | Location, others: dict[str, str]) -> pa.Table:
    """One row of tables.PHOTOS per name, in order, where `photo` is large_string.

    A photo keeps the name that the list has for it; `others` holds the names under which some of them are there.

    Args:
        names: distinct, large_string.
        photos: the files of a table, or the folder.
        others: see above.

    Raises:
        UserError: the table has a photo twice.
    """
    there = names
    if others:
        at = pc.index_in(names, value_set=pa.array(list(others), pa.large_string()))
        there = pc.coalesce(pa.array(list(others.values()), pa.large_string()).take(at), names)
    if isinstance(photos, Location):
        uris = pc.binary_join_element_wise(pa.scalar(f"{photos.uri}/", pa.large_string()), there, _NOTHING)
        return bare_rows(names, uris.cast(pa.string()))
    pieces, found = [bare_rows(names.slice(0, 0))], [np.zeros(0, np.int64)]
    distinct = there.unique()
    for table in stream_table(photos, PLANNED.names):
        at = pc.index_in(joined(table["photo"].chunks), value_set=distinct)
        use = at.is_valid()
        pieces.append(table.filter(use).select(PLANNED.names).cast(_ROWS))
        found.append(at.drop_null().to_numpy().astype(np.int64))
    order = np.concatenate(found)
    if len(np.unique(order)) < len(order):
        raise UserError("photos: the table names a photo twice; its key `photo` must be unique.")
    row_of = np.full(len(distinct), -1)
    row_of[order] = np.arange(len(order))
    wanted = row_of[pc.index_in(there, value_set=distinct).to_numpy()]
    rows = pa.concat_tables(pieces).take(pa.array(wanted, mask=wanted < 0))
    return rows.set_column(0, _ROWS.field(0), names)


def bare_rows(names: pa.Array, uris: pa.Array | None = None) -> pa.Table:
    """Rows of photos of which nothing but these is known."""
    columns = {name: pa.nulls(len(names), _ROWS.field(name).type) for name in _ROWS.names}
    return pa.table(columns | {"photo": names} | ({} if uris is None else {"uri": uris}), schema=_ROWS)
