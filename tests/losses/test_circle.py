"""Circle loss: the double sum of the paper, its gradient, one kind of label, and the edges."""

import math

import pytest
import torch
from losses.checks import assert_finite, assert_precise_in_half, edges, ordinary

from faceverify.losses import CircleOptions
from faceverify.losses.circle import Circle
from faceverify.losses.vectors import cosine

LABEL = torch.tensor([1, 0, 1, 0, 1, 0, 0, 0])


def naive(cosines: list[float], fixed: list[float], scale: float, margin: float) -> float:
    """log(1 + the double sum), the weights from `fixed`."""
    total = 1.0
    for i, j in ((i, j) for i in range(8) for j in range(8) if LABEL[i] == 1 and LABEL[j] == 0):
        pull = max(0.0, 1 + margin - fixed[i]) * (cosines[i] - (1 - margin))
        push = max(0.0, fixed[j] + margin) * (cosines[j] - margin)
        total += math.exp(scale * (push - pull))
    return math.log(total)


def test_value_and_gradient_equal_the_double_sum() -> None:
    a, b = ordinary(8, seed=5), ordinary(8, seed=6)
    a = a.requires_grad_()
    loss = Circle(CircleOptions(scale=8, margin=0.2))
    value, cosines = loss(a, b, LABEL), cosine(a, b)
    fixed = cosines.tolist()
    assert value.item() == pytest.approx(naive(fixed, fixed, 8, 0.2), rel=1e-12)
    # The weights are fixed, so the derivative is that of the sum with weights that do not move.
    step, slopes = 1e-6, []
    for i in range(8):
        up, down = ([*fixed[:i], fixed[i] + sign * step, *fixed[i + 1 :]] for sign in (1, -1))
        slopes.append((naive(up, fixed, 8, 0.2) - naive(down, fixed, 8, 0.2)) / (2 * step))
    (want,) = torch.autograd.grad(cosines @ torch.tensor(slopes).double(), a)
    (got,) = torch.autograd.grad(value, a)
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-8)


def test_keep_leaves_pairs_out() -> None:
    a, b = ordinary(8, seed=5), ordinary(8, seed=6)
    keep = torch.tensor([1, 1, 0, 1, 1, 0, 1, 0], dtype=torch.bool)
    loss = Circle(CircleOptions(scale=8))
    assert loss(a, b, LABEL, keep).item() == pytest.approx(loss(a[keep], b[keep], LABEL[keep]).item(), rel=1e-12)


@pytest.mark.parametrize("label", [torch.zeros(8), torch.ones(8)], ids=["impostors", "genuine"])
def test_one_kind_of_label_costs_nothing(label: torch.Tensor) -> None:
    loss = Circle(CircleOptions())
    gradients = assert_finite(lambda a, b: loss(a, b, label), *edges())
    assert loss(*edges(), label) == 0 and all((gradient == 0).all() for gradient in gradients)


def test_edges() -> None:
    loss = Circle(CircleOptions())
    assert_finite(lambda a, b: loss(a, b, LABEL), *edges())
    assert_precise_in_half(lambda a, b: loss(a, b, LABEL), *edges())
