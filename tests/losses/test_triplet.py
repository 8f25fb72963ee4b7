"""Triplets: a naive search in Python, gradients, what counts as another person, and the edges."""

from dataclasses import replace
from typing import Literal

import pytest
import torch
from losses.checks import assert_finite, assert_precise_in_half, edges, gradcheck, ordinary
from torch import Tensor

from faceverify.losses import TripletOptions
from faceverify.losses.batch import PairBatch
from faceverify.losses.triplet import Triplet
from faceverify.losses.vectors import cosine

MINING = pytest.mark.parametrize("mining", ["batch_hard", "semi_hard"])
Mining = Literal["batch_hard", "semi_hard"]


def batch_of(a: Tensor, b: Tensor) -> PairBatch:
    """Genuine, impostor, deepfake, genuine of unknown people, and once more the first person."""
    fake_b = torch.tensor([0, 0, 1, 0, 0, 0, 0, 1], dtype=torch.bool)
    return PairBatch(
        embeddings_a=a,
        embeddings_b=b,
        label=torch.tensor([1, 0, 0, 1, 1, 1, 0, 0]),
        kind=torch.tensor([0, 1, 2, 0, 0, 0, 1, 2]),
        is_fake_a=torch.zeros(8, dtype=torch.bool),
        is_fake_b=fake_b,
        person_a=torch.tensor([0, 0, 1, -1, 0, 2, 2, -1]),
        person_b=torch.tensor([0, 3, 1, -1, 0, 2, -1, -1]),
    )


def relation(batch: PairBatch, i: int, j: int) -> int:
    """1 the same person, 0 surely not, -1 unknown."""
    person, fake = batch.person.tolist(), batch.is_fake.tolist()
    if abs(i - j) == 8:
        return int(batch.label[i % 8])
    if fake[i] or fake[j]:
        return 0 if fake[i] != fake[j] else -1
    if person[i] < 0 or person[j] < 0:
        return -1
    return int(person[i] == person[j])


def naive(batch: PairBatch, mining: Mining, margin: float) -> float:
    distance = [(2 - 2 * cosine(x.expand(16, -1), batch.embeddings)).tolist() for x in batch.embeddings]
    costs = []
    for i in range(16):
        same = [j for j in range(16) if j != i and relation(batch, i, j) == 1]
        other = [distance[i][j] for j in range(16) if j != i and relation(batch, i, j) == 0]
        if mining == "semi_hard":
            same = [j for j in same if abs(i - j) == 8]
        if not same or not other:
            continue
        positive = max(distance[i][j] for j in same)
        farther = [d for d in other if d > positive]
        semi_hard = min(farther) if farther else max(other)
        negative = min(other) if mining == "batch_hard" else semi_hard
        costs.append(max(0.0, margin + positive - negative))
    return sum(costs) / len(costs)


@MINING
@pytest.mark.parametrize("seed", range(6))
def test_equals_a_naive_search(mining: Mining, seed: int) -> None:
    a, b = ordinary(8, seed=seed), ordinary(8, seed=seed + 100)
    b[0] = a[0] + 0.3 * b[0]  # a positive that is near, so that there are semi-hard negatives
    batch = batch_of(a, b)
    loss = Triplet(TripletOptions(mining=mining, margin=0.6))
    assert loss(batch).item() == pytest.approx(naive(batch, mining, 0.6), rel=1e-12)
    assert gradcheck(lambda x, y: loss(batch_of(x, y)), a, b)


@MINING
@pytest.mark.parametrize("label", [0, 1, None])
def test_edges(mining: Mining, label: int | None) -> None:
    loss = Triplet(TripletOptions(mining=mining))

    def cost(a: Tensor, b: Tensor) -> Tensor:
        batch = batch_of(a, b)
        return loss(batch if label is None else replace(batch, label=torch.full((8,), label)))

    assert_finite(cost, *edges())
    assert_precise_in_half(cost, *edges())


@MINING
def test_without_anchors_it_costs_nothing(mining: Mining) -> None:
    unknown = torch.full((8,), -1)
    zeros = torch.zeros(8, dtype=torch.int64)
    batch = replace(batch_of(*edges()), person_a=unknown, person_b=unknown, label=zeros)
    assert Triplet(TripletOptions(mining=mining))(batch) == 0
