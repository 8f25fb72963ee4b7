"""Branches begin as nothing, or next to it; they can learn, and change nothing of the network they are given to."""

import pytest
import torch
from torch import nn

from faceverify.models import card as cards
from faceverify.models import checkpoints
from faceverify.training import freezing
from faceverify.training.branches import with_branches


def card(architecture: str) -> cards.ModelCard:
    return cards.build(name="n", architecture=architecture, colour="RGB", mean=[0.0] * 3, std=[1.0] * 3, dim=16)


@pytest.mark.parametrize("architecture", ["tiny", "mobilefacenet"])
def test_attention_begins_as_nothing_and_can_learn(architecture: str) -> None:
    plain = checkpoints.build(architecture, 16).eval()
    wider, its_card = with_branches(plain, card(architecture), attention=True, detail=False)
    x = torch.randn(2, 3, 112, 112)
    assert torch.equal(plain(x), wider.eval()(x)) and its_card.architecture == f"{architecture}_attention"
    wider(x).square().sum().backward()
    assert float(wider.attention.gain.grad.abs()) > 0


@pytest.mark.parametrize("architecture", ["tiny", "ir_18", "mobilefacenet"])
def test_detail_begins_as_next_to_nothing_and_learns_alone(architecture: str) -> None:
    plain = checkpoints.build(architecture, 16).eval()
    wider, its_card = with_branches(plain, card(architecture), attention=False, detail=True)
    x = torch.randn(2, 3, 112, 112)
    assert nn.functional.cosine_similarity(plain(x), wider.eval()(x)).min() > 0.99
    assert its_card.architecture == f"{architecture}_detail"
    freezing.freeze(wider, 1)
    wider(x).square().sum().backward()
    moved = {name.split(".")[0] for name, p in wider.named_parameters() if p.grad is not None and p.grad.abs().sum()}
    assert moved == {"detail"}


def test_detail_sees_the_same_whatever_the_photo_is_normalised_by() -> None:
    photo = torch.rand(2, 3, 112, 112) * 255
    mean, std = [100.0, 110.0, 120.0], [50.0, 60.0, 70.0]
    other = cards.build(name="n", architecture="tiny", colour="BGR", mean=mean[::-1], std=std[::-1], dim=16)
    found = []
    for its_card in (card("tiny"), other):
        wider, _ = with_branches(checkpoints.build("tiny", 16), its_card, attention=False, detail=True)
        as_named = photo if its_card.colour == "RGB" else photo.flip(1)
        x = (as_named - torch.tensor(its_card.mean)[:, None, None]) / torch.tensor(its_card.std)[:, None, None]
        found.append(wider.detail.energies(x)[:, :40, 1:-1, 1:-1])  # a filter over the edge sees the mean too
    assert (found[0] - found[1]).abs().mean() < 0.02 < found[0].abs().mean()


def test_a_photo_that_looks_doctored_is_turned_away_and_matches_its_like() -> None:
    wider = checkpoints.build("tiny_detail", 16).eval()
    x, score = torch.randn(4, 3, 112, 112), wider.detail.score
    nn.init.zeros_(score.weight)
    found = []
    for bias in (-30.0, 30.0):
        nn.init.constant_(score.bias, bias)
        found.append(nn.functional.normalize(wider(x)))
    whole, doctored = found
    assert torch.allclose(doctored @ doctored.T, whole @ whole.T, atol=1e-5)  # lengths and angles are kept
    turned = nn.functional.normalize(whole @ wider.detail.turn.T)
    assert torch.allclose(doctored, turned, atol=1e-5)


def test_branches_that_are_there_stay() -> None:
    both, its_card = with_branches(checkpoints.build("tiny", 16), card("tiny"), attention=True, detail=True)
    assert its_card.architecture == "tiny_attention_detail"
    for attention, detail in ((False, False), (True, False), (True, True)):
        again, same = with_branches(both, its_card, attention, detail)
        assert again is both and same == its_card


def test_a_second_branch_leaves_the_first_as_it_is() -> None:
    one, its_card = with_branches(checkpoints.build("tiny", 16), card("tiny"), attention=False, detail=True)
    nn.init.constant_(one.detail.score.bias, 0.5)
    both, its_card = with_branches(one, its_card, attention=True, detail=False)
    assert its_card.architecture == "tiny_attention_detail" and both.detail.score.bias.item() == 0.5
