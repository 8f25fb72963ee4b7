"""From the rule's reasons to a decision on every photo of a shard: fakes, exact duplicates, reviewers.

Shape letters: N photos of a shard.
"""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from faceverify.cleaning.bank import Bank
from faceverify.cleaning.cores import Cores
from faceverify.cleaning.decisions_file import ReviewDecision
from faceverify.cleaning.duplicates import ExactGroups
from faceverify.cleaning.linking import person_starts
from faceverify.cleaning.reasons import CleaningReason, Decision
from faceverify.cleaning.rule import DECISION_OF, Lines, Seen, judge
from faceverify.cleaning.shard import Shard

CLEANING = "cleaning"  # who decides, unless a reviewer does


@dataclass(frozen=True)
class World:
    """What deciding needs from beyond the shard.

    names, splits: of all people; bank: means of people, for suggestions; lines: all thresholds; exact: duplicates;
    reviewed: the reviewers' decisions by photo.
    """

    names: pa.Array
    splits: pa.Array
    bank: Bank
    lines: Lines
    exact: ExactGroups
    reviewed: dict[str, ReviewDecision]

    def person(self, number: int) -> str | None:
        """The name behind a number; None for nobody."""
        return self.names[number].as_py() if number < len(self.names) else None


@dataclass(frozen=True)
class Found:
    """What the rounds before found of N photos; see `rounds.search_photos`."""

    component: np.ndarray
    own: np.ndarray
    tied: np.ndarray
    linked: np.ndarray
    entry: np.ndarray
    other: np.ndarray

    def without(self, rows: np.ndarray) -> "Found":
        """The same without the suggestions for `rows` [N] bool."""
        return replace(self, entry=np.where(rows, -1, self.entry), other=np.where(rows, np.float32(np.nan), self.other))

    @staticmethod
    def from_table(table: pa.Table) -> "Found":
        """Of the part that the round wrote."""
        return Found(*(table[name].to_numpy() for name in Found.__dataclass_fields__))


@dataclass
class Verdicts:
    """N decisions in the making; lists and arrays in the order of the shard's photos.

    reason, decision: members of their enums; goes_to: name or None; by: who decided; doubt: [N] float32, 0 ... 1;
    fake_best: [N] float32 cosine of a fake to the nearest kept real photo, NaN otherwise;
    spare_of: photo whose bytes the dropped one repeats.
    """

    reason: np.ndarray
    decision: np.ndarray
    goes_to: list[str | None]
    by: list[str]
    doubt: np.ndarray
    fake_best: np.ndarray
    spare_of: list[str | None]


def decide(rows: Shard, found: Found, world: World) -> Verdicts:
    """Decide about every photo of a shard: by the rule, then reviewers, then fakes, then exact duplicates."""
    verdicts = _by_rule(rows, found, world)
    _by_reviewers(rows, verdicts, world)
    _judge_fakes(rows, verdicts, world)
    _drop_duplicates(rows, verdicts, world)
    return verdicts


def nobody_near(found: Found, verdicts: Verdicts, link: float) -> np.ndarray:
    """Photos [N] bool that need no suggestion, or have none worth the name: not even the nearest is like them."""
    sound = np.isin(verdicts.reason.astype(str), (CleaningReason.LINKED, CleaningReason.LIKE_THE_MEAN))
    return sound | ~(found.other >= np.float32(link))


def _by_rule(rows: Shard, found: Found, world: World) -> Verdicts:
    count = len(rows.number)
    reason = np.full(count, CleaningReason.NO_EMBEDDING, object)
    doubt = np.full(count, 0.05, np.float32)  # nothing can be said of them, so they come last
    reason[rows.embedded & (rows.number == rows.people)] = CleaningReason.NO_PERSON
    real = rows.real
    cores = Cores(found.component[real], found.own[real], found.tied[real])
    linked = _linked(rows.number[real], cores, found.linked[real])
    reason[real], doubt[real] = judge(Seen(rows.number[real], cores, linked, found.other[real]), world.lines)
    decision = np.array([DECISION_OF[why] for why in reason], object)
    goes_to: list[str | None] = [None] * count
    for row, (number, what) in enumerate(zip(rows.number.tolist(), decision, strict=True)):
        if what is Decision.KEPT:
            goes_to[row] = world.person(number)
        elif what is Decision.MOVED:
            goes_to[row] = world.person(int(world.bank.person[found.entry[row]]))
    nothing = np.full(count, np.nan, np.float32)
    return Verdicts(reason, decision, goes_to, [CLEANING] * count, doubt, nothing, [None] * count)


def _linked(number: np.ndarray, cores: Cores, links: np.ndarray) -> np.ndarray:
    """Which photos [n] are in the main component by links and not by likeness: its largest part of one label."""
    main = np.flatnonzero(cores.component == 0)
    linked = np.zeros(len(number), bool)
    if len(main):
        _, back, size = np.unique(links[main], return_inverse=True, return_counts=True)
        starts = person_starts(number[main])
        largest = np.maximum.reduceat(size[back], starts)
        linked[main] = size[back] == np.repeat(largest, np.diff(np.r_[starts, len(main)]))
    return linked


def _by_reviewers(rows: Shard, verdicts: Verdicts, world: World) -> None:
    """What a reviewer said stands."""
    if not world.reviewed:
        return
    for row, photo in enumerate(rows.names):
        said = world.reviewed.get(photo)
        if said is not None:
            what = Decision(said.decision)
            verdicts.reason[row], verdicts.decision[row] = CleaningReason.REVIEWER, what
            kept = world.person(int(rows.number[row])) if what is Decision.KEPT else None
            verdicts.goes_to[row] = said.to if what is Decision.MOVED else kept
            verdicts.by[row], verdicts.doubt[row] = said.reviewer, 0


def _judge_fakes(rows: Shard, verdicts: Verdicts, world: World) -> None:
    """A fake stays if its best cosine to a kept real photo of the claimed person reaches the threshold."""
    open_fakes = np.flatnonzero(
        rows.fake & rows.embedded & (rows.number < rows.people) & (verdicts.reason != CleaningReason.REVIEWER)
    )
    kept = np.flatnonzero(~rows.fake & rows.embedded & (verdicts.decision == Decision.KEPT))
    for fakes in np.split(open_fakes, person_starts(rows.number[open_fakes])[1:]) if len(open_fakes) else []:
        number = rows.number[fakes[0]]
        reals = kept[slice(*np.searchsorted(rows.number[kept], [number, number + 1]))]
        if len(reals):
            best = (rows.units[fakes] @ rows.units[reals].T).max(axis=1)
            alike = best >= np.float32(world.lines.link)
            verdicts.fake_best[fakes] = best
            verdicts.doubt[fakes] = np.exp(-np.abs(best - world.lines.link) / world.lines.margin)
        else:
            alike = np.zeros(len(fakes), bool)
            verdicts.doubt[fakes] = 0.5
        unlike = CleaningReason.FAKE_UNLIKE_CLAIMED if len(reals) else CleaningReason.FAKE_WITHOUT_REAL
        for row, stays in zip(fakes, alike, strict=True):
            verdicts.reason[row] = CleaningReason.FAKE_LIKE_CLAIMED if stays else unlike
            verdicts.decision[row] = DECISION_OF[verdicts.reason[row]]
            verdicts.goes_to[row] = world.person(int(number)) if stays else None


def _drop_duplicates(rows: Shard, verdicts: Verdicts, world: World) -> None:
    """Of files with the same bytes that would go on under one person, one does; a reviewer's word is not touched."""
    going_on: dict[tuple[int, str], set[str]] = {}
    for row, (photo, goal) in enumerate(zip(rows.names, verdicts.goes_to, strict=True)):
        if goal is None or not world.exact.others(photo):
            continue
        number = int(rows.number[row])
        seen = going_on.setdefault((number, goal), set())
        spare_of = world.exact.spares(photo, goal, seen, world.person(number))
        if spare_of is not None and verdicts.reason[row] != CleaningReason.REVIEWER:
            verdicts.reason[row] = CleaningReason.EXACT_DUPLICATE
            verdicts.decision[row] = Decision.DROPPED
            verdicts.goes_to[row], verdicts.spare_of[row], verdicts.doubt[row] = None, spare_of, 0
        else:
            seen.add(photo)
