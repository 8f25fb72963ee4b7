"""Center loss: naive loops for the value and for the rule that moves the centres, and the edges."""

import pytest
import torch
from losses.checks import assert_finite, assert_precise_in_half, edges, gradcheck, ordinary

from faceverify.losses import CenterOptions
from faceverify.losses.center import Center

CLASSES = torch.tensor([0, 3, -1, 6, 2, 2, -1, 2])


def build(rate: float = 0.5) -> Center:
    return Center(CenterOptions(rate=rate), 7, 8, torch.Generator().manual_seed(0)).double()


def test_value_and_centres_equal_naive_loops() -> None:
    x, loss = ordinary(8), build()
    before = loss.centres.tolist()
    units = (x / x.norm(dim=1, keepdim=True)).tolist()
    cost, moved = 0.0, [list(centre) for centre in before]
    for row, target in zip(units, CLASSES.tolist(), strict=True):
        if target >= 0:
            cost += sum((p - q) ** 2 for p, q in zip(row, before[target], strict=True)) / 2
    for j, centre in enumerate(before):
        own = [row for row, target in zip(units, CLASSES.tolist(), strict=True) if target == j]
        for d in range(8):
            moved[j][d] -= 0.5 * sum(centre[d] - row[d] for row in own) / (1 + len(own))
    assert loss(x, CLASSES).item() == pytest.approx(cost / 6, rel=1e-12)
    torch.testing.assert_close(loss.centres, torch.tensor(moved).double())
    after = loss.centres.clone()
    loss.eval()(x, CLASSES)
    assert torch.equal(loss.centres, after)
    assert gradcheck(lambda y: loss(y, CLASSES), x)


def test_centres_are_state_and_not_parameters() -> None:
    loss = build()
    assert not list(loss.parameters()) and set(loss.state_dict()) == {"centres"}
    loss.start_from(3 * torch.eye(8, dtype=torch.float64)[:2])
    torch.testing.assert_close(loss.centres[:2], torch.eye(8, dtype=torch.float64)[:2])


def test_edges() -> None:
    loss = build().float()
    for a in edges():
        assert_finite(lambda x: loss(x, CLASSES), a)
        assert loss.centres.isfinite().all()
        assert_precise_in_half(lambda x: loss.eval()(x, CLASSES), a)
        before = loss.train().centres.clone()
        assert loss(a, torch.full((8,), -1)) == 0 and torch.equal(loss.centres, before)
    loss(a * float("nan"), CLASSES)
    assert loss.centres.isfinite().all()


def test_moving_is_precise_inside_autocast() -> None:
    plain, inside = build().float(), build().float()
    plain(ordinary(8).float(), CLASSES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside(ordinary(8).float(), CLASSES)
    torch.testing.assert_close(plain.centres, inside.centres)
