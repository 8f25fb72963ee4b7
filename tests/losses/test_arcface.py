"""ArcFace: a naive loop, the true gradient, beyond pi, and the edges."""

import math

import pytest
import torch
from losses.checks import assert_finite, assert_precise_in_half, edges, gradcheck, ordinary

from faceverify.losses import ArcFaceOptions
from faceverify.losses.arcface import ArcFace
from faceverify.losses.class_vectors import ClassVectors

CLASSES = torch.tensor([0, 3, -1, 6, 2, 2, -1, 0])


def build(options: ArcFaceOptions | None = None) -> ArcFace:
    return ArcFace(options or ArcFaceOptions(), ClassVectors(7, 8, torch.Generator().manual_seed(0)))


def test_equals_a_naive_loop_in_value_and_gradient() -> None:
    x, loss = ordinary(8), build(ArcFaceOptions(scale=12, margin=0.4)).double()
    costs = []
    for row, target in zip(x.tolist(), CLASSES.tolist(), strict=True):
        logits = []
        for j, centre in enumerate(loss.vectors.weight.tolist()):
            cos = sum(p * q for p, q in zip(row, centre, strict=True)) / math.hypot(*row) / math.hypot(*centre)
            logits.append(12 * (math.cos(math.acos(cos) + 0.4) if j == target else cos))
        if target >= 0:
            costs.append(math.log(sum(map(math.exp, logits))) - logits[target])
    assert loss(x, CLASSES).item() == pytest.approx(sum(costs) / 6, rel=1e-10)
    assert gradcheck(lambda y: loss(y, CLASSES), x)

    def with_weight(y: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(loss, {"vectors.weight": weight}, (y, CLASSES))

    assert gradcheck(with_weight, x, loss.vectors.weight)


def test_the_logit_keeps_falling_as_the_angle_grows() -> None:
    loss = build().double()
    loss.vectors.start_from(torch.eye(8, dtype=torch.float64)[:7])
    angle = torch.linspace(0.01, math.pi - 0.01, 500, dtype=torch.float64)
    x = torch.zeros(500, 8, dtype=torch.float64)
    x[:, 0], x[:, 7] = angle.cos(), angle.sin()
    logits = loss.logits(x, torch.zeros(500, dtype=torch.int64))[:, 0]
    assert (logits.diff() < 0).all()
    assert logits[-1].item() == pytest.approx(64 * (angle[-1].cos().item() - 0.5 * math.sin(0.5)))


def test_edges() -> None:
    loss = build()
    with torch.no_grad():
        loss.vectors.weight[0] = torch.zeros(8)
    for a in edges():
        loss.vectors.start_from(a[:1])
        for sign in (1, -1):  # cosine +1 and -1 with its own class
            assert_finite(lambda x: loss(x, CLASSES), sign * a)
        assert_precise_in_half(lambda x: loss(x, CLASSES), a)


def test_nobody_costs_nothing_but_reaches_the_class_vectors() -> None:
    loss = build()
    value = loss(ordinary(8).float(), torch.full((8,), -1))
    value.backward()
    assert value == 0 and loss.vectors.weight.grad is not None and (loss.vectors.weight.grad == 0).all()


def test_class_vectors_start_from_given_centres() -> None:
    loss, random = build(), build().vectors.weight.detach()
    loss.vectors.start_from(3 * torch.eye(8)[:2])
    torch.testing.assert_close(loss.vectors.weight[:2].detach(), torch.eye(8)[:2])
    assert torch.equal(loss.vectors.weight[2:], random[2:])
    assert loss.vectors.weight.requires_grad
