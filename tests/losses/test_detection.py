"""Detection: a naive loop, that both kinds count alike, and the edges."""

import math

import pytest
import torch
from losses.checks import assert_finite, gradcheck

from faceverify.losses.detection import Detection

FAKE = torch.tensor([0, 1, 0, 0, 0, 1, 0, 0], dtype=torch.bool)
SCORES = torch.tensor([-2.0, 0.5, 1.5, -7.0, 0.0, 3.0, -0.25, 40.0], dtype=torch.float64)


def test_equals_a_naive_loop() -> None:
    costs: dict[bool, list[float]] = {True: [], False: []}
    for score, fake in zip(SCORES.tolist(), FAKE.tolist(), strict=True):
        costs[fake].append(math.log1p(math.exp(-score if fake else score)))
    want = sum(sum(some) / len(some) for some in costs.values()) / 2
    assert Detection()(SCORES, FAKE).item() == pytest.approx(want, rel=1e-12)
    assert gradcheck(lambda x: Detection()(x, FAKE), SCORES)


def test_both_kinds_count_alike_however_many_there_are() -> None:
    scores = torch.zeros(8, requires_grad=True)
    Detection()(scores, FAKE).backward()
    assert scores.grad is not None
    assert scores.grad[FAKE].sum().item() == pytest.approx(-0.25)
    assert scores.grad[~FAKE].sum().item() == pytest.approx(0.25)


@pytest.mark.parametrize("fake", [True, False])
def test_a_batch_of_one_kind(fake: bool) -> None:
    zeros = torch.zeros(4)
    assert Detection()(zeros, torch.full((4,), fake)).item() == pytest.approx(math.log(2) / 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_edges(dtype: torch.dtype) -> None:
    for value in (-1e4, 0.0, 1e4):
        assert_finite(lambda x: Detection()(x, FAKE), torch.full((8,), value, dtype=dtype))
