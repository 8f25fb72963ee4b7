"""The rule of the reference system, to compare with: one threshold, largest component.

Real photos are nodes, cosines at or above the threshold edges; photos without an edge go, and of the rest the largest
connected component stays. A fake stays if its best cosine to a real photo that stays reaches the threshold.
"""

import numpy as np
from scipy.sparse.csgraph import connected_components

from faceverify.cleaning.linking import link, person_starts

REFERENCE_THRESHOLD = 0.15


def reference_rule(cosine: np.ndarray, is_fake: np.ndarray, threshold: float = REFERENCE_THRESHOLD) -> np.ndarray:
    """Which photos of one person stay.

    Args:
        cosine: [n, n], in the string order of the file names; compared as float32, `>=`.
        is_fake: [n] bool.
        threshold: of the cosine.

    Returns:
        [n] bool. Of equally large components the one with the smallest index stays. An only real photo has no edge, so
        it goes, and every fake with it.

    Source: KR `train/clean_data.py` (Kryptonite ML Challenge 2025).
    """
    link = np.asarray(cosine, np.float32) >= np.float32(threshold)
    real = np.flatnonzero(~np.asarray(is_fake, bool))
    graph = link[np.ix_(real, real)]
    np.fill_diagonal(graph, False)
    kept = np.zeros(len(cosine), bool)
    if not graph.any():
        return kept
    count, label = connected_components(graph, directed=False)
    sizes = np.bincount(label, minlength=count)
    sizes[label[~graph.any(axis=1)]] = 0
    # Components are numbered in the order of their smallest index, and argmax takes the first of equals.
    kept[real[label == sizes.argmax()]] = True
    return kept | (np.asarray(is_fake, bool) & link[:, kept].any(axis=1))


def reference_rule_bulk(vectors: np.ndarray, person: np.ndarray, threshold: float = REFERENCE_THRESHOLD) -> np.ndarray:
    """The same rule for the real photos of many people at once.

    Args:
        vectors: [N, D] float32 of any length but zero, a person's in the string order of the file names.
        person: [N] sorted.
        threshold: of the cosine.

    Returns:
        [N] bool, which stay.
    """
    component = link(vectors, person, threshold, np.inf).component
    size = np.bincount(component, minlength=len(vectors))[component]
    # One number that is largest for the largest component, and among equals for the one that begins first.
    rank = size * len(vectors) - component
    starts = person_starts(person)
    largest = np.repeat(np.maximum.reduceat(rank, starts), np.diff(np.r_[starts, len(person)])) if len(starts) else rank
    return (rank == largest) & (size > 1)
