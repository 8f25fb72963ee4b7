"""What each number of the report means: name, meaning, which direction is better, what it needs."""

from typing import NamedTuple


class Term(NamedTuple):
    """One line of the glossary."""

    name: str
    meaning: str
    better: str
    needs: str


GLOSSARY = (
    Term("Similarity", "Cosine of the two faces' embeddings, from -1 to 1.", "high for one person, low otherwise", ""),
    Term("Threshold", "A pair is accepted as one person from this similarity on.", "a choice, not a quality", ""),
    Term(
        "FNMR",
        "False non-match rate: share of the genuine pairs (two real photos of one person) that is rejected.",
        "lower",
        "genuine pairs",
    ),
    Term(
        "FMR",
        "False match rate: share of the impostor pairs (real photos of two people) that is accepted.",
        "lower",
        "impostor pairs",
    ),
    Term(
        "Deepfakes accepted",
        "Share of the pairs of a real photo and a fake of the same person that is accepted at the threshold; "
        "the impostor attack presentation accept rate (IAPAR) of this generator.",
        "lower",
        "deepfake pairs",
    ),
    Term(
        "EER",
        "Equal error rate: the common value of both error rates at the threshold where they are equal. "
        "Given against all negatives together, against real impostors alone, and against each generator.",
        "lower; 50% is guessing",
        "genuine and negative pairs",
    ),
    Term(
        "FNMR at FMR",
        "Genuine pairs rejected when the threshold is so strict that at most this share of impostors is accepted.",
        "lower",
        "at least 1 / FMR impostor pairs",
    ),
    Term("AUC", "Chance that a genuine pair scores above a negative pair.", "higher; 50% is guessing", "both classes"),
    Term("Accuracy", "Share of right decisions at the threshold; follows the mix of pairs.", "higher", "both classes"),
    Term(
        "95% interval",
        "Where the true value would lie if other people of the same kind were tested. It says nothing about other "
        "cameras, other populations or generators that are not in the data.",
        "narrower",
        "names of the persons",
    ),
    Term(
        "FRR, FAR",
        "FNMR and FMR of a whole system that also rejects every pair for which no score could be computed.",
        "lower",
        "labels of the failed pairs",
    ),
)
