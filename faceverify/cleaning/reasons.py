"""What may become of a photo, and the closed list of reasons for it."""

from enum import StrEnum


class Decision(StrEnum):
    """The end of a photo's way through cleaning; `decisions.decision` holds one of these."""

    KEPT = "kept"  # it goes on under its person
    MOVED = "moved"  # it goes on under another person
    REVIEW = "review"  # a person has to look; until then it does not go on
    DROPPED = "dropped"  # it does not go on


class CleaningReason(StrEnum):
    """Why; `decisions.reason` holds one of these and nothing else."""

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
