"""Adaptive margin: the numbers of the reference's own class, a naive loop, and the edges."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from losses.checks import assert_finite, assert_precise_in_half, edges, gradcheck, ordinary

from faceverify.losses import AdaptiveMarginOptions
from faceverify.losses.adaptive_margin import AdaptiveMargin

LABEL = torch.tensor([1, 0, 1, 0, 1, 0, 1, 0])


def test_equals_the_reference(golden: Path) -> None:
    want = np.load(golden / "adaptive_margin_pair_loss.npz")
    loss = AdaptiveMargin(AdaptiveMarginOptions())
    assert (loss.options.scale, loss.options.margin) == (want["s"], want["base_margin"])
    assert loss.options.slope == want["dynamic_scale"]
    for dtype in (torch.float32, torch.float64):
        cosines = torch.from_numpy(want["cos"]).to(dtype).requires_grad_()
        each = loss.per_pair(cosines, torch.from_numpy(want["label"]))
        (gradient,) = torch.autograd.grad(each.sum(), cosines)
        for name in ("loss_per_sample", "closed_form_loss_per_sample"):
            np.testing.assert_allclose(each.detach(), want[name], atol=1e-5)
        for name in ("grad_per_sample", "closed_form_grad_per_sample"):
            np.testing.assert_allclose(gradient, want[name], atol=5e-5)
        assert each.mean().item() == pytest.approx(float(want["loss"]), abs=1e-5)


def test_equals_a_naive_loop() -> None:
    a, b = ordinary(8, seed=1), ordinary(8, seed=2)
    total = 0.0
    for x, y, same in zip(a.tolist(), b.tolist(), LABEL.tolist(), strict=True):
        cos = sum(p * q for p, q in zip(x, y, strict=True)) / math.hypot(*x) / math.hypot(*y)
        z = 10 * (cos - (0.3 + 0.2 * (1 - cos)) * same)
        probability = 1 / (1 + math.exp(-z))
        total -= math.log(probability) if same else math.log(1 - probability)
    loss = AdaptiveMargin(AdaptiveMarginOptions(scale=10, margin=0.3, slope=0.2))
    assert loss(a, b, LABEL).item() == pytest.approx(total / 8, rel=1e-12)
    keep = LABEL == 1
    assert loss(a, b, LABEL, keep).item() == pytest.approx(loss(a[keep], b[keep], LABEL[keep]).item(), rel=1e-12)
    assert gradcheck(lambda x, y: loss(x, y, LABEL), a, b)


@pytest.mark.parametrize("label", [LABEL, torch.zeros(8), torch.ones(8)], ids=["both", "impostors", "genuine"])
def test_edges(label: torch.Tensor) -> None:
    loss = AdaptiveMargin(AdaptiveMarginOptions())
    assert_finite(lambda a, b: loss(a, b, label), *edges())
    assert_precise_in_half(lambda a, b: loss(a, b, label), *edges())
