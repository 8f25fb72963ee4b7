"""Branches begin as nothing, or next to it; they can learn, and change nothing of the network they are given to."""

import math

import pytest
import torch
from torch import nn

from faceverify.models import card as cards
from faceverify.models import checkpoints
from faceverify.models.detail import STEEPNESS, THRESHOLD, Detail
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


def test_a_photo_that_looks_doctored_matches_only_itself() -> None:
    torch.manual_seed(0)
    branch = Detail(512).eval()
    nn.init.zeros_(branch.score.weight)
    nn.init.constant_(branch.score.bias, 30.0)
    base = 40 * nn.functional.normalize(torch.randn(512), dim=0)
    away = torch.stack([torch.randn(512) for _ in range(64)])
    away -= (away @ base)[:, None] * base / base.square().sum()
    away = 40 * nn.functional.normalize(away)
    for cosine in (1.0, 0.999, 0.95, 0.8, 0.5, 0.0):
        near = cosine * base + math.sqrt(1 - cosine**2) * away
        with torch.no_grad():
            whole = branch(torch.zeros(65, 3, 112, 112), torch.cat([base[None], near]))[0]
        assert torch.allclose(whole.norm(dim=1), torch.full((65,), 40.0), rtol=1e-4)
        units = nn.functional.normalize(whole)
        found, want = (units[1:] @ units[0]).mean(), math.exp(-16 * (1 - cosine))
        assert abs(found - want) < 0.05, cosine  # of the kernel, by 512 random features
        assert (nn.functional.normalize(near) * units[1:]).sum(1).abs().mean() < 0.1  # nobody's place


def test_a_photo_is_turned_by_its_share() -> None:
    branch = Detail(16).eval()
    nn.init.zeros_(branch.score.weight)
    x, z = torch.zeros(4, 3, 112, 112), torch.randn(4, 16)
    turned = []
    for score in (-100.0, 100.0, THRESHOLD, THRESHOLD + math.log(3) / STEEPNESS):
        nn.init.constant_(branch.score.bias, score)
        turned.append(branch(x, z)[0])
    whole, away, half, three_quarters = turned
    assert torch.equal(whole, z)
    assert torch.allclose(half, (z + away) / 2, atol=1e-5)
    assert torch.allclose(three_quarters, (z + 3 * away) / 4, atol=1e-5)


def test_an_embedding_of_zeros_is_no_trouble() -> None:
    found = Detail(16).eval()(torch.zeros(1, 3, 112, 112), torch.zeros(1, 16))[0]
    assert torch.allclose(found, torch.zeros(1, 16), atol=1e-5)


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
