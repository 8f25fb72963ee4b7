"""The forensic network as the training loop sees it: pictures in, loss out; and how it is judged.

Shape letters: B pairs of one worker's share of a step.
"""

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from faceverify.evaluation.metrics import auc, equal_error_rate, sort_scores
from faceverify.forensics.batches import ForensicBatch, ForensicBuilder
from faceverify.forensics.card import ForensicCard
from faceverify.forensics.config import ForensicLossConfig, ForensicValidation
from faceverify.forensics.network import ForensicNetwork
from faceverify.training.batches import FetchImages
from faceverify.training.distributed import DistributedContext
from faceverify.training.learner import Tensors

_LEVELS = 127.5  # the network is fed (pixel - 127.5) / 127.5
_AT_A_TIME = 32  # photos, in validation
_VALIDATION = 1 << 40  # in the place of a step in the seeds of validation
BPCER = 0.05


class Cost(NamedTuple):
    """The loss, and each of its components before its weight."""

    total: Tensor
    components: Tensors


class ForensicObjective(nn.Module):
    """The weighted sum of the three losses, in float32."""

    def __init__(self, config: ForensicLossConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, scores: Tensor, fields: Tensor, is_fake: Tensor, share: Tensor) -> Cost:
        """The cost of scores [2B] and fields [2B, 16, 16] (log-odds) of B real photos and the B fakes made of them.

        Args:
            scores, fields: of the network.
            is_fake: [2B] float32, 1 = a fake.
            share: [2B, 16, 16] float32, how much of each field was manipulated.
        """
        scores, fields = scores.float(), fields.float()
        real, fake = scores.chunk(2)
        paired = is_fake.chunk(2)[1]
        parts = {
            "photo": functional.binary_cross_entropy_with_logits(scores, is_fake),
            "fields": functional.binary_cross_entropy_with_logits(fields, share),
            "ranking": (functional.softplus(real - fake) * paired).sum() / paired.sum().clamp(min=1),
        }
        total = torch.stack([getattr(self.config, name) * value for name, value in parts.items()]).sum()
        return Cost(total, {name: value.detach() for name, value in parts.items()})


class ForensicLearner(nn.Module):
    """Network and objective; both photos of all pairs go through as one batch, so BatchNorm sees them together."""

    def __init__(self, network: ForensicNetwork, objective: ForensicObjective, precision: torch.dtype) -> None:
        super().__init__()
        self.network, self.objective, self.precision = network, objective, precision

    def judge(self, faces: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [N] and fields [N, 16, 16] of crops [N, 256, 256, 3] uint8 RGB and their scale [N, 1]."""
        device = faces.device.type
        with nullcontext() if self.precision == torch.float32 else torch.autocast(device, self.precision):
            # The permutation is a view; as it is in memory it is channels last already.
            scores, fields = self.network.judge((faces.permute(0, 3, 1, 2).float() - _LEVELS) / _LEVELS, scale)
        return scores.float()[:, 0], fields

    def forward(self, batch: Tensors) -> Cost:
        """The cost of a batch made by `ForensicTask.tensors`."""
        return self.objective(*self.judge(batch["faces"], batch["scale"]), batch["is_fake"], batch["fields"])


@dataclass
class ForensicTask:
    """A network that tells manipulated photos from real ones: a `faceverify.training.task.Task`.

    Args:
        learner: network and objective.
        card: the network's card.
        builder: makes batches.
        images: fetches the encoded patches.
        validation: how many photos it is judged on.
        context: this worker among the others.
    """

    learner: ForensicLearner
    card: ForensicCard
    builder: ForensicBuilder
    images: FetchImages
    validation: ForensicValidation
    context: DistributedContext
    _judged: tuple[ForensicBatch, np.ndarray] | None = field(default=None, init=False)

    def start(self) -> None:
        """Nothing begins from the data."""

    def tensors(self, batch: ForensicBatch) -> Tensors:
        """A batch on the worker's device."""
        names = ("faces", "scale", "is_fake", "fields")
        found = {name: torch.from_numpy(getattr(batch, name)) for name in names}
        if self.context.device.type == "cuda":
            found = {name: value.pin_memory() for name, value in found.items()}
        return {name: value.to(self.context.device, non_blocking=True) for name, value in found.items()}

    def split(self, batch: Tensors, count: int) -> list[Tensors]:
        """A worker's batch in `count` parts of whole pairs."""
        halves = {name: [half.chunk(count) for half in value.chunk(2)] for name, value in batch.items()}
        return [{name: torch.cat([real[i], fake[i]]) for name, (real, fake) in halves.items()} for i in range(count)]

    def photos(self, rows: np.ndarray) -> list[str]:
        """Names of photos."""
        return [self.builder.material.photos[int(row)].as_py() for row in rows]

    def validate(self) -> dict[str, Any]:
        """EER, accuracy and AUC on people who are not learnt from, each photo beside a fake of it; by generator too.

        The photos, their fakes and the ways they are stored again are the same at each validation.
        """
        batch, generator = self._judged or validation_batch(self.builder, self.images, self.validation.photos)
        self._judged = batch, generator
        scores = self._scores(batch)
        fake = batch.is_fake > 0
        real, found = scores[~fake], scores[fake]
        limit = np.quantile(real, 1 - BPCER)
        ordered = sort_scores(found, real)
        results: dict[str, Any] = {
            "eer": equal_error_rate(ordered).eer,
            "accuracy": float(((real < 0).mean() + (found >= 0).mean()) / 2),
            "auc": auc(ordered),
        }
        names = [one.name for one in self.builder.generators]
        by = {"given" if n < 0 else names[n]: scores[fake & (generator == n)] for n in np.unique(generator[fake])}
        results["auc_by_generator"] = {name: auc(sort_scores(some, real)) for name, some in by.items()}
        results["deepfake_accepted"] = float((found < limit).mean())
        results["accepted_by_generator"] = {name: float((some < limit).mean()) for name, some in by.items()}
        return results

    def _scores(self, batch: ForensicBatch) -> np.ndarray:
        """Scores [2B] in evaluation mode, of all workers together."""
        training, context = self.learner.training, self.context
        self.learner.eval()
        mine = np.arange(context.rank, len(batch.faces), context.size)
        found = []
        with torch.inference_mode():
            for start in range(0, len(mine), _AT_A_TIME):
                some = mine[start : start + _AT_A_TIME]
                faces, scale = (torch.from_numpy(one[some]).to(context.device) for one in (batch.faces, batch.scale))
                found.append(self.learner.judge(faces, scale)[0].cpu())
        self.learner.train(training)
        scores = torch.cat(found).numpy()[:, None] if found else np.zeros((0, 1), np.float32)
        return context.gather_rows(scores, len(batch.faces))[:, 0]


def validation_batch(builder: ForensicBuilder, images: FetchImages, most: int) -> tuple[ForensicBatch, np.ndarray]:
    """Real photos of people who are not learnt from and a fake of each, `most` at most; the generator [2B] of each."""
    material, seed = builder.material, builder.batches.seed
    real = np.sort(np.random.default_rng([seed, _VALIDATION]).permutation(material.val)[:most])
    seeds = [(seed, _VALIDATION, int(row)) for row in real]
    planned = builder.plan_of(0, seeds, real, material.val, material.given_val)
    return builder.build(planned, images(planned.distinct)), np.tile(planned.generator, 2)


def fresh_card(dct: bool) -> ForensicCard:
    """The card of a network that has learnt nothing yet."""
    from faceverify.forensics.examples import CROP

    notes = "" if dct else "without fixed filters"
    return ForensicCard(
        kind="forensic",
        name="forensic",
        input_size=(CROP.size, CROP.size),
        crop=str(CROP),
        colour="RGB",
        mean=(_LEVELS,) * 3,
        std=(_LEVELS,) * 3,
        output="log_odds",
        takes_scale=True,
        notes=notes,
    )
