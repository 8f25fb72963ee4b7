"""Which network a training begins with, and the card of what it will be."""

from dataclasses import replace

import torch
from torch import nn

from faceverify.errors import UserError
from faceverify.models import card as cards
from faceverify.models import checkpoints, registry
from faceverify.models.card import ModelCard
from faceverify.models.engine_torch import load_module
from faceverify.models.files import SUFFIXES
from faceverify.models.folders import checkpoint_in
from faceverify.storage import Location, open_location
from faceverify.training.branches import with_branches
from faceverify.training.keeping import read_network
from faceverify.training.recipe import NetworkConfig

TUNED = ", fine-tuned"


def begin(start: str, config: NetworkConfig, seed: int) -> tuple[nn.Module, ModelCard]:
    """The network and its card.

    Args:
        start: a registered name, a weights file, a checkpoint's folder, or the folder of a training, of which the
            checkpoint of the best EER is taken; empty = fresh weights.
        config: architecture of a fresh network; which branches are added.
        seed: of fresh weights.

    Raises:
        UserError: there is no such network, or neither `start` nor an architecture is given.
    """
    torch.manual_seed(seed)
    network, card = _from(start) if start else _fresh(config)
    return with_branches(network, card, config.attention, config.detail)


def _fresh(config: NetworkConfig) -> tuple[nn.Module, ModelCard]:
    if not config.architecture:
        raise UserError("start is empty: give a network to go on from, or network.architecture for a fresh one.")
    network = checkpoints.build(config.architecture, config.dim)
    half = [127.5] * 3
    card = cards.build(
        name=config.architecture, architecture=config.architecture, colour="RGB", mean=half, std=half, dim=config.dim
    )
    return network, card


def _from(start: str) -> tuple[nn.Module, ModelCard]:
    place = best_of(start)
    if place is not None:
        network, card = read_network(place)
        where = str(place)
    else:
        network, card = load_module(start)
        where = card.name
    # The digest is of the weights too: other weights at the same place make another run.
    source = f"fine-tuned from {where}, card {card.digest[:12]}"
    return network, replace(card, sha256=None, source=source, name=f"{card.name.removesuffix(TUNED)}{TUNED}")


def best_of(start: str) -> Location | None:
    """The checkpoint that `start` names: itself, or the best of a training, a search or a pipeline; None if neither.

    Raises:
        UserError: a training's folder without a judged checkpoint.
    """
    if start.endswith(SUFFIXES) or start in registry.entries():
        return None
    return checkpoint_in(open_location(start))
