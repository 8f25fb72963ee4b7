"""Distillation: a naive loop, what is left out, and the edges."""

import math

import pytest
import torch
from losses.checks import assert_finite, assert_precise_in_half, edges, gradcheck, ordinary

from faceverify.losses import DistillOptions
from faceverify.losses.distill import Distill

FAKE = torch.tensor([0, 1, 0, 0, 0, 1, 0, 0], dtype=torch.bool)


@pytest.mark.parametrize("squared", [0.0, 0.3])
def test_equals_a_naive_loop(squared: float) -> None:
    new, old = ordinary(8, seed=1), ordinary(8, seed=2)
    total = 0.0
    for x, y, fake in zip(new.tolist(), old.tolist(), FAKE.tolist(), strict=True):
        cos = sum(p * q for p, q in zip(x, y, strict=True)) / math.hypot(*x) / math.hypot(*y)
        total += 0 if fake else 1 - cos + squared * math.dist(x, y) ** 2 / math.hypot(*y) ** 2
    loss = Distill(DistillOptions(squared=squared))
    assert loss(new, old, FAKE).item() == pytest.approx(total / 6, rel=1e-12)
    assert loss(new, new, FAKE).item() == pytest.approx(0, abs=1e-12)
    assert gradcheck(lambda x: loss(x, old, FAKE), new)


def test_the_original_gets_no_gradient() -> None:
    old = ordinary(8).requires_grad_()
    new = ordinary(8, seed=1).requires_grad_()
    Distill(DistillOptions(squared=1.0))(new, old, FAKE).backward()
    assert old.grad is None and new.grad is not None
    assert (new.grad[FAKE] == 0).all() and (new.grad[~FAKE] != 0).any(dim=1).all()


@pytest.mark.parametrize("squared", [0.0, 0.3])
def test_edges(squared: float) -> None:
    loss = Distill(DistillOptions(squared=squared))
    for new, old in (edges(), edges()[::-1]):
        assert_finite(lambda x, old=old: loss(x, old, FAKE), new)
        assert_precise_in_half(lambda x, y: loss(x, y, FAKE), new, old)
        assert loss(new, old, torch.ones(8, dtype=torch.bool)) == 0
