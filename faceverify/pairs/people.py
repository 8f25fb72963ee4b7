"""The photos sorted by person, as arrays: what the sampler works on.

Shape letters: P persons, R photos.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify.errors import UserError
from faceverify.pairs.chance import person_keys, random_bits

COLUMNS = ("photo", "person", "is_fake", "generator", "split")
_SPLIT_STREAM = 0  # of random numbers


@dataclass(frozen=True, eq=False)
class People:
    """Persons in the order of their names; a person's photos lie together, real ones first, in order of names.

    Args:
        names: [P] persons.
        keys: [P] uint64, the keys of each person's random numbers.
        split: [P] number of the person's split in `splits`.
        splits: names of the splits.
        photos: [R] names of the photos.
        generators: [R] of the fakes; null for real photos.
        start: [P] number of the first photo.
        reals, fakes: [P] how many of each.
    """

    names: pa.Array
    keys: np.ndarray
    split: np.ndarray
    splits: tuple[str, ...]
    photos: pa.Array
    generators: pa.Array
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
        validation_share: share of the persons without a split that goes to `val`; the rest goes to `train`. Both get
            two people at least where there are four (impostor pairs need two), and one where there are two or three.

    Raises:
        UserError: a photo comes twice, or a person is in two splits.
    """
    rows = photos.select(COLUMNS).sort_by([(name, "ascending") for name in ("person", "is_fake", "photo")])
    rows = rows.combine_chunks()
    _check_once(rows["photo"])
    persons = rows["person"].combine_chunks()
    changed = np.flatnonzero(_ids(persons)[1:] != _ids(persons)[:-1]) + 1
    start = np.concatenate([np.zeros(min(1, len(persons)), np.int64), changed])
    fake = rows["is_fake"].to_numpy().astype(np.int64)
    sizes = np.diff(np.append(start, len(persons)))
    fakes = np.add.reduceat(fake, start) if len(start) else start
    names = persons.take(pa.array(start))
    keys = person_keys(names.to_pylist(), seed)
    can_match = sizes - fakes > 1
    split, splits = _splits(rows["split"].combine_chunks(), names, start, keys, can_match, validation_share)
    photos_R = rows["photo"].combine_chunks().cast(pa.large_string())  # 2 GiB of names are soon reached
    generators_R = rows["generator"].combine_chunks().dictionary_encode()
    return People(names, keys, split, splits, photos_R, generators_R, start, sizes - fakes, fakes)


def _ids(column: pa.Array) -> np.ndarray:
    return column.dictionary_encode().indices.to_numpy(zero_copy_only=False)


def _check_once(photos: pa.ChunkedArray) -> None:
    counts = photos.value_counts()
    twice = counts.filter(pc.greater(pc.struct_field(counts, "counts"), 1))
    if len(twice):
        raise UserError(f"photos: '{twice[0]['values'].as_py()}' is there more than once; each photo may come once.")


def _splits(
    column: pa.Array, names: pa.Array, start: np.ndarray, keys: np.ndarray, can_match: np.ndarray, share: float
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers [P] and names of the splits: those that are given, else `val` for a share drawn at random."""
    encoded = column.dictionary_encode()
    given = encoded.dictionary.to_pylist()
    codes = pc.fill_null(encoded.indices.cast(pa.int64()), -1).to_numpy()
    if not len(start):
        return np.zeros(0, np.int64), ()
    lowest, highest = np.minimum.reduceat(codes, start), np.maximum.reduceat(codes, start)
    divided = np.flatnonzero(lowest != highest)
    if len(divided):
        raise UserError(
            f"photos: person '{names[divided[0]]}' has photos in two splits; a person belongs to one split as a whole "
            "(or to none, for all photos)."
        )
    splits = tuple(dict.fromkeys([*given, "train", "val"]))
    free = np.flatnonzero(lowest < 0)
    order = free[np.argsort(random_bits(keys[free], _SPLIT_STREAM), kind="stable")]
    validation, fewest = round(share * len(free)), min(2, len(free) // 2)
    if 0 < share < 1 and validation <= fewest:
        # With so few people, those who give genuine pairs are chosen first.
        order = order[np.argsort(~can_match[order], kind="stable")]
    if 0 < share < 1:
        validation = min(max(validation, fewest), len(free) - fewest)
    lowest[order[:validation]], lowest[order[validation:]] = splits.index("val"), splits.index("train")
    return lowest, splits
