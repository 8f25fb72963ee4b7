"""Branches that a network is given for fine-tuning; each begins as doing nothing, or next to it."""

from dataclasses import replace

from torch import nn

from faceverify.models import checkpoints
from faceverify.models.card import ModelCard
from faceverify.models.checkpoints import WITH_ATTENTION, WITH_DETAIL
from faceverify.models.iresnet import IResNet
from faceverify.models.mobilefacenet import MobileFaceNet


def with_branches(network: nn.Module, card: ModelCard, attention: bool, detail: bool) -> tuple[nn.Module, ModelCard]:
    """The same network with the branches that are asked for, and its card; those that it has already stay as they are.

    Args:
        network: of the card's architecture.
        card: of the network.
        attention: see `faceverify.models.attention`.
        detail: see `faceverify.models.detail`; it is told how the card normalises photos.
    """
    plain = card.architecture.removesuffix(WITH_DETAIL)
    wanted = plain.removesuffix(WITH_ATTENTION)
    wanted += WITH_ATTENTION if attention or plain.endswith(WITH_ATTENTION) else ""
    wanted += WITH_DETAIL if detail or card.architecture.endswith(WITH_DETAIL) else ""
    if wanted == card.architecture:
        return network, card
    wider = checkpoints.build(wanted, card.dim)
    missing, unexpected = wider.load_state_dict(network.state_dict(), strict=False)
    assert not unexpected and all(key.startswith(("attention.", "detail.")) for key in missing)
    fresh = any(key.startswith("detail.") for key in missing)
    if fresh and isinstance(wider, IResNet | MobileFaceNet) and wider.detail:
        wider.detail.energies.scale(card.colour, card.std)
    return wider, replace(card, architecture=wanted)
