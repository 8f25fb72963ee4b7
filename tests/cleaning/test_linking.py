"""Components and near-duplicates of many people at once, against one networkx graph per person."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverify.cleaning import linking
from faceverify.cleaning.linking import link, person_starts


def plainly(vectors: np.ndarray, person: np.ndarray, threshold: float, near: float) -> tuple[list[int], list]:
    component, pairs = list(range(len(vectors))), []
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    graph = nx.Graph()
    graph.add_nodes_from(range(len(vectors)))
    for i in range(len(vectors)):
        for j in range(i + 1, len(vectors)):
            cosine = np.float32(units[i] @ units[j])
            if person[i] == person[j] and cosine >= np.float32(threshold):
                graph.add_edge(i, j)
            if person[i] == person[j] and cosine >= np.float32(near):
                pairs.append((i, j))
    for part in nx.connected_components(graph):
        for row in part:
            component[row] = min(part)
    return component, pairs


@given(
    st.lists(st.integers(1, 12), max_size=10),
    st.integers(0, 10**6),
    st.sampled_from([0.2, 0.5, 0.9]),
    st.sampled_from([2, 5, 1024]),
    st.sampled_from([1, 64, 1 << 15]),
)
def test_as_networkx(sizes: list[int], seed: int, threshold: float, dense: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((sum(sizes), 4)).astype(np.float32)
    person = np.repeat(np.arange(len(sizes)), sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linking, "DENSE", dense)  # strips, even of small people
        patch.setattr(linking, "BLOCK", block)
        found = link(vectors, person, threshold, 0.95)
    component, pairs = plainly(vectors, person, threshold, 0.95)
    assert found.component.tolist() == component
    assert list(map(tuple, found.near.tolist())) == pairs
    assert (found.near_cosine >= np.float32(0.95)).all() and len(found.near_cosine) == len(pairs)


def test_a_long_chain_is_one_component() -> None:
    angles = np.random.default_rng(0).permutation(200) * 0.03
    chain = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert not link(chain, np.zeros(200, np.int64), np.cos(0.031), 2).component.any()


def test_starts() -> None:
    assert person_starts(np.array([3, 3, 5, 9, 9])).tolist() == [0, 2, 3]
    assert not len(person_starts(np.zeros(0)))
