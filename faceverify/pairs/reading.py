"""From the tables to the people who can be paired, in units of work: which photos can be used, and whose they are."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from faceverify.aligned import EXAMPLES, WithoutFace, rejects_of
from faceverify.hashed_keys import REPEATED, find_rows, hash_photos, repeated_hashes
from faceverify.pairs.people import COLUMNS, COUNTS, ORDER, People, check_once, count_photos, people_of
from faceverify.provenance import hash_names
from faceverify.storage import Location
from faceverify.units import Blocks, RowGroups, UnitMapper, row_groups

ROWS_PER_UNIT = 131_072
PAIRED, UNUSABLE, FACE_REJECTED, FACE_UNKNOWN = range(4)  # what was found about a photo
_SUMMARY = pa.schema(
    [("status", pa.int8()), ("photos", pa.int64()), ("fakes", pa.int64()), ("examples", pa.list_(pa.string()))]
)
_NAMES = pa.schema([("photo", pa.string())])


@dataclass(frozen=True)
class PhotoFacts:
    """How many photos of a table can be paired, and why others cannot.

    rows: in the table; usable: those that name a person and say whether they are fake; usable_fakes: fakes among these;
    without_face: usable ones that have no face in the faces table, if one was given.
    """

    rows: int
    usable: int
    usable_fakes: int
    without_face: WithoutFace


def classify_photos(mapper: UnitMapper, photos: list[Location], faces: list[Location] | None, run: Location) -> Blocks:
    """Read the photos table, and find out which photos can be paired.

    Args:
        mapper: does the work.
        photos: files of the photos table.
        faces: files of the faces table: only photos that are in it can be paired; None = all usable ones.
        run: the folder of the faces table, whose table `rejects` is read too if it is there.

    Returns:
        Blocks with COLUMNS and `status`.
    """
    units = row_groups(photos, ROWS_PER_UNIT)
    if faces is None:
        return mapper.blocks(classify, units, (None, None))
    known = [
        mapper.blocks(hash_names_of, row_groups(files, ROWS_PER_UNIT), sort_by=["hash"])
        for files in (faces, rejects_of(run))
    ]
    return mapper.blocks(classify, units, tuple(known))


def summarise(mapper: UnitMapper, photos: Blocks) -> PhotoFacts:
    """Count what `classify_photos` found."""
    found = mapper.rows(summary_of, photos, (), _SUMMARY).to_pylist()
    of = {status: [one for one in found if one["status"] == status] for status in range(4)}
    counts = {status: sum(one["photos"] for one in some) for status, some in of.items()}
    fakes = {status: sum(one["fakes"] for one in some) for status, some in of.items()}
    examples = sorted(name for one in of[FACE_UNKNOWN] for name in one["examples"])[:EXAMPLES]
    without = WithoutFace(counts[FACE_REJECTED], counts[FACE_UNKNOWN], fakes[FACE_UNKNOWN], examples)
    rows, usable_fakes = sum(counts.values()), sum(fakes.values()) - fakes[UNUSABLE]
    return PhotoFacts(rows, rows - counts[UNUSABLE], usable_fakes, without)


def gather_people(mapper: UnitMapper, classified: Blocks, seed: int, validation_share: float) -> tuple[People, Blocks]:
    """The people who can be paired, by their counts, and all their photos.

    Args:
        mapper: does the work.
        classified: by `classify_photos`.
        seed: of all random numbers.
        validation_share: see `people.people_of`.

    Returns:
        People without photos, and blocks for `people.with_photos`.

    Raises:
        UserError: a photo comes twice, or a person is in two splits.
    """
    photos = mapper.blocks(paired, classified, sort_by=ORDER)
    hashes = mapper.blocks(hash_photos, photos, sort_by=["hash"], hold=False)
    repeated = pc.list_flatten(mapper.rows(repeated_hashes, hashes, (), REPEATED)["repeated"])
    if len(repeated):
        twice = pa.table({"hash": repeated}).sort_by("hash").combine_chunks()
        check_once(mapper.rows(names_of, photos, (twice,), _NAMES).sort_by("photo")["photo"])
    counts = mapper.rows(count_photos, photos, (), COUNTS)
    return people_of(counts, seed, validation_share), photos


def classify(faces: list[pa.Table] | None, rejected: list[pa.Table] | None, unit: RowGroups) -> pa.Table:
    """The rows of some row groups of the photos table, with `status`."""
    rows = pa.concat_tables(unit.read(list(COLUMNS))).select(COLUMNS).combine_chunks()
    is_usable = pc.and_(pc.is_valid(rows["person"]), pc.is_valid(rows["is_fake"]))
    status = pc.if_else(is_usable, PAIRED, UNUSABLE).cast(pa.int8())
    if faces is not None and rejected is not None:
        hashes = hash_names(rows["photo"])
        has_face, was_rejected = (pa.array(find_rows(hashes, index)[0] >= 0) for index in (faces, rejected))
        without = pc.if_else(was_rejected, FACE_REJECTED, FACE_UNKNOWN).cast(pa.int8())
        status = pc.if_else(pc.and_(is_usable, pc.invert(has_face)), without, status)
    return rows.append_column("status", status)


def hash_names_of(unit: RowGroups) -> pa.Table:
    """The sorted hashes of the column `photo` of some row groups."""
    return hash_photos(pa.concat_tables(unit.read(["photo"])))


def summary_of(block: pa.Table) -> pa.Table:
    """How many rows of a block have each status, how many of them are fakes, and the first names."""
    rows = []
    for status in range(4):
        some = block.filter(pc.equal(block["status"], status))
        fakes = pc.sum(pc.fill_null(some["is_fake"], False)).as_py() or 0
        first = some["photo"].take(pc.select_k_unstable(some["photo"], EXAMPLES, [("", "ascending")]))
        rows.append({"status": status, "photos": some.num_rows, "fakes": fakes, "examples": first.to_pylist()})
    return pa.Table.from_pylist(rows, schema=_SUMMARY)


def paired(block: pa.Table) -> pa.Table:
    """The rows of a block that can be paired, without `status`."""
    return block.filter(pc.equal(block["status"], PAIRED)).select(COLUMNS)


def names_of(hashes: pa.Table, block: pa.Table) -> pa.Table:
    """The names of photos whose hash is among some hashes, which are sorted."""
    found, _ = find_rows(hash_names(block["photo"]), [hashes])
    return block.filter(pa.array(found >= 0)).select(["photo"])
