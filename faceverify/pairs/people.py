"""The photos sorted by person, as arrays: what the sampler works on.

Shape letters: P persons, R photos.
"""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify.errors import UserError
from faceverify.pairs.chance import person_keys, random_bits

COLUMNS = ("photo", "person", "is_fake", "generator", "split")
ORDER = ("person", "is_fake", "photo")
COUNTS = pa.schema([("person", pa.string()), ("split", pa.string()), ("photos", pa.int64()), ("fakes", pa.int64())])
_SPLIT_STREAM = 0  # of random numbers


@dataclass(frozen=True, eq=False)
class People:
    """Persons in the order of their names; a person's photos lie together, real ones first, in order of names.

    Args:
        names: [P] persons.
        keys: [P] uint64, the keys of each person's random numbers.
        split: [P] number of the person's split in `splits`.
        splits: names of the splits.
        photos: [R] names of the photos; may be chunked.
        generators: [R] of the fakes; null for real photos; may be chunked.
        start: [P] number of the first photo.
        reals, fakes: [P] how many of each.
    """

    names: pa.Array
    keys: np.ndarray
    split: np.ndarray
    splits: tuple[str, ...]
    photos: pa.Array | pa.ChunkedArray
    generators: pa.Array | pa.ChunkedArray
    start: np.ndarray
    reals: np.ndarray
    fakes: np.ndarray

    @property
    def genuine(self) -> np.ndarray:
        """How many genuine pairs each person has, [P]: n(n-1)/2."""
        return self.reals * (self.reals - 1) // 2


def usable(photos: pa.Table) -> pa.Table:
    """The rows that name a person and say whether they are fake: only these can be paired."""
    return photos.filter(pc.and_(pc.is_valid(photos["person"]), pc.is_valid(photos["is_fake"])))


def gather(photos: pa.Table, seed: int, validation_share: float) -> People:
    """Sort photos by person, and give the persons without a split one.

    Args:
        photos: rows with COLUMNS that `usable` passed; the order does not matter.
        seed: of all random numbers.
        validation_share: see `people_of`.

    Raises:
        UserError: a photo comes twice, or a person is in two splits.
    """
    rows = photos.select(COLUMNS).sort_by([(name, "ascending") for name in ORDER]).combine_chunks()
    check_once(rows["photo"])
    # 2 GiB of names, which a column of `string` cannot hold in one piece, are soon reached.
    photos = rows["photo"].combine_chunks().cast(pa.large_string())
    generators = rows["generator"].combine_chunks().dictionary_encode()
    return replace(people_of(count_photos(rows), seed, validation_share), photos=photos, generators=generators)


def count_photos(rows: pa.Table) -> pa.Table:
    """How many photos and fakes each person has in each split, as a table COUNTS.

    Args:
        rows: with COLUMNS, of all photos or of some.
    """
    counts = rows.group_by(["person", "split"]).aggregate([("is_fake", "count"), ("is_fake", "sum")])
    return counts.select(["person", "split", "is_fake_count", "is_fake_sum"]).rename_columns(COUNTS.names).cast(COUNTS)


def people_of(counts: pa.Table, seed: int, validation_share: float) -> People:
    """Persons by the counts of their photos alone; `photos` and `generators` are empty, see `with_photos`.

    Args:
        counts: a table COUNTS; a person may come several times, and the rows in any order.
        seed: of all random numbers.
        validation_share: share of the persons without a split that goes to `val`; the rest goes to `train`. Both get
            two people at least where there are four (impostor pairs need two), and one where there are two or three.

    Raises:
        UserError: a person is in two splits.
    """
    summed = counts.group_by(["person", "split"]).aggregate([("photos", "sum"), ("fakes", "sum")])
    summed = summed.sort_by([("person", "ascending"), ("split", "ascending")]).combine_chunks()
    names = summed["person"].combine_chunks()
    divided = np.flatnonzero(pc.equal(names[1:], names[:-1]).to_numpy(zero_copy_only=False)) if len(names) else []
    if len(divided):
        raise UserError(
            f"photos: person '{names[int(divided[0])]}' has photos in two splits; a person belongs to one split as a "
            "whole (or to none, for all photos)."
        )
    sizes, fakes = (summed[name].to_numpy().astype(np.int64) for name in ("photos_sum", "fakes_sum"))
    reals = sizes - fakes
    keys = person_keys(names.to_pylist(), seed)
    split, splits = _splits(summed["split"].combine_chunks(), keys, reals > 1, validation_share)
    nothing = pa.array([], pa.large_string())
    return People(names, keys, split, splits, nothing, nothing, np.cumsum(sizes) - sizes, reals, fakes)


def with_photos(people: People, blocks: list[pa.Table]) -> People:
    """The persons with the names of their photos.

    Args:
        people: by `people_of`.
        blocks: with COLUMNS: all rows that were counted, sorted by ORDER over all blocks; not copied.
    """
    photos = pa.chunked_array([chunk for block in blocks for chunk in block["photo"].chunks], pa.string())
    generators = pa.chunked_array([chunk for block in blocks for chunk in block["generator"].chunks], pa.string())
    return replace(people, photos=photos, generators=generators)


def check_once(photos: pa.ChunkedArray) -> None:
    """Check that no name of a photo comes twice.

    Raises:
        UserError: names the first one that does.
    """
    counts = photos.value_counts()
    twice = counts.filter(pc.greater(pc.struct_field(counts, "counts"), 1))
    if len(twice):
        raise UserError(f"photos: '{twice[0]['values'].as_py()}' is there more than once; each photo may come once.")


def _splits(
    given: pa.Array, keys: np.ndarray, can_match: np.ndarray, share: float
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers [P] and names of the splits: those that are given, else `val` for a share drawn at random."""
    if not len(given):
        return np.zeros(0, np.int64), ()
    encoded = given.dictionary_encode()
    split = pc.fill_null(encoded.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False).copy()
    splits = tuple(dict.fromkeys([*encoded.dictionary.to_pylist(), "train", "val"]))
    free = np.flatnonzero(split < 0)
    order = free[np.argsort(random_bits(keys[free], _SPLIT_STREAM), kind="stable")]
    validation, fewest = round(share * len(free)), min(2, len(free) // 2)
    if 0 < share < 1 and validation <= fewest:
        # With so few people, those who give genuine pairs are chosen first.
        order = order[np.argsort(~can_match[order], kind="stable")]
    if 0 < share < 1:
        validation = min(max(validation, fewest), len(free) - fewest)
    split[order[:validation]], split[order[validation:]] = splits.index("val"), splits.index("train")
    return split, splits
