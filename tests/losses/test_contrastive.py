"""Contrastive loss: a naive loop, gradients, and the edges."""

import math
from typing import Literal

import pytest
import torch
from losses.checks import assert_finite, assert_precise_in_half, edges, gradcheck, ordinary

from faceverify.losses import ContrastiveOptions
from faceverify.losses.contrastive import Contrastive

LABEL = torch.tensor([1, 0, 1, 0, 1, 0, 1, 0])
DISTANCES = pytest.mark.parametrize("distance", ["euclidean", "cosine"])
Distance = Literal["euclidean", "cosine"]


@DISTANCES
def test_equals_a_naive_loop(distance: Distance) -> None:
    a, b = ordinary(8, seed=3), ordinary(8, seed=4)
    total, margin = 0.0, 1.2
    for x, y, same in zip(a.tolist(), b.tolist(), LABEL.tolist(), strict=True):
        x, y = [v / math.hypot(*x) for v in x], [v / math.hypot(*y) for v in y]
        cos = sum(p * q for p, q in zip(x, y, strict=True))
        d = math.dist(x, y) if distance == "euclidean" else 1 - cos
        total += 0.5 * d**2 if same else 0.5 * max(0.0, margin - d) ** 2
    loss = Contrastive(ContrastiveOptions(distance=distance, margin=margin))
    assert loss(a, b, LABEL).item() == pytest.approx(total / 8, rel=1e-12)
    keep = torch.arange(8) > 2
    assert loss(a, b, LABEL, keep).item() == pytest.approx(loss(a[keep], b[keep], LABEL[keep]).item(), rel=1e-12)
    assert gradcheck(lambda x, y: loss(x, y, LABEL), a, b)


@DISTANCES
@pytest.mark.parametrize("label", [LABEL, torch.zeros(8), torch.ones(8)], ids=["both", "impostors", "genuine"])
def test_edges(distance: Distance, label: torch.Tensor) -> None:
    loss = Contrastive(ContrastiveOptions(distance=distance))
    assert_finite(lambda a, b: loss(a, b, label), *edges())
    assert_precise_in_half(lambda a, b: loss(a, b, label), *edges())


def test_the_default_margin_is_the_cosine_that_its_help_names() -> None:
    assert 1 - ContrastiveOptions().margin ** 2 / 2 == pytest.approx(0.155)
