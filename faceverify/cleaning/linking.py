"""Which photos of a person are linked: cosine matrices of many people at once, and their connected components.

Shape letters: N photos (rows sorted by person), D numbers in an embedding, P people who have n photos each.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

DENSE = 1024  # up to so many photos of one person the matrix is made whole; beyond, in strips of so many rows
BLOCK = 1 << 15  # cosines of small people held at a time


@dataclass(frozen=True)
class Links:
    """The graphs of all people, as far as later steps need them.

    component: [N] int64, the smallest row of the connected component that the row is in;
    near: [K, 2] int64, pairs of rows that are near-duplicates, the smaller first, in order; near_cosine: [K] float32.
    """

    component: np.ndarray
    near: np.ndarray
    near_cosine: np.ndarray


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
            label = _spread(linked) if cosine.shape[1] == rows.shape[1] else _merge(label, linked, offset)
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


def _spread(linked: np.ndarray) -> np.ndarray:
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
