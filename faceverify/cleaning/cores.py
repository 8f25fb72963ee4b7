"""Which photos of a person are taken to be the person: the largest component, mended by its own mean.

Single links mislead: a stray that looks like one photo joins the component, and an odd photo of the right person hangs
on nothing. The mean of a component is a far better likeness than any one photo of it, so after the largest component is
found, photos that are like its mean join, and photos that are not like it leave.

Shape letters: N photos (rows sorted by person), D numbers in an embedding, E components that stand for a person.
"""

from dataclasses import dataclass

import numpy as np

from faceverify.cleaning.linking import person_starts
from faceverify.cleaning.thresholds import Thresholds

ROUNDS = 2  # of joining and leaving; a third changes nothing on LFW


@dataclass(frozen=True)
class Cores:
    """Components of all people.

    component: [N] int32; within a person 0 is the main one, further ones by size, then by their first photo;
    own: [N] float32, cosine to the mean of the main component without the photo itself; NaN where that is nobody;
    tied: [N] bool, the person has several largest components, and which of them is the person is open.
    """

    component: np.ndarray
    own: np.ndarray
    tied: np.ndarray


def find_cores(units: np.ndarray, person: np.ndarray, links: np.ndarray, lines: Thresholds) -> Cores:
    """Choose and fix the main component of every person.

    Args:
        units: [N, D] float32, unit vectors of real photos.
        person: [N] sorted.
        links: [N] int64, `Links.component`.
        lines: thresholds.
    """
    label = _merge_ties(units, person, links, lines.weak)
    component = number_components(person, label, np.zeros(len(person), bool))
    tied = tied_people(person, component)
    core = (component == 0) & ~tied
    for _ in range(ROUNDS):
        own = own_similarity(units, person, core)
        left = core & (own < lines.weak)
        stays = ~tied & ((core & ~left) | (own >= np.float32(lines.link)))
        # A component of which nothing would stay has no mean to judge it by: it stays as it was.
        core = np.where(_any_of_person(person, stays), stays, core)
    alone = np.where((component == 0) & ~core, np.arange(len(person)) + len(person), label)  # those that left
    component = number_components(person, alone, core)
    return Cores(component, np.where(tied, np.float32(np.nan), own_similarity(units, person, core)), tied)


def own_similarity(units: np.ndarray, person: np.ndarray, core: np.ndarray) -> np.ndarray:
    """Cosine [N] float32 of each photo to the mean of its person's `core` photos other than itself; NaN if none."""
    if not len(units):
        return np.zeros(0, np.float32)
    starts = person_starts(person)
    which = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(person)]))
    total = np.add.reduceat(units * core[:, None], starts, axis=0)
    others = np.add.reduceat(core.astype(np.int64), starts)[which] - core
    # With s the sum of the core's units, leaving x itself out: x.(s - x) = x.s - 1, |s - x|^2 = |s|^2 - 2 x.s + 1.
    dot = np.einsum("nd,nd->n", units, total[which], dtype=np.float64)
    square = np.einsum("pd,pd->p", total, total, dtype=np.float64)[which] - core * (2 * dot - 1)
    length = np.sqrt(np.maximum(square, 1e-12))
    return np.where(others > 0, (dot - core) / length, np.nan).astype(np.float32)


def number_components(person: np.ndarray, label: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Number the components of each person [N] int32: those marked `first`, then by size, then by their first row."""
    names, row, back, size = np.unique(label, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((row, -size, ~first[row], person[row]))
    owner = person[row][order]
    starts = person_starts(owner)
    number = np.empty(len(names), np.int32)
    number[order] = np.arange(len(names)) - np.repeat(starts, np.diff(np.r_[starts, len(names)]))
    return number[back]


def tied_people(person: np.ndarray, component: np.ndarray) -> np.ndarray:
    """Photos [N] bool of people whose components 0 and 1 are equally large."""
    if not len(person):
        return np.zeros(0, bool)
    starts = person_starts(person)
    sizes = [np.add.reduceat((component == number).astype(np.int64), starts) for number in (0, 1)]
    return np.repeat(sizes[0] == sizes[1], np.diff(np.r_[starts, len(person)]))


def _any_of_person(person: np.ndarray, mask: np.ndarray) -> np.ndarray:
    starts = person_starts(person)
    if not len(starts):
        return mask
    return np.repeat(np.logical_or.reduceat(mask, starts), np.diff(np.r_[starts, len(person)]))


def _merge_ties(units: np.ndarray, person: np.ndarray, label: np.ndarray, weak: float) -> np.ndarray:
    """Join equally large largest components of a person that are at least weakly alike; such people are few."""
    label = label.copy()
    component = number_components(person, label, np.zeros(len(person), bool))
    tied = np.flatnonzero(tied_people(person, component))
    for rows in np.split(tied, person_starts(person[tied])[1:]) if len(tied) else []:
        size = np.bincount(component[rows])
        largest = [rows[component[rows] == number] for number in np.flatnonzero(size == size[0])]
        main = largest[0]
        for other in largest[1:]:
            if (units[main] @ units[other].T).mean() >= weak:
                label[other] = label[main[0]]
    return label
