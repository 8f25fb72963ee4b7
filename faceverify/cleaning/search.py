"""The search across people: which other person is a photo nearest to, and which people are near to each other.

A blocked product of queries with all means: memory is two blocks, whatever their numbers.
Shape letters: Q queries, E entries of the bank, D numbers in an embedding.
"""

from collections.abc import Iterator

import numpy as np

from faceverify.cleaning.bank import Bank

QUERIES, ENTRIES = 1024, 4096  # of one block


def nearest_other(
    units: np.ndarray, person: np.ndarray, bank: Bank, aliases: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest entry of another person for each photo.

    Args:
        units: [Q, D] float32, unit vectors.
        person: [Q] int64, whose folder the photo is in; -1 = nobody's.
        bank: the entries, sorted by person.
        aliases: [A, 2] int64, sorted: people (first column) whose search is to pass over other people (second), because
            both are one.

    Returns:
        [Q] int64 entry, -1 where there is no other person, and [Q] float32 cosine to its mean, NaN there.
    """
    best = np.full(len(units), -1, np.int64)
    top = np.full(len(units), -2, np.float32)
    for at in range(0, len(units), QUERIES):
        rows = slice(at, at + QUERIES)
        hidden = _hidden(person[rows], bank.person, aliases)
        for start in range(0, len(bank), ENTRIES):
            cosine = units[rows] @ bank.unit[start : start + ENTRIES].T
            inside = (hidden[1] >= start) & (hidden[1] < start + cosine.shape[1])
            cosine[hidden[0][inside], hidden[1][inside] - start] = -2
            place = cosine.argmax(axis=1)
            value = cosine[np.arange(len(place)), place]
            higher = value > top[rows]
            best[rows] = np.where(higher, place + start, best[rows])
            top[rows] = np.where(higher, value, top[rows])
        # The product rounds as its blocks are cut; what is told must not depend on that.
        top[rows] = np.where(top[rows] > -2, np.einsum("qd,qd->q", units[rows], bank.unit[best[rows]]), np.nan)
    return np.where(np.isnan(top), -1, best), top


def _hidden(person: np.ndarray, owner: np.ndarray, aliases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and entry of what each query must not find: its own person, and that person's aliases."""
    first, last = (np.searchsorted(aliases[:, 0], person, side) for side in ("left", "right"))
    rows, which = _spread(first, last)
    people = np.r_[person, aliases[which, 1]]
    queries = np.r_[np.arange(len(person)), rows]
    places, entries = _spread(np.searchsorted(owner, people, "left"), np.searchsorted(owner, people, "right"))
    return queries[places], entries


def _spread(first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All numbers of the ranges first ... last-1, each with the place of its range."""
    count = last - first
    places = np.repeat(np.arange(len(count)), count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return places, np.repeat(first, count) + within


def near_entries(bank: Bank, rows: range, floor: float) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Pairs of entries of different people whose photos are alike on average.

    Args:
        bank: all entries.
        rows: the entries that are compared with all later ones.
        floor: of the mean cosine between a photo of the one and a photo of the other.

    Yields:
        a, b (entry numbers, a < b) and that mean cosine, all [K].
    """
    for at in range(rows.start, rows.stop, QUERIES):
        stop = min(at + QUERIES, rows.stop)
        for start in range(at, len(bank), ENTRIES):
            cosine = bank.mean[at:stop] @ bank.mean[start : start + ENTRIES].T
            a, b = np.nonzero(cosine >= np.float32(floor))
            value = cosine[a, b]
            a, b = a + at, b + start
            chosen = (a < b) & (bank.person[a] != bank.person[b])
            yield a[chosen], b[chosen], value[chosen]
