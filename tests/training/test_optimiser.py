"""The schedule against PyTorch's own, and who decays."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from faceverify.training.config import OptimiserConfig
from faceverify.training.optimiser import Schedule, build_optimiser


@given(st.lists(st.floats(0.001, 0.5), max_size=40), st.integers(0, 4))
def test_plateau_is_that_of_pytorch(eers: list[float], patience: int) -> None:
    config = OptimiserConfig(learning_rate=1.0, factor=0.5, patience=patience, threshold=1e-2)
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, mode="min", factor=0.5, patience=patience, threshold=1e-2, eps=0
    )
    ours = Schedule(config, 100)
    for eer in eers:
        ours.record_validation(eer)
        theirs.step(eer)
        assert ours.multiplier(50) == pytest.approx(optimiser.param_groups[0]["lr"])


def test_a_plateau_goes_on_from_its_state() -> None:
    config = OptimiserConfig(patience=1)
    one, other = Schedule(config, 9), Schedule(config, 9)
    for eer in (0.3, 0.4, 0.4):
        one.record_validation(eer)
    other.load_state_dict(one.state_dict())
    for eer in (0.4, 0.1, 0.2):
        one.record_validation(eer)
        other.record_validation(eer)
    assert one.state_dict() == other.state_dict() and one.scale < 1


def test_cosine_and_warmup() -> None:
    schedule = Schedule(OptimiserConfig(schedule="cosine", warmup_steps=10), 110)
    assert [schedule.multiplier(step) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert schedule.multiplier(60) == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.5)))
    assert schedule.multiplier(110) == pytest.approx(0, abs=1e-12)
    constant = Schedule(OptimiserConfig(schedule="constant"), 10)
    constant.record_validation(0.1)
    for _ in range(50):
        constant.record_validation(0.2)
    assert constant.multiplier(9) == 1 and constant.since_best == 50


@pytest.mark.parametrize("name, kind", [("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)])
def test_biases_do_not_decay_and_class_centres_have_a_rate_of_their_own(name: str, kind: type) -> None:
    network, objective = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), nn.Linear(2, 5, bias=False)
    network[0].weight.requires_grad_(True)
    config = OptimiserConfig(name=name, learning_rate=0.1, class_learning_rate=0.5, weight_decay=0.25)  # type: ignore[arg-type]
    optimiser = build_optimiser(network, objective, config)
    assert isinstance(optimiser, kind)
    facts = [(len(g["params"]), g["base"], g["weight_decay"]) for g in optimiser.param_groups]
    assert facts == [(1, 0.1, 0.25), (3, 0.1, 0.0), (1, 0.5, 0.25)]
    Schedule(OptimiserConfig(learning_rate=0.1, warmup_steps=2), 9).apply(optimiser, 0)
    assert [g["lr"] for g in optimiser.param_groups] == pytest.approx([0.05, 0.05, 0.25])
