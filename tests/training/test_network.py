"""What a training begins with: weights and cards, branches that begin as nothing, frozen stages."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from faceverify.errors import UserError
from faceverify.models import card as cards
from faceverify.models import checkpoints
from faceverify.models.detail import STEEPNESS, THRESHOLD, Detail
from faceverify.training.config import NetworkConfig
from faceverify.training.network import enable_recompute, freeze, initial_network, set_mode, stages, with_branches


def write(file: Path, seed: int) -> None:
    import torch

    torch.manual_seed(seed)
    checkpoints.save(checkpoints.build("tiny", 16).state_dict(), file)
    card = cards.build(name="n", architecture="tiny", colour="BGR", mean=[0.0] * 3, std=[1.0] * 3, dim=16)
    cards.card_path(file).write_text(card.to_json())


def test_other_weights_at_the_same_place_give_another_card(tmp_path: Path) -> None:
    file, found = tmp_path / "model.safetensors", []
    for seed in (0, 1, 0):
        write(file, seed)
        network, card = initial_network(str(file), NetworkConfig(), 0)
        assert (card.architecture, card.colour, card.dim, card.name) == ("tiny", "BGR", 16, "n, fine-tuned")
        assert not network.training and card.sha256 is None and str(file.name) not in card.name
        found.append(card.digest)
    assert found[0] == found[2] != found[1]


def test_fresh_weights_follow_the_seed() -> None:
    one, again, other = (
        initial_network("", NetworkConfig(architecture="tiny", dim=16), seed)[0].output_layer[3].weight
        for seed in (0, 0, 1)
    )
    assert one.equal(again) and not one.equal(other)
    with pytest.raises(UserError, match="start is empty"):
        initial_network("", NetworkConfig(), 0)


def test_attention_is_in_the_name() -> None:
    network, card = initial_network("", NetworkConfig(architecture="tiny", dim=16, attention=True), 0)
    assert card.architecture == "tiny_attention" and hasattr(network.attention, "gain")


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
    freeze(wider, 1)
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
    away = torch.stack([torch.randn(512) for _ in range(16)])
    away -= (away @ base)[:, None] * base / base.square().sum()
    away = 40 * nn.functional.normalize(away)
    for cosine in (1.0, 0.999, 0.95, 0.8, 0.5, 0.0):
        near = cosine * base + math.sqrt(1 - cosine**2) * away
        with torch.no_grad():
            whole = branch(torch.zeros(17, 3, 112, 112), torch.cat([base[None], near]))[0]
        assert torch.allclose(whole.norm(dim=1), torch.full((17,), 40.0), rtol=1e-4)
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


@pytest.mark.parametrize(
    "architecture, count", [("tiny", 6), ("ir_18", 6), ("mobilefacenet", 7), ("tiny_attention", 6), ("tiny_detail", 7)]
)
def test_stages_hold_every_weight_once(architecture: str, count: int) -> None:
    with torch.device("meta"):
        network = checkpoints.build(architecture, 16)
    parts = stages(network)
    assert len(parts) == count
    held = [id(p) for stage in parts for module in stage for p in module.parameters()]
    assert sorted(held) == sorted(id(p) for p in network.parameters())


def test_only_the_last_stages_learn() -> None:
    network = checkpoints.build("tiny", 16)
    freeze(network, 2)
    learning = {
        name.split(".")[0] + "." + name.split(".")[1] for name, p in network.named_parameters() if p.requires_grad
    }
    assert learning == {"body.3", "output_layer.0", "output_layer.3"}
    with pytest.raises(UserError, match=r"network\.train_last is 9, but this network has 6 stages"):
        freeze(network, 9)


def test_frozen_statistics_stay() -> None:
    network = checkpoints.build("tiny", 16)
    before = {name: value.clone() for name, value in network.named_buffers()}
    set_mode(network, "frozen")
    network(torch.randn(4, 3, 112, 112))
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())
    assert network.output_layer[1].training  # dropout goes on
    set_mode(network, "batch")
    network(torch.randn(4, 3, 112, 112))
    assert all(int(m.num_batches_tracked) == 1 for m in network.modules() if isinstance(m, _BatchNorm))


def test_a_frozen_stage_works_as_in_use() -> None:
    network = checkpoints.build("tiny", 16)
    freeze(network, 1)
    set_mode(network, "batch")
    assert not any(module.training for module in [*network.input_layer, *network.body])
    assert all(module.training for module in network.output_layer)
    for parameter in network.output_layer.parameters():
        parameter.requires_grad_(False)
    set_mode(network, "batch")
    assert not any(module.training for module in network.output_layer)  # neither its dropout nor its statistics


def test_recomputed_gradients_are_the_same() -> None:
    networks = [checkpoints.build("tiny", 16) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    enable_recompute(networks[1])
    x, found = torch.randn(4, 3, 112, 112), []
    for network in networks:
        network.eval()
        network(x).square().sum().backward()
        found.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    assert torch.allclose(*found, atol=1e-5 * float(found[0].abs().max()))
