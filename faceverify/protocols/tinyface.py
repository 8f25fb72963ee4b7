"""TinyFace: the rank at which a probe's person is found among the matches of all probes and many distractors.

A probe without a mate in the gallery counts nowhere, as in the published scripts (AdaFace, CVLface): the denominator is
the probes that have one. Any photo of the person within the first k counts. A distractor that scores as high as the
mate stands before it. Vectors are made by `fusion.unit_features`.
"""

from dataclasses import dataclass

import numpy as np

from faceverify.errors import UserError
from faceverify.protocols.identification import search

RANKS = (1, 5, 20)
DISTRACTOR = -1  # in place of a person


@dataclass(frozen=True, slots=True)
class TinyFaceResult:
    """Ranks.

    Attributes:
        rank: of each probe's best mate [P] int64, from 1; 0 for a probe without one.
        ranks: rank -> share of the probes with a mate that are found within it.
        mated: probes with a mate, the denominator.
    """

    rank: np.ndarray
    ranks: dict[int, float]
    mated: int


def tinyface_ranks(
    probes: np.ndarray, person: np.ndarray, gallery: np.ndarray, entry_person: np.ndarray
) -> TinyFaceResult:
    """Ranks of all probes.

    Args:
        probes: unit vectors [P,D], float32 or float64.
        person: whom each shows [P], integers >= 0.
        gallery: unit vectors [G,D] of matches and distractors, in any order; may be mapped from a file.
        entry_person: whom each shows [G]; DISTRACTOR for nobody.

    Raises:
        UserError: no probe has a mate, or an argument is empty.
    """
    found = search(probes, person, gallery, entry_person)
    mated = found.mates > 0
    if not mated.any():
        raise UserError("gallery: no probe has a photo of its person in it; check that both are of one set.")
    rank = np.where(mated, found.above + 1, 0)
    return TinyFaceResult(rank, {k: found.rank_rate(k) for k in RANKS}, int(mated.sum()))
