"""The mean embeddings by which people are compared: made per shard, searched, and related to each other.

There is one centroid per person, or one per largest component where several tie. Products of queries with centroids are
blocked, so memory is two blocks whatever their numbers.

Shape letters: E centroids, D numbers in an embedding, N photos of a shard, Q queries, K pairs of centroids.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import pyarrow as pa

from faceverify.cleaning.linking import MainComponents
from faceverify.cleaning.thresholds import Thresholds

QUERIES, ENTRIES = 1024, 4096  # of one block of a product
SAME_SHARE = 0.05  # two folders are one person if they are as alike as the least coherent 5 % of people in themselves
MIN_COHERENT = 3  # photos that a person needs for its coherence to count


@dataclass(frozen=True)
class PersonCentroids:
    """Centroids sorted by person, then component.

    person: [E] int64, number of the person; component: [E] int32, of that person; size: [E] int64, photos;
    tied: [E] bool, see `MainComponents`; mean: [E, D] float32, mean of the unit vectors, itself shorter than 1;
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
    def norm(self) -> np.ndarray:
        """Lengths of the means [E] float32, 0 ... 1: the root of the mean cosine of all photo pairs, self-pairs too."""
        return np.linalg.norm(self.mean, axis=1)

    @cached_property
    def unit(self) -> np.ndarray:
        """The means [E, D] float32 as unit vectors."""
        return self.mean / np.maximum(self.norm, np.float32(1e-6))[:, None]

    @cached_property
    def coherence(self) -> np.ndarray:
        """Mean cosine [E] between two different photos of the centroid; NaN for a single one."""
        size = self.size.astype(np.float64)
        total = self.norm.astype(np.float64) ** 2 * size**2
        return np.where(size > 1, (total - size) / np.maximum(size * (size - 1), 1), np.nan)

    def select(self, rows: np.ndarray) -> "PersonCentroids":
        """Some of the centroids, by number or mask."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        return PersonCentroids(*(_take(getattr(self, field.name), rows) for field in fields(self)))

    def to_table(self) -> pa.Table:
        """As a table, one row per centroid."""
        flat = pa.array(self.mean.reshape(-1), pa.float32())
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return pa.table(columns | {"mean": pa.FixedSizeListArray.from_arrays(flat, max(self.mean.shape[1], 1))})

    @staticmethod
    def from_tables(parts: Sequence[pa.Table]) -> "PersonCentroids":
        """The centroids of all shards, in shard order."""
        table = pa.concat_tables(parts).combine_chunks()
        columns = [_column(table, field.name) for field in fields(PersonCentroids)]
        return PersonCentroids(*columns)


@dataclass(frozen=True)
class PersonRelations:
    """What only all people together can tell: folders that hold one person, and who is who where components tie.

    same_threshold: mean cosine across two folders from which on they hold one person;
    centroids: those that stand for people: components of ties that turned out to be strays are gone;
    settled: {person: component} of ties that were settled: that component is the person;
    pairs: [K, 2] people (first < second) of all pairs near enough to be reported; similarity: [K] their mean cosine;
    aliases: [A, 2] people that are the same, in both directions, sorted.
    """

    same_threshold: float
    centroids: PersonCentroids
    settled: dict[int, int]
    pairs: np.ndarray
    similarity: np.ndarray
    aliases: np.ndarray


def make_centroids(
    units: np.ndarray,
    person: np.ndarray,
    components: MainComponents,
    photo: Sequence[str],
    uri: Sequence[str | None],
) -> PersonCentroids:
    """The centroids of a shard's people.

    Args:
        units: [N, D] float32 of real photos, sorted by person.
        person: [N] int64, numbers of people.
        components: of these photos.
        photo: [N] keys.
        uri: [N] places.
    """
    size_of = _component_sizes(person, components.component)
    largest = components.tied & (size_of == _main_size(person, components.component, size_of))
    used = np.flatnonzero((components.component == 0) | largest)
    order = used[np.lexsort((used, components.component[used], person[used]))]
    key = np.stack([person[order], components.component[order]], axis=1)
    starts = np.flatnonzero(np.r_[True, (key[1:] != key[:-1]).any(axis=1)]) if len(order) else np.zeros(0, np.int64)
    size = np.diff(np.r_[starts, len(order)])
    summed = np.add.reduceat(units[order], starts, axis=0) if len(order) else units[:0]
    mean = (summed / np.maximum(size, 1)[:, None]).astype(np.float32)
    nearness = np.einsum("nd,nd->n", units[order], np.repeat(mean, size, axis=0))
    best = order[[start + int(nearness[start : start + n].argmax()) for start, n in zip(starts, size, strict=True)]]
    first = order[starts]
    places = pa.array([uri[row] for row in best], pa.string())
    names = pa.array([photo[row] for row in best], pa.string())
    component, tied = components.component[first], components.tied[first]
    return PersonCentroids(person[first], component, size, tied, mean, names, places)


def nearest_other(
    units: np.ndarray, person: np.ndarray, centroids: PersonCentroids, aliases: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centroid of another person for each photo.

    Args:
        units: [Q, D] float32, unit vectors.
        person: [Q] int64, whose folder the photo is in; -1 = nobody's.
        centroids: all of them, sorted by person.
        aliases: [A, 2] int64, sorted: people (first column) whose search is to pass over other people (second), because
            both are one.

    Returns:
        [Q] int64 number of the centroid, -1 where there is no other person, and [Q] float32 cosine to it, NaN there.
    """
    best = np.full(len(units), -1, np.int64)
    top = np.full(len(units), -2, np.float32)
    for at in range(0, len(units), QUERIES):
        rows = slice(at, at + QUERIES)
        hidden = _hidden(person[rows], centroids.person, aliases)
        for start in range(0, len(centroids), ENTRIES):
            cosine = units[rows] @ centroids.unit[start : start + ENTRIES].T
            inside = (hidden[1] >= start) & (hidden[1] < start + cosine.shape[1])
            cosine[hidden[0][inside], hidden[1][inside] - start] = -2
            place = cosine.argmax(axis=1)
            value = cosine[np.arange(len(place)), place]
            higher = value > top[rows]
            best[rows] = np.where(higher, place + start, best[rows])
            top[rows] = np.where(higher, value, top[rows])
        # The product rounds depending on how its blocks are cut; what is published must not depend on that.
        top[rows] = np.where(top[rows] > -2, np.einsum("qd,qd->q", units[rows], centroids.unit[best[rows]]), np.nan)
    return np.where(np.isnan(top), -1, best), top


def similar_pairs(
    centroids: PersonCentroids, rows: range, floor: float
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Pairs of centroids of different people whose photos are alike on average.

    Args:
        centroids: all of them.
        rows: the numbers of those that are compared with all later ones.
        floor: least mean cosine between a photo of the one and a photo of the other.

    Yields:
        a, b (numbers of centroids, a < b) and that mean cosine, all [K].
    """
    for at in range(rows.start, rows.stop, QUERIES):
        stop = min(at + QUERIES, rows.stop)
        for start in range(at, len(centroids), ENTRIES):
            cosine = centroids.mean[at:stop] @ centroids.mean[start : start + ENTRIES].T
            a, b = np.nonzero(cosine >= np.float32(floor))
            value = cosine[a, b]
            a, b = a + at, b + start
            chosen = (a < b) & (centroids.person[a] != centroids.person[b])
            yield a[chosen], b[chosen], value[chosen]


def relate_people(
    centroids: PersonCentroids, pairs: np.ndarray, similarity: np.ndarray, thresholds: Thresholds
) -> PersonRelations:
    """Settle ties and find folders of one person.

    Args:
        centroids: all of them.
        pairs: [K, 2] numbers of centroids, from `similar_pairs` with the floor `thresholds.link`.
        similarity: [K] mean cosine across each pair.
        thresholds: of this run.
    """
    coherent = centroids.coherence[(centroids.size >= MIN_COHERENT) & ~centroids.tied]
    certain_floor = thresholds.link + thresholds.margin
    same = max(float(np.quantile(coherent, SAME_SHARE)) if len(coherent) else 1.0, certain_floor)
    stands = ~_strays(centroids, pairs, similarity, certain_floor)
    settled = _settled(centroids, stands)
    is_settled = [settled.get(int(p)) == c for p, c in zip(centroids.person, centroids.component, strict=True)]
    certain = ~centroids.tied | np.array(is_settled, bool)
    reported = certain[pairs].all(axis=1) if len(pairs) else np.zeros(0, bool)
    people, similarity = centroids.person[pairs[reported]], similarity[reported]
    order = np.lexsort((people[:, 1], people[:, 0]))
    people, similarity = people[order], similarity[order]
    alike = people[similarity >= same]
    both = np.concatenate([alike, alike[:, ::-1]])
    aliases = both[np.lexsort((both[:, 1], both[:, 0]))]
    return PersonRelations(same, centroids.select(stands), settled, people, similarity, aliases)


def _strays(centroids: PersonCentroids, pairs: np.ndarray, similarity: np.ndarray, floor: float) -> np.ndarray:
    """Centroids [E] bool of ties that are like a person about whom there is no doubt: somebody else's photos."""
    gone = np.zeros(len(centroids), bool)
    near = pairs[similarity >= floor]
    for this, other in ((0, 1), (1, 0)):
        gone[near[centroids.tied[near[:, this]] & ~centroids.tied[near[:, other]], this]] = True
    return gone


def _settled(centroids: PersonCentroids, stands: np.ndarray) -> dict[int, int]:
    """{person: component} of ties of which one component stands."""
    rows = np.flatnonzero(stands & centroids.tied)
    people, first, count = np.unique(centroids.person[rows], return_index=True, return_counts=True)
    return {int(p): int(centroids.component[rows[f]]) for p, f, n in zip(people, first, count, strict=True) if n == 1}


def _hidden(person: np.ndarray, owner: np.ndarray, aliases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Query and centroid of what each query must not find: its own person, and that person's aliases."""
    first, last = (np.searchsorted(aliases[:, 0], person, side) for side in ("left", "right"))
    rows, which = _expand_ranges(first, last)
    people = np.r_[person, aliases[which, 1]]
    queries = np.r_[np.arange(len(person)), rows]
    places, entries = _expand_ranges(np.searchsorted(owner, people, "left"), np.searchsorted(owner, people, "right"))
    return queries[places], entries


def _expand_ranges(first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All numbers of the ranges first ... last-1, each with the place of its range."""
    count = last - first
    places = np.repeat(np.arange(len(count)), count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return places, np.repeat(first, count) + within


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
