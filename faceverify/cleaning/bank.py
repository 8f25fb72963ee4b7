"""The means by which people are known to each other: one per person, or one per largest component where those tie.

Shape letters: E entries, D numbers in an embedding, N photos of a shard.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import pyarrow as pa

from faceverify.cleaning.cores import Cores


@dataclass(frozen=True)
class Bank:
    """Entries sorted by person, then component.

    person: [E] int64, number of the person; component: [E] int32, of that person; size: [E] int64, photos;
    tied: [E] bool, see `Cores`; mean: [E, D] float32, mean of the unit vectors, itself shorter than 1;
    photo, uri: [E] Arrow strings, the photo nearest to the mean.
    """

    person: np.ndarray
    component: np.ndarray
    size: np.ndarray
    tied: np.ndarray
    mean: np.ndarray
    photo: pa.Array
    uri: pa.Array

    def __len__(self) -> int:
        return len(self.person)

    @cached_property
    def length(self) -> np.ndarray:
        """Of the means [E] float32, 0 ... 1: the square root of the mean cosine between the photos, themselves too."""
        return np.linalg.norm(self.mean, axis=1)

    @cached_property
    def unit(self) -> np.ndarray:
        """The means [E, D] float32 as unit vectors."""
        return self.mean / np.maximum(self.length, np.float32(1e-6))[:, None]

    @cached_property
    def within(self) -> np.ndarray:
        """Mean cosine [E] between two different photos of the entry; NaN for a single one."""
        size = self.size.astype(np.float64)
        total = self.length.astype(np.float64) ** 2 * size**2
        return np.where(size > 1, (total - size) / np.maximum(size * (size - 1), 1), np.nan)

    def select(self, rows: np.ndarray) -> "Bank":
        """Some entries, by number or mask."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        return Bank(*(_take(getattr(self, field.name), rows) for field in fields(self)))

    def to_table(self) -> pa.Table:
        """As a table, one row per entry."""
        flat = pa.array(self.mean.reshape(-1), pa.float32())
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return pa.table(columns | {"mean": pa.FixedSizeListArray.from_arrays(flat, max(self.mean.shape[1], 1))})

    @staticmethod
    def from_tables(parts: Sequence[pa.Table]) -> "Bank":
        """The entries of all shards, in shard order."""
        table = pa.concat_tables(parts).combine_chunks()
        columns = [_column(table, field.name) for field in fields(Bank)]
        return Bank(*columns)


def make_bank(
    units: np.ndarray, person: np.ndarray, cores: Cores, photo: Sequence[str], uri: Sequence[str | None]
) -> Bank:
    """The entries of a shard's people.

    Args:
        units: [N, D] float32 of real photos, sorted by person.
        person: [N] int64, numbers of people.
        cores: of these photos.
        photo: [N] keys.
        uri: [N] places.
    """
    size_of = _component_sizes(person, cores.component)
    largest = cores.tied & (size_of == _main_size(person, cores.component, size_of))
    used = np.flatnonzero((cores.component == 0) | largest)
    order = used[np.lexsort((used, cores.component[used], person[used]))]
    key = np.stack([person[order], cores.component[order]], axis=1)
    starts = np.flatnonzero(np.r_[True, (key[1:] != key[:-1]).any(axis=1)]) if len(order) else np.zeros(0, np.int64)
    size = np.diff(np.r_[starts, len(order)])
    summed = np.add.reduceat(units[order], starts, axis=0) if len(order) else units[:0]
    mean = (summed / np.maximum(size, 1)[:, None]).astype(np.float32)
    likeness = np.einsum("nd,nd->n", units[order], np.repeat(mean, size, axis=0))
    best = order[[start + int(likeness[start : start + n].argmax()) for start, n in zip(starts, size, strict=True)]]
    first = order[starts]
    places = pa.array([uri[row] for row in best], pa.string())
    names = pa.array([photo[row] for row in best], pa.string())
    return Bank(person[first], cores.component[first], size, cores.tied[first], mean, names, places)


def _component_sizes(person: np.ndarray, component: np.ndarray) -> np.ndarray:
    """Size [N] of each photo's component."""
    _, back, count = np.unique(
        np.stack([person, component.astype(np.int64)], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    return count[back.reshape(-1)]


def _main_size(person: np.ndarray, component: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Size [N] of component 0 of each photo's person."""
    main = np.flatnonzero(component == 0)
    return size[main][np.searchsorted(person[main], person)]


def _take(column: np.ndarray | pa.Array, rows: np.ndarray) -> np.ndarray | pa.Array:
    return column.take(pa.array(rows)) if isinstance(column, pa.Array) else column[rows]


def _column(table: pa.Table, name: str) -> np.ndarray | pa.Array:
    column = table[name].combine_chunks()
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    if name == "mean":
        return column.flatten().to_numpy().reshape(-1, column.type.list_size)
    return column if pa.types.is_string(column.type) else column.to_numpy(zero_copy_only=False)
