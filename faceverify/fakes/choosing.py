"""What each fake is made of: which photos of the person, which photo of whom, with which seed.

Everything depends on the run's seed, the person's name, the number of the fake, and who there is to choose from;
neither on the order of the photos nor on who else is worked on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from faceverify.errors import BadData, Reason
from faceverify.fakes import Description
from faceverify.fakes.crowd import Crowd
from faceverify.pairs.chance import random_bits, uniform_int

_FIRST, _SOURCES, _TARGETS, _SEEDS = 16, 17, 18, 19  # streams of random numbers
_BLUR = 2.0  # pixels of pose that a face enlarged twofold counts as


@dataclass(frozen=True, slots=True)
class Wanted:
    """One fake: the person's number in the crowd, and which of the person's fakes it is."""

    person: int
    index: int


@dataclass(frozen=True, slots=True)
class Choice:
    """What one fake is made of: numbers of photos in the crowd."""

    sources: tuple[int, ...]
    target: int | None


def wanted_of(crowd: Crowd, persons: range, per_person: int, turn: int, generators: int) -> list[Wanted]:
    """The fakes of some persons that fall to one of the generators, which take turns; who begins is drawn at random.

    Args:
        crowd: of `gather`.
        persons: numbers of persons.
        per_person: fakes of each.
        turn: the generator's number.
        generators: how many there are.
    """
    first = uniform_int(
        np.full(len(persons), generators), crowd.keys[persons.start : persons.stop], _FIRST, np.array(0)
    )
    return [
        Wanted(person, index)
        for person, offset in zip(persons, first.tolist(), strict=True)
        for index in range((turn - offset) % generators, per_person, generators)
    ]


def seed_of(crowd: Crowd, wanted: Wanted) -> int:
    """Of everything random in making one fake; 0 to 2^63 - 1."""
    return int(random_bits(_key(crowd, wanted), _SEEDS, wanted.index)[0] >> np.uint64(1))


def choose(crowd: Crowd, wanted: Wanted, needs: Description, candidates: int) -> Choice:
    """Choose the photos of one fake.

    A person's photos take turns. The target is the one of some photos of other people of the split, drawn at random,
    whose pose is nearest to that of the (first) source; a face that would have to be enlarged counts as less near.

    Args:
        crowd: of `gather`.
        wanted: which fake.
        needs: what its generator takes.
        candidates: how many photos are drawn.

    Raises:
        BadData: NO_LANDMARKS: no photo of the person has any; NO_TARGET: there is nobody else in the split.
    """
    start, count = int(crowd.start[wanted.person]), int(crowd.count[wanted.person])
    if not count:
        raise BadData(Reason.NO_LANDMARKS, "no real photo of the person has usable ones")
    order = np.argsort(random_bits(_key(crowd, wanted), _SOURCES, np.arange(count)), kind="stable")
    taken = min(needs.source_photos, count)
    sources = tuple(start + int(order[(wanted.index * taken + i) % count]) for i in range(taken))
    if not needs.target:
        return Choice(sources, None)
    low, high = crowd.pool[wanted.person].tolist()
    others = high - low - count
    if not others:
        raise BadData(Reason.NO_TARGET, "nobody else in the split has a real photo with landmarks")
    counters = wanted.index * candidates + np.arange(candidates)
    drawn = low + uniform_int(np.full(candidates, others), _key(crowd, wanted), _TARGETS, counters)
    drawn[drawn >= start] += count
    return Choice(sources, int(drawn[np.argmin(distances(crowd, sources[0], drawn))]))


def distances(crowd: Crowd, source: int, targets: Sequence[int] | np.ndarray) -> np.ndarray:
    """How badly each photo [C] suits the source: root mean square distance of the landmarks in the aligned crop, in
    pixels of it, and 2 for each doubling of the source's resolution that the target would need."""
    apart = np.sqrt(((crowd.poses[targets] - crowd.poses[source]) ** 2).sum(axis=2).mean(axis=1))
    return apart + _BLUR * np.maximum(0, np.log2(crowd.sizes[targets] / crowd.sizes[source]))


def _key(crowd: Crowd, wanted: Wanted) -> np.ndarray:
    return crowd.keys[wanted.person : wanted.person + 1]
