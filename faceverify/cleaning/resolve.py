"""What only all people together can tell: folders that hold one person, and who is who where components tie.

Shape letters: E entries of the bank, K pairs of entries.
"""

from dataclasses import dataclass

import numpy as np

from faceverify.cleaning.bank import Bank
from faceverify.cleaning.thresholds import Thresholds

SAME_SHARE = 0.05  # two folders are one person if they are as alike as the least coherent 5 % of people in themselves
CHANCE_SHARE = 0.99  # so many clear photos are not as near to any other person as the chance level
MIN_COHERENT = 3  # photos that a person needs for its coherence to count
MIN_CLEAR = 50  # clear photos, below which the chance level is not to be trusted


@dataclass(frozen=True)
class Relations:
    """How people stand to each other.

    same: mean cosine across two folders from which on they hold one person;
    bank: the entries that stand for people: those of ties that turned out to be strays are gone;
    chosen: {person: component} of ties that were settled: that component is the person;
    pairs: [K, 2] people (first < second) of all pairs near enough to be told; likeness: [K] their mean cosine;
    aliases: [A, 2] people that are the same, in both directions, sorted.
    """

    same: float
    bank: Bank
    chosen: dict[int, int]
    pairs: np.ndarray
    likeness: np.ndarray
    aliases: np.ndarray


def relate(bank: Bank, pairs: np.ndarray, likeness: np.ndarray, lines: Thresholds) -> Relations:
    """Settle ties and find folders of one person.

    Args:
        bank: all entries.
        pairs: [K, 2] entry numbers, from `near_entries` with the floor `lines.link`.
        likeness: [K] mean cosine across each pair.
        lines: thresholds.
    """
    coherent = bank.within[(bank.size >= MIN_COHERENT) & ~bank.tied]
    same = max(float(np.quantile(coherent, SAME_SHARE)) if len(coherent) else 1.0, lines.link + lines.margin)
    gone = _strays(bank, pairs, likeness, lines.link + lines.margin)
    stands = ~gone
    chosen = _settled(bank, stands)
    certain = ~bank.tied | np.array([chosen.get(int(p)) == c for p, c in zip(bank.person, bank.component, strict=True)])
    told = certain[pairs].all(axis=1) if len(pairs) else np.zeros(0, bool)
    people, likeness = bank.person[pairs[told]], likeness[told]
    order = np.lexsort((people[:, 1], people[:, 0]))
    people, likeness = people[order], likeness[order]
    alike = people[likeness >= same]
    both = np.concatenate([alike, alike[:, ::-1]])
    aliases = both[np.lexsort((both[:, 1], both[:, 0]))]
    return Relations(same, bank.select(stands), chosen, people, likeness, aliases)


def _strays(bank: Bank, pairs: np.ndarray, likeness: np.ndarray, floor: float) -> np.ndarray:
    """Entries [E] bool of ties that are like a person about whom there is no doubt: somebody else's photos."""
    gone = np.zeros(len(bank), bool)
    near = pairs[likeness >= floor]
    for this, other in ((0, 1), (1, 0)):
        gone[near[bank.tied[near[:, this]] & ~bank.tied[near[:, other]], this]] = True
    return gone


def _settled(bank: Bank, stands: np.ndarray) -> dict[int, int]:
    """{person: component} of ties of which one component stands."""
    rows = np.flatnonzero(stands & bank.tied)
    people, first, count = np.unique(bank.person[rows], return_index=True, return_counts=True)
    return {int(p): int(bank.component[rows[f]]) for p, f, n in zip(people, first, count, strict=True) if n == 1}


def chance_level(nearest: np.ndarray, link: float) -> float:
    """The cosine to another person's mean that clear photos of other people hardly ever reach by chance.

    It grows with the number of people searched, and follows the network, so it is measured.

    Args:
        nearest: [S] cosine of a sample of clearly labelled photos to the nearest other person.
        link: the least that is returned.
    """
    known = nearest[np.isfinite(nearest)]
    return max(link, float(np.quantile(known, CHANCE_SHARE))) if len(known) >= MIN_CLEAR else link
