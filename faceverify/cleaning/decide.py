"""From the rule's reasons to a decision on every photo of a shard: fakes, exact duplicates, reviewers.

Shape letters: N photos of a shard.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from faceverify.cleaning.centroids import PersonCentroids
from faceverify.cleaning.decisions_file import ReviewDecision
from faceverify.cleaning.duplicates import ExactGroups
from faceverify.cleaning.linking import person_starts
from faceverify.cleaning.plan import PhotoShard
from faceverify.cleaning.rule import DECISION_OF, CleaningReason, Decision, PhotoEvidence, judge
from faceverify.cleaning.thresholds import Thresholds

CLEANING = "cleaning"  # who decides, unless a reviewer does


@dataclass(frozen=True)
class CleaningContext:
    """What decisions about a shard need to know of the whole run.

    names, splits: [P] Arrow strings, of all people by number; centroids: of people, for suggestions;
    thresholds: `claim` among them; exact: groups of photos of the same bytes;
    reviewed: the reviewers' decisions by photo.
    """

    names: pa.Array
    splits: pa.Array
    centroids: PersonCentroids
    thresholds: Thresholds
    exact: ExactGroups
    reviewed: dict[str, ReviewDecision]

    def person(self, number: int) -> str | None:
        """The name of the person with that number; None for nobody."""
        return self.names[number].as_py() if number < len(self.names) else None


@dataclass
class PhotoDecisions:
    """The decisions about N photos, step by step; lists and arrays in the order of the shard's photos.

    reason, decision: [N] members of their enums; goes_to: the person under whom the photo goes on, or None;
    by: who decided; doubt: [N] float32, 0 (clear) ... 1 (a coin toss);
    fake_best: [N] float32 cosine of a fake to the nearest kept real photo, NaN for others;
    spare_of: the photo whose bytes the dropped one repeats, or None.
    """

    reason: np.ndarray
    decision: np.ndarray
    goes_to: list[str | None]
    by: list[str]
    doubt: np.ndarray
    fake_best: np.ndarray
    spare_of: list[str | None]


def decide_photos(rows: PhotoShard, evidence: PhotoEvidence, context: CleaningContext) -> PhotoDecisions:
    """Decide about every photo of a shard: by the rule, then reviewers, then fakes, then exact duplicates."""
    decisions = _by_rule(rows, evidence, context)
    _by_reviewers(rows, decisions, context)
    _judge_fakes(rows, decisions, context)
    _drop_duplicates(rows, decisions, context)
    return decisions


def needs_no_suggestion(evidence: PhotoEvidence, decisions: PhotoDecisions, link: float) -> np.ndarray:
    """Photos [N] bool whose own person is certain, or that are not similar even to the nearest other person."""
    sound = np.isin(decisions.reason.astype(str), (CleaningReason.LINKED, CleaningReason.LIKE_THE_MEAN))
    return sound | ~(evidence.other >= np.float32(link))


def _by_rule(rows: PhotoShard, evidence: PhotoEvidence, context: CleaningContext) -> PhotoDecisions:
    count = len(rows.number)
    reason = np.full(count, CleaningReason.NO_EMBEDDING, object)
    doubt = np.full(count, 0.05, np.float32)  # nothing can be said of them, so they come last
    reason[rows.embedded & (rows.number == rows.people)] = CleaningReason.NO_PERSON
    real = rows.real
    reason[real], doubt[real] = judge(rows.number[real], evidence.select(real), context.thresholds)
    decision = np.array([DECISION_OF[why] for why in reason], object)
    goes_to: list[str | None] = [None] * count
    for row, (number, what) in enumerate(zip(rows.number.tolist(), decision, strict=True)):
        if what is Decision.KEPT:
            goes_to[row] = context.person(number)
        elif what is Decision.MOVED:
            goes_to[row] = context.person(int(context.centroids.person[evidence.nearest[row]]))
    nothing = np.full(count, np.nan, np.float32)
    return PhotoDecisions(reason, decision, goes_to, [CLEANING] * count, doubt, nothing, [None] * count)


def _by_reviewers(rows: PhotoShard, decisions: PhotoDecisions, context: CleaningContext) -> None:
    """A reviewer's decision stands."""
    if not context.reviewed:
        return
    for row, photo in enumerate(rows.names):
        review = context.reviewed.get(photo)
        if review is not None:
            what = Decision(review.decision)
            decisions.reason[row], decisions.decision[row] = CleaningReason.REVIEWER, what
            kept = context.person(int(rows.number[row])) if what is Decision.KEPT else None
            decisions.goes_to[row] = review.to if what is Decision.MOVED else kept
            decisions.by[row], decisions.doubt[row] = review.reviewer, 0


def _judge_fakes(rows: PhotoShard, decisions: PhotoDecisions, context: CleaningContext) -> None:
    """A fake stays if its best cosine to a kept real photo of the claimed person reaches the threshold."""
    open_fakes = np.flatnonzero(
        rows.fake & rows.embedded & (rows.number < rows.people) & (decisions.reason != CleaningReason.REVIEWER)
    )
    kept = np.flatnonzero(~rows.fake & rows.embedded & (decisions.decision == Decision.KEPT))
    for fakes in np.split(open_fakes, person_starts(rows.number[open_fakes])[1:]) if len(open_fakes) else []:
        number = rows.number[fakes[0]]
        reals = kept[slice(*np.searchsorted(rows.number[kept], [number, number + 1]))]
        if len(reals):
            best = (rows.units[fakes] @ rows.units[reals].T).max(axis=1)
            alike = best >= np.float32(context.thresholds.link)
            decisions.fake_best[fakes] = best
            decisions.doubt[fakes] = np.exp(-np.abs(best - context.thresholds.link) / context.thresholds.margin)
        else:
            alike = np.zeros(len(fakes), bool)
            decisions.doubt[fakes] = 0.5
        unlike = CleaningReason.FAKE_UNLIKE_CLAIMED if len(reals) else CleaningReason.FAKE_WITHOUT_REAL
        for row, stays in zip(fakes, alike, strict=True):
            decisions.reason[row] = CleaningReason.FAKE_LIKE_CLAIMED if stays else unlike
            decisions.decision[row] = DECISION_OF[decisions.reason[row]]
            decisions.goes_to[row] = context.person(int(number)) if stays else None


def _drop_duplicates(rows: PhotoShard, decisions: PhotoDecisions, context: CleaningContext) -> None:
    """Keep one of several files with the same bytes that would go on under one person; reviewers' decisions stand."""
    going_on: dict[tuple[int, str], set[str]] = {}
    for row, (photo, goal) in enumerate(zip(rows.names, decisions.goes_to, strict=True)):
        if goal is None or not context.exact.others(photo):
            continue
        number = int(rows.number[row])
        seen = going_on.setdefault((number, goal), set())
        spare_of = context.exact.spares(photo, goal, seen, context.person(number))
        if spare_of is not None and decisions.reason[row] != CleaningReason.REVIEWER:
            decisions.reason[row] = CleaningReason.EXACT_DUPLICATE
            decisions.decision[row] = Decision.DROPPED
            decisions.goes_to[row], decisions.spare_of[row], decisions.doubt[row] = None, spare_of, 0
        else:
            seen.add(photo)
