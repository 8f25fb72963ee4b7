"""What each fake is made of: which photos of the person, which photo of which other person, with which seed.

All of it depends on the run's seed, the person's name, the number of the fake, and the people to choose from, but
neither on the order of the photos nor on which other people are processed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from faceverify.errors import BadData, Reason
from faceverify.fakes import Description
from faceverify.fakes.photo_pool import PhotoPool
from faceverify.pairs.chance import random_bits, uniform_int

_FIRST, _SOURCES, _TARGETS, _SEEDS = 16, 17, 18, 19  # streams of random numbers
_BLUR = 2.0  # pixels of pose that a face enlarged twofold counts as


@dataclass(frozen=True, slots=True)
class FakeId:
    """One fake: the person's number in the pool, and which of the person's fakes it is."""

    person: int
    index: int


@dataclass(frozen=True, slots=True)
class Choice:
    """What one fake is made of, as numbers of photos in the pool; `other`: a photo of the person that it is not made
    of, None if there is none."""

    sources: tuple[int, ...]
    target: int | None
    other: int | None


def wanted_of(pool: PhotoPool, persons: range, per_person: int, turn: int, generators: int) -> list[FakeId]:
    """The fakes of some persons that fall to one of the generators, which take turns; the first is drawn at random.

    Args:
        pool: of `gather`.
        persons: numbers of persons.
        per_person: fakes of each.
        turn: the generator's number.
        generators: how many there are.
    """
    first = uniform_int(np.full(len(persons), generators), pool.keys[persons.start : persons.stop], _FIRST, np.array(0))
    return [
        FakeId(person, index)
        for person, offset in zip(persons, first.tolist(), strict=True)
        for index in range((turn - offset) % generators, per_person, generators)
    ]


def seed_of(pool: PhotoPool, wanted: FakeId) -> int:
    """Seed of all random choices in making one fake, 0 to 2^63 - 1."""
    return int(random_bits(_key(pool, wanted), _SEEDS, wanted.index)[0] >> np.uint64(1))


def choose(pool: PhotoPool, wanted: FakeId, needs: Description, candidates: int) -> Choice:
    """Choose the photos of one fake.

    A person's photos take turns. The target is the one of some photos of other people of the split, drawn at random,
    whose pose is nearest to that of the (first) source; a face that would have to be enlarged counts as less near.

    Args:
        pool: of `gather`.
        wanted: which fake.
        needs: what its generator takes.
        candidates: how many photos are drawn.

    Raises:
        BadData: NO_LANDMARKS: no photo of the person has any; NO_TARGET: no other person of the split has one.
    """
    start, count = int(pool.start[wanted.person]), int(pool.count[wanted.person])
    if not count:
        raise BadData(Reason.NO_LANDMARKS, "no real photo of the person has usable ones")
    order = np.argsort(random_bits(_key(pool, wanted), _SOURCES, np.arange(count)), kind="stable")
    taken = min(needs.source_photos, count)
    sources = tuple(start + int(order[(wanted.index * taken + i) % count]) for i in range(taken))
    other = start + int(order[(wanted.index * taken + taken) % count]) if taken < count else None
    if not needs.target:
        return Choice(sources, None, other)
    low, high = pool.split_photos[wanted.person].tolist()
    others = high - low - count
    if not others:
        raise BadData(Reason.NO_TARGET, "nobody else in the split has a real photo with landmarks")
    counters = wanted.index * candidates + np.arange(candidates)
    drawn = low + uniform_int(np.full(candidates, others), _key(pool, wanted), _TARGETS, counters)
    drawn[drawn >= start] += count
    return Choice(sources, int(drawn[np.argmin(distances(pool, sources[0], drawn))]), other)


def distances(pool: PhotoPool, source: int, targets: Sequence[int] | np.ndarray) -> np.ndarray:
    """How badly each photo [C] suits the source: root mean square distance of the landmarks in the aligned crop, in
    pixels of it, and 2 for each doubling of the source's resolution that the target would need."""
    apart = np.sqrt(((pool.poses[targets] - pool.poses[source]) ** 2).sum(axis=2).mean(axis=1))
    return apart + _BLUR * np.maximum(0, np.log2(pool.sizes[targets] / pool.sizes[source]))


def _key(pool: PhotoPool, wanted: FakeId) -> np.ndarray:
    return pool.keys[wanted.person : wanted.person + 1]
