"""The rule: what becomes of each photo, by how like it is to its own person and to the nearest other one.

    own      cosine to the mean of the person's main component (without the photo itself)
    other    cosine to the nearest mean of another person

    moved    other >= claim and other >= own + margin        it is clearly somebody else's
    kept     own >= link                                     it is like its person
    kept     own >= weak and other < claim                   doubtful, but nobody else can claim it
    review   the rest

`claim` is the chance level of the search (see resolve.py), the other lines are those of thresholds.py. Where a tie
leaves open who the person is there is no `own`: what nobody else claims is held for review.
Shape letters: N photos of a shard, sorted by person.
"""

from dataclasses import dataclass

import numpy as np

from faceverify.cleaning.cores import Cores
from faceverify.cleaning.reasons import CleaningReason, Decision
from faceverify.cleaning.thresholds import Thresholds

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
class Lines(Thresholds):
    """The thresholds of one person's photos, and `claim`: what another person's mean must reach to claim a photo."""

    claim: float


@dataclass(frozen=True)
class Seen:
    """What is known of N real photos.

    cores: components and `own`, after ties are settled (`settle`);
    linked: [N] bool, the photo was in the main component by its links;
    other: [N] float32 cosine to the nearest other person, NaN where there is none or nobody searched.
    """

    person: np.ndarray
    cores: Cores
    linked: np.ndarray
    other: np.ndarray


def judge(seen: Seen, lines: Lines) -> tuple[np.ndarray, np.ndarray]:
    """The reason for each photo [N] (members of CleaningReason, dtype object), and how doubtful it is.

    Returns:
        reasons [N], and [N] float32 from 0 (clear) to 1 (a coin toss): exp(-d / margin), d the distance of the
        cosines from the nearest line at which the decision would be another one.
    """
    own, other = np.nan_to_num(seen.cores.own, nan=-1.0), np.nan_to_num(seen.other, nan=-1.0)
    claimed = np.minimum(other - lines.claim, other - own - lines.margin)  # >= 0: somebody else's
    like = own - lines.link
    weakly = np.minimum(own - lines.weak, lines.claim - other)
    stays = np.maximum(like, weakly)
    reason = np.full(len(own), CleaningReason.UNLIKE_OWN, object)
    reason[_grouped(seen)] = CleaningReason.SECOND_GROUP
    reason[weakly >= 0] = CleaningReason.WEAK_BUT_UNCLAIMED
    reason[like >= 0] = CleaningReason.LIKE_THE_MEAN
    reason[(like >= 0) & seen.linked] = CleaningReason.LINKED
    unknown = np.isnan(seen.cores.own)
    reason[unknown] = CleaningReason.NO_MAJORITY
    reason[claimed >= 0] = CleaningReason.NEARER_TO_OTHER
    alone = unknown & ~seen.cores.tied
    reason[alone] = CleaningReason.ONLY_PHOTO
    # Nothing is known of a person with one photo, so it takes more to say that the photo is another's.
    reason[alone & (claimed >= 0)] = CleaningReason.ONLY_PHOTO_LIKE_OTHER
    # A photo changes its decision where it crosses the line of being claimed, or, if not claimed, that of staying.
    distance = np.where((claimed >= 0) | unknown, np.abs(claimed), np.minimum(-claimed, np.abs(stays)))
    doubt = np.exp(-np.maximum(distance, 0) / lines.margin).astype(np.float32)
    doubt[unknown & ~alone] = 1.0
    return reason, doubt


def _grouped(seen: Seen) -> np.ndarray:
    """Photos [N] bool in a component other than the main one that has two photos or more."""
    component = seen.cores.component.astype(np.int64)
    _, back, count = np.unique(
        np.stack([seen.person, component], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    return (component > 0) & (count[back.reshape(-1)] > 1)


def settle(cores: Cores, person: np.ndarray, chosen: dict[int, int]) -> Cores:
    """Make the component chosen for a tied person (`Relations.chosen`) its main one; `own` is then to be made again."""
    component, tied = cores.component.copy(), cores.tied.copy()
    for number in np.unique(person[cores.tied]):
        if int(number) in chosen:
            rows = np.flatnonzero(person == number)
            winner = cores.component[rows] == chosen[int(number)]
            component[rows] = np.where(winner, 0, cores.component[rows] + (cores.component[rows] < chosen[int(number)]))
            tied[rows] = False
    return Cores(component, cores.own, tied)
