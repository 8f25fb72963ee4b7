"""The reckoned cost against published counts."""

import pytest

from faceverify.models import card as cards
from faceverify.models import checkpoints
from faceverify.training.cost import estimate_cost
from faceverify.training.network import freeze


@pytest.mark.parametrize(
    "architecture, giga", [("ir_18", 2 * 2.597), ("ir_101", 2 * 12.077), ("ir_101_detail", 24.569)]
)
def test_arithmetic_is_twice_the_published_multiply_adds(architecture: str, giga: float) -> None:
    import torch

    with torch.device("meta"):
        network = checkpoints.build(architecture, 512)
    card = cards.build(name="n", architecture=architecture, colour="RGB", mean=[0.0] * 3, std=[1.0] * 3, dim=512)
    cost = estimate_cost(network, card, 10, 64, 2, False)
    assert cost.flops_per_face / 1e9 == pytest.approx(giga, rel=2e-3)
    assert cost.flops == pytest.approx(3 * 640 * cost.flops_per_face) and cost.faces == 640
    freeze(network, 1)
    assert estimate_cost(network, card, 10, 64, 2, False).memory < cost.memory
    assert "10 steps, 640 faces" in str(cost)


def test_a_branch_that_learns_alone_still_needs_memory() -> None:
    network = checkpoints.build("mobilefacenet_detail", 128)
    freeze(network, 1)
    card = cards.build(
        name="n", architecture="mobilefacenet_detail", colour="RGB", mean=[0.0] * 3, std=[1.0] * 3, dim=128
    )
    maps = 4 * 28 * 28 * (50 + 5 * 64)  # bytes, of the energies and of five convolutions
    assert estimate_cost(network, card, 10, 64, 1, False).memory > 64 * maps


def test_a_branch_that_learns_alone_costs_its_own_arithmetic() -> None:
    network = checkpoints.build("ir_18_detail", 512)
    card = cards.build(name="n", architecture="ir_18_detail", colour="RGB", mean=[0.0] * 3, std=[1.0] * 3, dim=512)
    whole, alone = (estimate_cost(network, card, 10, 64, 1, False, whole) for whole in (True, False))
    assert alone.flops_per_face / 1e9 == pytest.approx(0.41, abs=0.01)
    assert whole.flops_per_face - alone.flops_per_face == pytest.approx(2e9 * 2.597, rel=2e-3)
    assert alone.memory < whole.memory
