"""The sum of losses that training minimises."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from faceverify.errors import UserError
from faceverify.losses.adaface import AdaFace
from faceverify.losses.adaptive_margin import AdaptiveMargin
from faceverify.losses.arcface import ArcFace
from faceverify.losses.batch import PairBatch
from faceverify.losses.center import Center
from faceverify.losses.circle import Circle
from faceverify.losses.class_vectors import ClassVectors
from faceverify.losses.contrastive import Contrastive
from faceverify.losses.detection import Detection
from faceverify.losses.distill import Distill
from faceverify.losses.hard_negative import hardest
from faceverify.losses.options import PERSON_LOSSES, LossConfig
from faceverify.losses.triplet import Triplet
from faceverify.losses.vectors import cosine


class Result(NamedTuple):
    """What one batch costs.

    Args:
        total: scalar to call `backward` on.
        components: each loss's own value, before its weight: detached scalars on the batch's device. Reading one waits
            for the GPU, so read them only when they are logged.
    """

    total: Tensor
    components: dict[str, Tensor]


class Objective(nn.Module):
    """Calls the losses that a config names on one batch and adds them up, in float32 also inside `torch.autocast`.

    Class vectors are parameters: give `parameters()` to the optimiser beside the network's (there may be none), and
    `state_dict()` to the checkpoint; it also holds AdaFace's running statistics and the centres of `center`. On several
    ranks wrap an objective that has parameters in DistributedDataParallel, as the network. Its means are then of each
    rank's batch. `train()` and `eval()` say whether running statistics and centres move.
    """

    def __init__(self, config: LossConfig, *, dim: int, people: int, seed: int) -> None:
        super().__init__()
        self.config, self.people, self.weights = config, people, config.weights.in_use()
        self.needs_identities, self.needs_reference = config.needs_identities, config.needs_reference
        self.needs_scores, self.needs_embeddings = config.needs_scores, config.needs_embeddings
        classes = people * (2 if config.fakes_as_own_class else 1)
        self.losses = nn.ModuleDict()
        for name in self.weights:
            if name in PERSON_LOSSES and people < 1:
                raise UserError(
                    f"losses.weights names '{name}', which needs photos with known persons; there are none."
                )
            self.losses[name] = _make(name, config, classes, dim, seed)

    def forward(self, batch: PairBatch) -> Result:
        """The weighted sum and its parts.

        Raises:
            ValueError: the batch lacks what `needs_identities`, `needs_reference` or `needs_scores` ask for.
        """
        with torch.autocast(batch.embeddings_a.device.type, enabled=False):
            keep = self._mined(batch)
            values = {name: self._value(loss, batch, keep) for name, loss in self.losses.items()}
        total = torch.stack([self.weights[name] * value for name, value in values.items()]).sum()
        return Result(total, {name: value.detach() for name, value in values.items()})

    def start_from(self, centres: Tensor) -> None:
        """Let class vectors and centres begin at each person's mean embedding by the original network [people,D]; a row
        of zeros is a person who has none."""
        for module in self.modules():
            if isinstance(module, ClassVectors | Center):
                module.start_from(centres)

    def _mined(self, batch: PairBatch) -> Tensor | None:
        share = self.config.hard_negatives.share
        if share == 1:
            return None
        return hardest(cosine(batch.embeddings_a, batch.embeddings_b), batch.label, batch.kind, share)

    def _value(self, loss: nn.Module, batch: PairBatch, keep: Tensor | None) -> Tensor:
        match loss:
            case ArcFace() | AdaFace() | Center():
                own = self.config.fakes_as_own_class
                return loss(batch.embeddings, batch.classes(self.people, fakes_as_own_class=own))
            case Triplet():
                return loss(batch)
            case Distill():
                return loss(batch.embeddings, batch.reference, batch.is_fake)
            case Detection():
                return loss(batch.scores, batch.is_fake)
            case _:
                return loss(batch.embeddings_a, batch.embeddings_b, batch.label, keep)


def _make(name: str, config: LossConfig, classes: int, dim: int, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    match name:
        case "arcface":
            return ArcFace(config.arcface, ClassVectors(classes, dim, generator))
        case "adaface":
            return AdaFace(config.adaface, ClassVectors(classes, dim, generator))
        case "center":
            return Center(config.center, classes, dim, generator)
        case "triplet":
            return Triplet(config.triplet)
        case "distill":
            return Distill(config.distill)
        case "detection":
            return Detection()
        case "contrastive":
            return Contrastive(config.contrastive)
        case "circle":
            return Circle(config.circle)
        case _:
            return AdaptiveMargin(config.adaptive_margin)
