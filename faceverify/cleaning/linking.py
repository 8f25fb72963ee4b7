"""Which photos of a person show that person: links by cosine, connected components, and the main one of each person.

Single links mislead: a stray that looks like one photo joins the component, and an odd photo of the right person is
linked to nothing. The mean of a component is far more reliable than any one photo of it, so after the largest component
is found, photos that are like its mean join it, and photos that are not like it leave.

Shape letters: N photos (rows sorted by person), D numbers in an embedding, P people who have n photos each.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from faceverify.cleaning.thresholds import Thresholds

DENSE = (
    1024  # photos of one person up to which the matrix is made whole; beyond, it is made in strips of that many rows
)
BLOCK = 1 << 15  # cosines of small people held at a time
CORRECTIONS = 2  # rounds of joining and leaving; a third changes nothing on LFW


@dataclass(frozen=True)
class Links:
    """The graphs of all people, as far as later steps need them.

    component: [N] int64, the smallest row of the connected component that the row is in;
    near: [K, 2] int64, pairs of rows that are near-duplicates, the smaller first, in order; near_cosine: [K] float32.
    """

    component: np.ndarray
    near: np.ndarray
    near_cosine: np.ndarray


@dataclass(frozen=True)
class MainComponents:
    """The components of all people, and how similar each photo is to its person's main one.

    component: [N] int32; within a person 0 is the main one, further ones by size, then by their first photo;
    own: [N] float32, cosine to the mean of the main component without the photo itself; NaN where that has no photos;
    tied: [N] bool, the person has several largest components, and which of them is the person is undecided.
    """

    component: np.ndarray
    own: np.ndarray
    tied: np.ndarray


def person_starts(person: np.ndarray) -> np.ndarray:
    """Where each person's rows begin in the sorted column `person` [N]."""
    return np.flatnonzero(np.r_[True, person[1:] != person[:-1]]) if len(person) else np.zeros(0, np.int64)


def link(vectors: np.ndarray, person: np.ndarray, threshold: float, near_threshold: float) -> Links:
    """Link photos of the same person whose cosine reaches the threshold.

    Args:
        vectors: [N, D] float32, of any length but zero.
        person: [N] sorted; rows of equal numbers are one person.
        threshold: there is an edge where cosine >= threshold, compared in float32.
        near_threshold: likewise for near-duplicates.

    Memory beyond the inputs is bounded: `BLOCK` cosines, or DENSE x (photos of the largest person).
    """
    component = np.arange(len(vectors))
    pairs, cosines = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.float32)]
    for rows in _blocks(person):
        label = np.broadcast_to(np.arange(rows.shape[1]), rows.shape)
        for offset, cosine in _strips(vectors, rows):
            linked = cosine >= np.float32(threshold)
            label = _label(linked) if cosine.shape[1] == rows.shape[1] else _merge(label, linked, offset)
            which, i, j, value = _pairs_above(cosine, offset, np.float32(near_threshold))
            pairs.append(np.stack([rows[which, i], rows[which, j]], axis=1))
            cosines.append(value)
        component[rows] = rows[:, :1] + label
    near = np.concatenate(pairs)
    order = np.lexsort(near.T[::-1])
    return Links(component, near[order], np.concatenate(cosines)[order])


def _blocks(person: np.ndarray) -> Iterator[np.ndarray]:
    """Row numbers [P, n] of people with equally many photos: a bounded number of people, of large ones one."""
    starts = person_starts(person)
    sizes = np.diff(np.r_[starts, len(person)])
    for size in np.unique(sizes):
        chosen = starts[sizes == size]
        step = 1 if size > DENSE else max(1, BLOCK // int(size) ** 2)
        for at in range(0, len(chosen), step):
            yield chosen[at : at + step, None] + np.arange(size)


def _strips(vectors: np.ndarray, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The cosine matrices of people [P, n]: number of the first row, and cosines [P, strip, n]."""
    people, size = rows.shape
    together = int(rows[-1, -1]) - int(rows[0, 0]) + 1 == rows.size  # neighbours: no copy
    block = vectors[rows[0, 0] : rows[-1, -1] + 1].reshape(people, size, -1) if together else vectors[rows]
    square = None if size <= DENSE else np.einsum("pnd,pnd->pn", block, block)
    for at in range(0, size, DENSE):
        product = block[:, at : at + DENSE] @ block.transpose(0, 2, 1)
        scale = 1 / np.sqrt(np.einsum("pii->pi", product) if square is None else square)
        yield at, product * scale[:, at : at + DENSE, None] * scale[:, None, :]


def _label(linked: np.ndarray) -> np.ndarray:
    """Components of matrices [P, n, n]: [P, n], the smallest place in each one's component.

    Every photo takes the smallest label among its neighbours, then the label of that label, until neighbours agree.
    """
    size = np.int16(linked.shape[2])
    label = linked.argmax(axis=2).astype(np.int16)  # the first neighbour, which is the photo itself at the latest
    while ((label[:, :, None] != label[:, None, :]) & linked).any():
        label = np.where(linked, label[:, None, :], size).min(axis=2)
        label = np.take_along_axis(label, label.astype(np.int64), axis=1)
    return label.astype(np.int64)


def _merge(label: np.ndarray, linked: np.ndarray, offset: int) -> np.ndarray:
    """Components [1, n] of one large person after the links [1, strip, n] of the rows from `offset` on are added."""
    i, j = np.nonzero(linked[0])
    ends = label[0, i + offset], label[0, j]
    graph = coo_array((np.ones(len(i), np.int8), ends), shape=(label.size, label.size))
    number = connected_components(graph, directed=False)[1][label[0]]
    smallest = np.full(label.size, label.size)
    np.minimum.at(smallest, number, np.arange(label.size))
    return smallest[number][None]


def _pairs_above(cosine: np.ndarray, offset: int, threshold: np.float32) -> tuple[np.ndarray, ...]:
    """Person, both ends and cosine of the pairs i < j at or above the threshold."""
    which, i, j = np.nonzero(cosine >= threshold)
    i = i + offset
    upper = i < j
    return which[upper], i[upper], j[upper], cosine[which[upper], i[upper] - offset, j[upper]]


def find_main_components(
    units: np.ndarray, person: np.ndarray, links: np.ndarray, thresholds: Thresholds
) -> MainComponents:
    """Choose the main component of every person, and correct it by its mean.

    Args:
        units: [N, D] float32, unit vectors of real photos.
        person: [N] sorted.
        links: [N] int64, `Links.component`.
        thresholds: of this run.
    """
    label = _merge_ties(units, person, links, thresholds.weak)
    component = number_components(person, label, np.zeros(len(person), bool))
    tied = tied_people(person, component)
    main = (component == 0) & ~tied
    for _ in range(CORRECTIONS):
        own = own_similarity(units, person, main)
        left = main & (own < thresholds.weak)
        stays = ~tied & ((main & ~left) | (own >= np.float32(thresholds.link)))
        # A component of which nothing would stay has no mean to judge it by: it stays as it was.
        main = np.where(_any_of_person(person, stays), stays, main)
    alone = np.where((component == 0) & ~main, np.arange(len(person)) + len(person), label)  # those that left
    component = number_components(person, alone, main)
    return MainComponents(component, np.where(tied, np.float32(np.nan), own_similarity(units, person, main)), tied)


def own_similarity(units: np.ndarray, person: np.ndarray, main: np.ndarray) -> np.ndarray:
    """Cosine [N] float32 of each photo to the mean of its person's `main` photos other than itself; NaN if none."""
    if not len(units):
        return np.zeros(0, np.float32)
    starts = person_starts(person)
    which = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(person)]))
    total = np.add.reduceat(units * main[:, None], starts, axis=0)
    others = np.add.reduceat(main.astype(np.int64), starts)[which] - main
    # With s the sum of the main units, leaving x itself out: x.(s - x) = x.s - 1, |s - x|^2 = |s|^2 - 2 x.s + 1.
    dot = np.einsum("nd,nd->n", units, total[which], dtype=np.float64)
    square = np.einsum("pd,pd->p", total, total, dtype=np.float64)[which] - main * (2 * dot - 1)
    length = np.sqrt(np.maximum(square, 1e-12))
    return np.where(others > 0, (dot - main) / length, np.nan).astype(np.float32)


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


def settle_ties(components: MainComponents, person: np.ndarray, settled: dict[int, int]) -> MainComponents:
    """Make the component that was chosen for a tied person its main one; `own` has to be computed again after that.

    Args:
        components: with ties.
        person: [N] sorted.
        settled: {person: number of the component that is the person}; ties of other people stay.
    """
    component, tied = components.component.copy(), components.tied.copy()
    for number in np.unique(person[components.tied]):
        if int(number) in settled:
            rows = np.flatnonzero(person == number)
            before, winner = components.component[rows], settled[int(number)]
            component[rows] = np.where(before == winner, 0, before + (before < winner))
            tied[rows] = False
    return MainComponents(component, components.own, tied)


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
