"""The names of a list of pairs -> numbers of photos, unit by unit of the list.

`a` and `b` of a planned pair are the places of its photos among the *known names*: those of the photos table, of the
embeddings, or, where photos lie in a folder, of the list itself. UNKNOWN stands for a name that is not among them,
FAULT for a pair that leaves the photos' root. `Numbering` makes numbers of distinct photos of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from faceverify.datasets.pair_units import PairUnit
from faceverify.errors import UserError
from faceverify.inputs import stream_table
from faceverify.parts import parquet_bytes, read_part
from faceverify.redaction import first_line
from faceverify.scoring.named import Strays
from faceverify.shards import rebatched
from faceverify.storage import Location
from faceverify.tables import parquet_options
from faceverify.units import RowGroups, UnitMapper, row_groups

FAULT, UNKNOWN = -1, -2
GROUP = 1 << 20  # pairs whose names are looked up at a time
NAMES_ROWS = 1 << 18  # rows of a table whose names one task reads

_NAMES = pa.schema([("number", pa.int64()), ("names", pa.large_list(pa.large_string()))])
_PLANNED = pa.schema(
    [
        ("number", pa.int64()),  # of the unit
        ("rows", pa.int64()),
        ("shards", pa.int64()),
        ("used", pa.binary()),  # a bit per known name
        ("unknown", pa.large_list(pa.large_string())),
        ("strays", pa.int64()),  # pairs that leave the root
        ("stray_names", pa.list_(pa.string())),
    ]
)
_COUNT = pa.schema([("pairs", pa.int64())])


@dataclass(frozen=True)
class Numbering:
    """The numbers of the distinct photos that a list names.

    of_known: [K] int32, the number of each known name, -1 where the list does not name it; unknown: the other names,
    whose numbers follow.
    """

    of_known: np.ndarray
    unknown: pa.Array

    @property
    def photos(self) -> int:
        """How many there are."""
        return self._known + len(self.unknown)

    @property
    def _known(self) -> int:
        return int(self.of_known.max(initial=-1)) + 1

    def of(self, pairs: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """The numbers [P] int64 of both photos of planned pairs; -1 for a pair that leaves the root."""
        one, other = (self._of(pairs[code], pairs[f"photo_{code}"]) for code in ("a", "b"))
        return one, other

    def _of(self, codes: pa.ChunkedArray, names: pa.ChunkedArray) -> np.ndarray:
        code = codes.to_numpy()
        numbers = np.append(self.of_known, -1)[np.maximum(code, FAULT)].astype(np.int64)
        if len(lacking := np.flatnonzero(code == UNKNOWN)):
            some = names.take(pa.array(lacking))
            some = some.combine_chunks().cast(pa.large_string())
            numbers[lacking] = self._known + pc.index_in(some, value_set=self.unknown).to_numpy()
        return numbers

    def write(self, folder: Location) -> None:
        """Keep it."""
        known = pa.table({"number": pa.array(self.of_known)})
        (folder / "known.parquet").write_bytes(parquet_bytes(known))
        (folder / "unknown.parquet").write_bytes(parquet_bytes(pa.table({"photo": self.unknown})))

    @classmethod
    def read(cls, folder: Location) -> "Numbering":
        """What `write` kept."""
        known, unknown = (read_part(folder / f"{name}.parquet") for name in ("known", "unknown"))
        return cls(known["number"].to_numpy(), joined(unknown["photo"].chunks))


def joined(chunks: Iterable[pa.Array]) -> pa.Array:
    """Strings as one array, of any length."""
    return pa.chunked_array([chunk.cast(pa.large_string()) for chunk in chunks], pa.large_string()).combine_chunks()


# -- known names -------------------------------------------------------------------------------------------------------


def names_of_table(files: list[Location], mapper: UnitMapper) -> pa.Array:
    """The column `photo` of a table, in order."""
    return _in_order(mapper.rows(_read_names, row_groups(files, NAMES_ROWS), (), _NAMES))


def _read_names(groups: RowGroups) -> pa.Table:
    return _named(groups.number, joined(c for table in groups.read(["photo"]) for c in table["photo"].chunks))


def names_of_list(units: Sequence[PairUnit], mapper: UnitMapper) -> pa.Array:
    """The distinct names of a list, without those of pairs that leave the root, in the order of first appearance."""
    return _in_order(mapper.rows(_distinct_names, units, (), _NAMES)).unique()


def _distinct_names(unit: PairUnit) -> pa.Table:
    names = joined([])
    for group in _groups(unit):
        sides = (piece[f"photo_{side}"].filter(piece["fault"].is_null()) for piece in group for side in ("a", "b"))
        names = joined([names, *(chunk for side in sides for chunk in side.chunks)]).unique()
    return _named(unit.number, names)


def _named(number: int, names: pa.Array) -> pa.Table:
    return pa.table([[number], pa.LargeListArray.from_arrays([0, len(names)], names)], schema=_NAMES)


def _in_order(found: pa.Table) -> pa.Array:
    by_number = {row: chunk for row, chunk in zip(found["number"].to_pylist(), _values(found["names"]), strict=True)}
    return joined(by_number[number] for number in sorted(by_number))


def _values(lists: pa.ChunkedArray) -> Iterator[pa.Array]:
    for chunk in lists.chunks:
        for row in range(len(chunk)):
            yield chunk.slice(row, 1).flatten()


def repeated(names: pa.Array) -> np.ndarray:
    """Which names occur more than once, [N] bool; a null is no name."""
    encoded = names.dictionary_encode()
    if len(encoded.dictionary) == len(names):
        return np.zeros(len(names), bool)
    indices = encoded.indices.fill_null(len(encoded.dictionary)).to_numpy()
    counts = np.bincount(indices, minlength=len(encoded.dictionary) + 1)
    counts[-1] = 0
    return counts[indices] > 1


# -- pairs -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlannedPairs:
    """What became of a list. rows: pairs; shards: of each unit; used: which known names are named, [K] bool; unknown:
    the other names; strays: pairs that leave the root."""

    rows: int
    shards: list[int]
    used: np.ndarray
    unknown: pa.Array
    strays: Strays


def write_pairs(
    units: Sequence[PairUnit], known: pa.Array, work: Location, shard_rows: int, mapper: UnitMapper
) -> PlannedPairs:
    """Cut the units of a list into shards, with the columns `a` and `b`.

    Args:
        units: of the list.
        known: distinct names, large_string.
        work: the run's working folder.
        shard_rows: pairs of a shard; the last one of a unit may have fewer.
        mapper: runs the work on units.
    """
    found = mapper.rows(_write_unit, units, (known, work, shard_rows), _PLANNED).sort_by("number")
    used = np.zeros(-(-len(known) // 8), np.uint8)
    for bits in found["used"]:
        used |= np.frombuffer(bits.as_buffer(), np.uint8)
    strays = Strays()
    for count, names in zip(found["strays"].to_pylist(), found["stray_names"].to_pylist(), strict=True):
        strays.add(count, names)
    named = np.unpackbits(used, count=len(known)).astype(bool)
    unknown = joined(_values(found["unknown"])).unique()
    return PlannedPairs(int(pc.sum(found["rows"]).as_py()), found["shards"].to_pylist(), named, unknown, strays)


def _write_unit(known: pa.Array, work: Location, shard_rows: int, unit: PairUnit) -> pa.Table:
    used, unknown, strays = np.zeros(len(known), bool), joined([]), Strays()
    rows = 0

    def numbered() -> Iterator[pa.Table]:
        nonlocal rows, unknown
        for group in _groups(unit):
            names = [pc.if_else(piece["fault"].is_null(), piece[f"photo_{x}"], None) for piece in group for x in "ab"]
            together = joined(chunk for name in names for chunk in name.chunks)
            found = pc.index_in(together, value_set=known)
            lacking = pc.and_(found.is_null(), together.is_valid())
            unknown = joined([unknown, together.filter(lacking)]).unique()
            codes = pc.if_else(lacking, UNKNOWN, pc.fill_null(found, FAULT)).cast(pa.int32())
            used[found.drop_null().to_numpy()] = True
            at = 0
            for piece in group:
                strays.see(piece)
                for side in "ab":
                    piece = piece.append_column(side, codes.slice(at, len(piece)))
                    at += len(piece)
                rows += len(piece)
                yield piece

    shards = _write_shards(pairs_file(work, unit.number), rebatched(numbered(), shard_rows))
    values = [unit.number], [rows], [shards], [np.packbits(used).tobytes()]
    lists = pa.LargeListArray.from_arrays([0, len(unknown)], unknown), [strays.pairs], [strays.names]
    return pa.table([*values, *lists], schema=_PLANNED)


def _groups(unit: PairUnit) -> Iterator[list[pa.Table]]:
    """The pieces of a unit, as many at a time as have GROUP pairs together.

    Raises:
        UserError: the list cannot be read.
    """
    held: list[pa.Table] = []
    try:
        for piece in unit.pieces():
            held.append(pa.Table.from_batches([piece]) if isinstance(piece, pa.RecordBatch) else piece)
            if sum(map(len, held)) >= GROUP:
                yield held
                held = []
    except pa.ArrowException as error:
        raise UserError(f"pairs: the list cannot be read ({first_line(error)}).") from None
    if held:
        yield held


def _write_shards(file: Location, shards: Iterator[pa.Table]) -> int:
    """Write tables of one schema as row groups of one file; returns how many. Without tables there is no file."""
    first = next(shards, None)
    if first is None:
        return 0
    count, options = 0, parquet_options(first.schema)
    with file.open_output() as stream, pq.ParquetWriter(stream, first.schema, **options) as writer:
        for shard in chain([first], shards):
            writer.write_table(shard, row_group_size=len(shard))
            count += 1
    return count


def pairs_file(work: Location, unit: int) -> Location:
    """Where the planned pairs of a unit are."""
    return work / "pairs" / f"{unit:06d}.parquet"


def read_pairs_shard(work: Location, shards: Sequence[int], shard: int, dictionaries: Iterable[str] = ()) -> pa.Table:
    """The pairs of one shard.

    Args:
        work: the run's working folder.
        shards: how many each unit has.
        shard: its number among all.
        dictionaries: columns that stay dictionary-encoded.
    """
    ends = np.cumsum(shards)
    unit = int(np.searchsorted(ends, shard, "right"))
    with pairs_file(work, unit).open_input() as stream:
        file = pq.ParquetFile(stream, read_dictionary=list(dictionaries))
        return file.read_row_group(shard - int(ends[unit]) + shards[unit])


def count_pairs_with(failed: np.ndarray, numbering: Numbering, units: int, work: Location, mapper: UnitMapper) -> int:
    """How many planned pairs have a photo, by its number, for which `failed` [N] bool is true."""
    found = mapper.rows(_count_failing, range(units), (failed, numbering, work), _COUNT)
    return pc.sum(found["pairs"]).as_py() or 0


def _count_failing(failed: np.ndarray, numbering: Numbering, work: Location, unit: int) -> pa.Table:
    at_all, count = np.append(failed, False), 0  # the last is of pairs that leave the root (-1)
    files = [file] if (file := pairs_file(work, unit)).is_file() else []
    for rows in stream_table(files, ["a", "b", "photo_a", "photo_b"]):
        a, b = numbering.of(rows)
        count += int((at_all[a] | at_all[b]).sum())
    return pa.table({"pairs": [count]}, schema=_COUNT)
