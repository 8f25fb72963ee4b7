"""What a training begins with, and that other weights at the same place are noticed."""

from pathlib import Path

import pytest

from faceverify.errors import UserError
from faceverify.models import card as cards
from faceverify.models import checkpoints
from faceverify.training.recipe import NetworkConfig
from faceverify.training.starting import begin


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
        network, card = begin(str(file), NetworkConfig(), 0)
        assert (card.architecture, card.colour, card.dim, card.name) == ("tiny", "BGR", 16, "n, fine-tuned")
        assert not network.training and card.sha256 is None and str(file.name) not in card.name
        found.append(card.digest)
    assert found[0] == found[2] != found[1]


def test_fresh_weights_follow_the_seed() -> None:
    one, again, other = (
        begin("", NetworkConfig(architecture="tiny", dim=16), seed)[0].output_layer[3].weight for seed in (0, 0, 1)
    )
    assert one.equal(again) and not one.equal(other)
    with pytest.raises(UserError, match="start is empty"):
        begin("", NetworkConfig(), 0)


def test_attention_is_in_the_name() -> None:
    network, card = begin("", NetworkConfig(architecture="tiny", dim=16, attention=True), 0)
    assert card.architecture == "tiny_attention" and hasattr(network.attention, "gain")
