"""Estimate of a training's cost before it starts: steps, faces, arithmetic, memory."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from faceverify.models.card import ModelCard
from faceverify.models.detail import Detail

BACKWARD = 2  # times the arithmetic of the forward pass
STATES = 2  # numbers that AdamW keeps per weight


@dataclass(frozen=True)
class Cost:
    """The estimated cost of a whole training.

    steps: optimiser steps; faces: pictures that go through the network in them, with repeats, without validation;
    flops: floating-point operations of the training; flops_per_face: those of one forward pass of one face;
    memory: bytes on one worker's device for weights, gradients, optimiser and activations.
    """

    steps: int
    faces: int
    flops: float
    flops_per_face: float
    memory: int

    def __str__(self) -> str:
        return (
            f"{self.steps:,} steps, {self.faces:,} faces, {self.flops / 1e15:,.3g} PFLOP "
            f"({self.flops_per_face / 1e9:.3g} GFLOP per face), about {self.memory / 1e9:.1f} GB per worker"
        )


def estimate_cost(
    network: nn.Module,
    card: ModelCard,
    steps: int,
    faces_per_step: int,
    workers: int,
    half: bool,
    whole: bool = True,
) -> Cost:
    """Estimate the cost of a training from a copy of the network on the meta device.

    Args:
        network: the network as it will be trained (frozen parameters cost no gradient).
        card: the network's card.
        steps: number of optimiser steps.
        faces_per_step: faces of a step over all workers.
        workers: number of workers that share them.
        half: whether activations take two bytes.
        whole: whether the whole network is computed, and not the branch `detail` alone.
    """
    with torch.device("meta"):
        shape = copy.deepcopy(network).to("meta").eval()
        face = torch.empty(2, 3, *card.input_size)
    branch = getattr(shape, "detail", None)
    run = shape if whole or not isinstance(branch, Detail) else branch.scores
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[id(tensor)] = tensor.numel() * tensor.element_size()
        return tensor

    with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        run(face)
    weights = sum(p.numel() for p in shape.parameters())
    learnt = sum(p.numel() for p in shape.parameters() if p.requires_grad)
    activations = max(0, sum(kept.values()) - 4 * learnt) / 2  # of one face; the hooks see the weights that learn too
    per_face = counter.get_total_flops() / 2
    memory = 4 * weights + 4 * learnt * (1 + STATES) + activations * (faces_per_step / workers) / (2 if half else 1)
    faces = steps * faces_per_step
    return Cost(steps, faces, per_face * faces * (1 + BACKWARD), per_face, int(memory))
