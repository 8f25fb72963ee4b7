"""Mining: against sorting, kinds apart, ties, and together with a pair loss."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses.checks import ordinary

from faceverify.losses import AdaptiveMarginOptions
from faceverify.losses.adaptive_margin import AdaptiveMargin
from faceverify.losses.hard_negative import hardest
from faceverify.losses.vectors import cosine

PAIRS = st.lists(st.tuples(st.integers(-4, 4).map(lambda x: x / 4), st.integers(0, 2)), max_size=30)


@given(PAIRS, st.sampled_from([0.05, 0.1, 0.3, 0.5, 0.7, 1.0]))
def test_keeps_what_sorting_keeps(pairs: list[tuple[float, int]], share: float) -> None:
    want = {i for i, (_, kind) in enumerate(pairs) if kind == 0}
    for wanted in (1, 2):
        order = sorted((-cos, i) for i, (cos, kind) in enumerate(pairs) if kind == wanted)
        want |= {i for _, i in order[: math.ceil(round(share * len(order), 6))]}
    kinds = torch.tensor([kind for _, kind in pairs], dtype=torch.int64)
    cosines = torch.tensor([cos for cos, _ in pairs])
    keep = hardest(cosines, (kinds == 0).long(), kinds, share)
    assert keep.dtype == torch.bool and set(keep.nonzero().flatten().tolist()) == want


@pytest.mark.parametrize(("count", "share", "kept"), [(100, 0.07, 7), (100, 0.55, 55), (10, 0.7, 7), (10, 0.71, 8)])
def test_a_share_that_gives_a_whole_number_is_not_rounded_up(count: int, share: float, kept: int) -> None:
    nothing = torch.zeros(count, dtype=torch.int64)
    assert hardest(torch.rand(count), nothing, nothing, share).sum() == kept


def test_composes_with_a_pair_loss() -> None:
    a, b = ordinary(6, seed=1).requires_grad_(), ordinary(6, seed=2)
    label = torch.tensor([1, 0, 0, 0, 0, 1])
    kind = torch.tensor([0, 1, 1, 2, 2, 0])
    keep = hardest(cosine(a, b), label, kind, 0.5)
    assert keep.sum() == 4
    AdaptiveMargin(AdaptiveMarginOptions())(a, b, label, keep).backward()
    assert a.grad is not None
    assert (a.grad[~keep] == 0).all() and (a.grad[keep & (label == 0)] != 0).any()
