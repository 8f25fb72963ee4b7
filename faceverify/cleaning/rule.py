"""The rule: what becomes of each photo, by how similar it is to its own person and to the nearest other one.

    own      cosine to the mean of the person's main component (without the photo itself)
    other    cosine to the nearest mean of another person

    moved    other >= claim and other >= own + margin        it is clearly somebody else's
    kept     own >= link                                     it is like its person
    kept     own >= weak and other < claim                   doubtful, but nobody else can claim it
    review   the rest

The thresholds are explained in thresholds.py. Where a tie leaves open who the person is there is no `own`: what nobody
else claims is held for review.
Shape letters: N photos, sorted by person.
"""

from dataclasses import dataclass, fields, replace
from enum import StrEnum

import numpy as np
import pyarrow as pa

from faceverify.cleaning.linking import person_starts
from faceverify.cleaning.thresholds import Thresholds


class Decision(StrEnum):
    """What becomes of a photo; `decisions.decision` holds one of these."""

    KEPT = "kept"  # it goes on under its person
    MOVED = "moved"  # it goes on under another person
    REVIEW = "review"  # a person has to look; until then it does not go on
    DROPPED = "dropped"  # it does not go on


class CleaningReason(StrEnum):
    """Why a photo was decided so; `decisions.reason` holds one of these and nothing else."""

    # kept
    LINKED = "linked"  # in the main component, and like its mean
    LIKE_THE_MEAN = "like_the_mean"  # no link to the main component, but like its mean
    WEAK_BUT_UNCLAIMED = "weak_but_unclaimed"  # little like the own person, but nobody else is nearer beyond doubt
    ONLY_PHOTO = "only_photo"  # of its person; nothing speaks against it
    FAKE_LIKE_CLAIMED = "fake_like_claimed"  # the fake reaches the threshold with a kept real photo of the person
    # moved
    NEARER_TO_OTHER = "nearer_to_other"  # clearly another person's
    # review
    UNLIKE_OWN = "unlike_own"  # not like its person, and not clearly anybody else's
    SECOND_GROUP = "second_group"  # one of several photos alike that are not like the rest: perhaps a second person
    NO_MAJORITY = "no_majority"  # the person's photos fall apart into equal groups: which one is the person?
    ONLY_PHOTO_LIKE_OTHER = "only_photo_like_other"  # the only photo of its person looks like another person
    FAKE_UNLIKE_CLAIMED = "fake_unlike_claimed"  # the fake is like no kept real photo of the person
    FAKE_WITHOUT_REAL = "fake_without_real"  # no real photo of the claimed person was kept to compare with
    NO_EMBEDDING = "no_embedding"  # rejected by an earlier job, so nothing is known about its face
    NO_PERSON = "no_person"  # the table names no person
    # dropped
    EXACT_DUPLICATE = "exact_duplicate"  # the same bytes go on once already under that person
    # any
    REVIEWER = "reviewer"  # a reviewer said so


DECISION_OF = {
    CleaningReason.LINKED: Decision.KEPT,
    CleaningReason.LIKE_THE_MEAN: Decision.KEPT,
    CleaningReason.WEAK_BUT_UNCLAIMED: Decision.KEPT,
    CleaningReason.ONLY_PHOTO: Decision.KEPT,
    CleaningReason.FAKE_LIKE_CLAIMED: Decision.KEPT,
    CleaningReason.NEARER_TO_OTHER: Decision.MOVED,
    CleaningReason.UNLIKE_OWN: Decision.REVIEW,
    CleaningReason.SECOND_GROUP: Decision.REVIEW,
    CleaningReason.NO_MAJORITY: Decision.REVIEW,
    CleaningReason.ONLY_PHOTO_LIKE_OTHER: Decision.REVIEW,
    CleaningReason.FAKE_UNLIKE_CLAIMED: Decision.REVIEW,
    CleaningReason.FAKE_WITHOUT_REAL: Decision.REVIEW,
    CleaningReason.NO_EMBEDDING: Decision.REVIEW,
    CleaningReason.NO_PERSON: Decision.REVIEW,
    CleaningReason.EXACT_DUPLICATE: Decision.DROPPED,
}


@dataclass(frozen=True)
class PhotoEvidence:
    """What the rounds before the decisions found out about N photos; see `rounds.search_photos`.

    component: [N] int32, number of the photo's component within its person, 0 = the main one, -1 = in no graph;
    own: [N] float32, see `linking.MainComponents`; tied: [N] bool, likewise, after ties are settled;
    linked: [N] int64, label of the connected component by links alone;
    nearest: [N] int64, number of the nearest centroid of another person, -1 = none, or not searched;
    other: [N] float32, cosine to that centroid, NaN where there is none.
    """

    component: np.ndarray
    own: np.ndarray
    tied: np.ndarray
    linked: np.ndarray
    nearest: np.ndarray
    other: np.ndarray

    def select(self, rows: np.ndarray) -> "PhotoEvidence":
        """The evidence about some of the photos, by row number."""
        return PhotoEvidence(*(getattr(self, field.name)[rows] for field in fields(self)))

    def without_suggestions(self, rows: np.ndarray) -> "PhotoEvidence":
        """The same without the nearest other person of the photos `rows` [N] bool."""
        other = np.where(rows, np.float32(np.nan), self.other)
        return replace(self, nearest=np.where(rows, -1, self.nearest), other=other)

    @staticmethod
    def from_table(table: pa.Table) -> "PhotoEvidence":
        """Read the part that the round `search` wrote."""
        return PhotoEvidence(*(table[field.name].to_numpy() for field in fields(PhotoEvidence)))


def judge(person: np.ndarray, evidence: PhotoEvidence, thresholds: Thresholds) -> tuple[np.ndarray, np.ndarray]:
    """The reason for each real photo, and how doubtful it is.

    Args:
        person: [N] int64 sorted, numbers of people.
        evidence: about these photos.
        thresholds: of this run, `claim` among them.

    Returns:
        [N] members of CleaningReason (dtype object), and [N] float32 from 0 (clear) to 1 (a coin toss):
        exp(-d / margin), d the distance of the cosines from the nearest threshold at which the decision would change.
    """
    own, other = np.nan_to_num(evidence.own, nan=-1.0), np.nan_to_num(evidence.other, nan=-1.0)
    claimed = np.minimum(other - thresholds.claim, other - own - thresholds.margin)  # >= 0: somebody else's
    like = own - thresholds.link
    weakly = np.minimum(own - thresholds.weak, thresholds.claim - other)
    stays = np.maximum(like, weakly)
    reason = np.full(len(own), CleaningReason.UNLIKE_OWN, object)
    reason[_in_second_group(person, evidence.component)] = CleaningReason.SECOND_GROUP
    reason[weakly >= 0] = CleaningReason.WEAK_BUT_UNCLAIMED
    reason[like >= 0] = CleaningReason.LIKE_THE_MEAN
    reason[(like >= 0) & _in_main_by_links(person, evidence)] = CleaningReason.LINKED
    unknown = np.isnan(evidence.own)
    reason[unknown] = CleaningReason.NO_MAJORITY
    reason[claimed >= 0] = CleaningReason.NEARER_TO_OTHER
    alone = unknown & ~evidence.tied
    reason[alone] = CleaningReason.ONLY_PHOTO
    # Nothing is known of a person with one photo, so it takes more to say that the photo is another's.
    reason[alone & (claimed >= 0)] = CleaningReason.ONLY_PHOTO_LIKE_OTHER
    # A photo changes its decision where it is claimed or no longer claimed, or, if not claimed, where it stays or not.
    distance = np.where((claimed >= 0) | unknown, np.abs(claimed), np.minimum(-claimed, np.abs(stays)))
    doubt = np.exp(-np.maximum(distance, 0) / thresholds.margin).astype(np.float32)
    doubt[unknown & ~alone] = 1.0
    return reason, doubt


def _in_second_group(person: np.ndarray, component: np.ndarray) -> np.ndarray:
    """Photos [N] bool in a component other than the main one that has two photos or more."""
    component = component.astype(np.int64)
    _, back, count = np.unique(np.stack([person, component], axis=1), axis=0, return_inverse=True, return_counts=True)
    return (component > 0) & (count[back.reshape(-1)] > 1)


def _in_main_by_links(person: np.ndarray, evidence: PhotoEvidence) -> np.ndarray:
    """Photos [N] bool in the main component by links and not by similarity: its largest part of one label."""
    main = np.flatnonzero(evidence.component == 0)
    by_links = np.zeros(len(person), bool)
    if len(main):
        _, back, size = np.unique(evidence.linked[main], return_inverse=True, return_counts=True)
        starts = person_starts(person[main])
        largest = np.maximum.reduceat(size[back], starts)
        by_links[main] = size[back] == np.repeat(largest, np.diff(np.r_[starts, len(main)]))
    return by_links
