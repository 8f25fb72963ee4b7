"""Draw the pairs of some persons: numbers of photos, in plain arrays.

A person's pairs depend on the person's own random numbers alone, so any cut into shards draws the same.
"""

import numpy as np

from faceverify.pairs.chance import random_bits, uniform_int
from faceverify.pairs.people import People

_OWN, _OTHER, _THEIRS, _ORDER = 3, 4, 5, 6  # streams of random numbers, besides those of quotas.py
Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]  # person [N], photo a [N], photo b [N]


def genuine_pairs(people: People, persons: np.ndarray) -> Drawn:
    """All pairs of real photos of each person."""
    counts = people.genuine[persons]
    ends = np.cumsum(counts)
    first, second = np.empty(counts.sum(), np.int64), np.empty(counts.sum(), np.int64)
    for n in np.unique(people.reals[persons]):
        same = np.flatnonzero(people.reals[persons] == n)
        i, j = np.triu_indices(n, 1)
        slots = (ends - counts)[same][:, None] + np.arange(len(i))
        first[slots], second[slots] = people.start[persons[same]][:, None] + i, people.start[persons[same]][:, None] + j
    return np.repeat(persons, counts), first, second


def deepfake_pairs(people: People, persons: np.ndarray, quota: np.ndarray) -> Drawn:
    """Draw `quota` [N] different pairs of a real photo and a fake of each person."""
    wanted = persons[quota > 0]
    sizes = people.reals[wanted] * people.fakes[wanted]
    owner = np.repeat(wanted, sizes)
    number = within(sizes)
    chosen = _lowest(random_bits(people.keys[owner], _ORDER, number), owner, np.repeat(quota[quota > 0], sizes))
    owner, number = owner[chosen], number[chosen]
    start, reals, fakes = people.start[owner], people.reals[owner], people.fakes[owner]
    return owner, start + number // fakes, start + reals + number % fakes


def impostor_pairs(people: People, persons: np.ndarray, quota: np.ndarray, possible: np.ndarray) -> Drawn:
    """Draw `quota` [N] different pairs of a photo of each person and one of a random other person of the split.

    Args:
        people: everybody.
        persons: whose pairs to draw.
        quota: [N] how many of each; at most `possible`.
        possible: [N] see `quotas.meetings`.
    """
    crowded = 2 * quota > possible  # rejection sampling would hardly ever find the last ones
    drawn = [_sample_distinct(people, persons[~crowded], quota[~crowded])]
    drawn += [
        _sample_from_all(people, int(p), int(q))
        for p, q in zip(persons[crowded], quota[crowded], strict=True)
        if q  # there may be nobody to pair with
    ]
    owner, first, second = (np.concatenate(part) for part in zip(*drawn, strict=True))
    order = np.argsort(owner, kind="stable")
    return owner[order], first[order], second[order]


def within(sizes: np.ndarray) -> np.ndarray:
    """0..s-1 for each s of `sizes`, one after the other."""
    return np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def _lowest(values: np.ndarray, owner: np.ndarray, quota: np.ndarray) -> np.ndarray:
    """Positions of the `quota` lowest values of each owner; the entries of an owner lie together."""
    order = np.lexsort((values, owner))
    _, sizes = np.unique(owner, return_counts=True)
    return order[within(sizes) < quota[order]]


def _sample_distinct(people: People, persons: np.ndarray, quota: np.ndarray) -> Drawn:
    """Rejection sampling: draw in rounds until every person has its quota of different pairs."""
    need, tried = quota.copy(), np.zeros(len(persons), np.int64)
    slot, keys = np.zeros(0, np.int64), np.zeros(0, np.int64)
    photos = len(people.photos)
    while need.any():
        draws = np.where(need > 0, need + need // 8 + 4, 0)
        new = np.repeat(np.arange(len(persons)), draws)
        counter = tried[new] + within(draws)
        tried += draws
        first, second, valid = _draw(people, persons[new], counter)
        new, fresh = new[valid], (first * photos + second)[valid]
        _, earliest = np.unique(np.concatenate([keys, fresh]), return_index=True)
        unseen = np.sort(earliest[earliest >= len(keys)]) - len(keys)
        new, fresh = new[unseen], fresh[unseen]
        _, sizes = np.unique(new, return_counts=True)
        taken = within(sizes) < need[new]
        slot, keys = np.concatenate([slot, new[taken]]), np.concatenate([keys, fresh[taken]])
        need = need - np.bincount(new[taken], minlength=len(need))
    order = np.argsort(slot, kind="stable")  # a person's pairs in the order in which they were drawn
    return persons[slot[order]], keys[order] // max(1, photos), keys[order] % max(1, photos)


def _draw(people: People, owner: np.ndarray, counter: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One candidate pair per entry: own photo, the other person's photo, and whether there was an eligible one."""
    keys = people.keys[owner]
    own = uniform_int(people.reals[owner], keys, _OWN, counter)
    other = np.empty_like(owner)
    for split in np.unique(people.split[owner]):
        mine = np.flatnonzero(people.split[owner] == split)
        pool = np.flatnonzero((people.split == split) & (people.reals > 0))
        place = np.searchsorted(pool, owner[mine])
        pick = uniform_int(np.full(len(mine), len(pool) - 1), keys[mine], _OTHER, counter[mine])
        other[mine] = pool[pick + (pick >= place)]
    # Of the other's photos only every second one makes a pair that is the owner's (see `quotas.meetings`).
    offset = (own + (owner > other)) % 2
    eligible = (people.reals[other] + 1 - offset) // 2
    theirs = 2 * uniform_int(eligible, keys, _THEIRS, counter) + offset
    return people.start[owner] + own, people.start[other] + theirs, eligible > 0


def _sample_from_all(people: People, person: int, quota: int) -> Drawn:
    """Draw without replacement from the list of all pairs, for a person who gives more than half of them."""
    others = np.flatnonzero((people.split == people.split[person]) & (people.reals > 0))
    others = others[others != person]
    n = people.reals[others]
    theirs, whose = within(n), np.repeat(others, n)
    i, j = np.meshgrid(np.arange(people.reals[person]), np.arange(len(theirs)), indexing="ij")
    i, j = i.ravel(), j.ravel()
    own = (i + theirs[j] + (whose[j] < person)) % 2 == 0
    i, j = i[own], j[own]
    chosen = np.argsort(random_bits(np.full(len(i), people.keys[person]), _ORDER, np.arange(len(i))), kind="stable")[
        :quota
    ]
    return np.full(quota, person), people.start[person] + i[chosen], people.start[whose[j[chosen]]] + theirs[j[chosen]]
