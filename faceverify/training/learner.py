"""The network and its objective as one module, pixels in, loss out: what DistributedDataParallel wraps.

Shape letters: B pairs of one worker's share, D numbers in an embedding.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from faceverify.errors import UserError
from faceverify.losses.batch import PairBatch
from faceverify.losses.objective import Objective
from faceverify.models.card import ModelCard
from faceverify.models.detail import Detail
from faceverify.training.batches import Batch
from faceverify.training.network import layout_of

Tensors = dict[str, Tensor]
Network = Callable[[Tensor], Tensor]


class Learner(nn.Module):
    """Network and objective. Both photos of all pairs go through as one batch, so BatchNorm sees them together.

    Args:
        network: [N, 3, H, W] -> [N, D].
        objective: what is minimised.
        card: colour order, mean and std of the network's input.
        precision: number format of the network; losses are float32.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, objective: Objective, card: ModelCard, precision: torch.dtype) -> None:
        super().__init__()
        self.network, self.objective = network, objective
        self.precision, self.bgr = precision, card.colour == "BGR"
        self.layout = layout_of(network, next(network.parameters()).device)
        for name in ("mean", "std"):
            values = torch.tensor(getattr(card, name), dtype=torch.float32)[:, None, None]
            self.register_buffer(name, values, persistent=False)

    def embed(self, faces: Tensor, network: Network | None = None) -> Tensor:
        """Embeddings [N, D] float32, not normalised, of faces [N, H, W, 3] uint8 RGB.

        Args:
            faces: on the learner's device.
            network: another network with the same input format; None = the learner's own.
        """
        with self._autocast(faces.device.type):
            out = (network or self.network)(self._normalised(faces))
        return out.float()

    def _normalised(self, faces: Tensor) -> Tensor:
        channels = faces.permute(0, 3, 1, 2)  # a view; as it is in memory it is channels last already
        x = ((channels.flip(1) if self.bgr else channels).float() - self.mean) / self.std
        return x.contiguous(memory_format=self.layout)

    def _outputs(self, faces: Tensor) -> Tensors:
        """The network outputs that the objective needs: embeddings [2B, D], and scores [2B] of the branch `detail`."""
        if not self.objective.needs_scores:
            return {"embeddings": self.embed(faces)}
        with self._autocast(faces.device.type):
            x = self._normalised(faces)
            if self.objective.needs_embeddings:
                embeddings, scores = self.network(x, True)
            else:  # the branch sees pixels alone: all of a large recogniser need not be computed beside it
                branch = self.network.detail
                assert isinstance(branch, Detail)
                scores = branch.scores(x)
                embeddings = scores.new_zeros(len(scores), 1)
        return {"embeddings": embeddings.float(), "scores": scores.float()}

    def _autocast(self, device: str) -> AbstractContextManager[object]:
        return nullcontext() if self.precision == torch.float32 else torch.autocast(device, self.precision)

    def forward(self, batch: Tensors) -> tuple[Tensor, Tensors]:
        """The loss and the value of each of its components, for a batch made by `to_tensors`."""
        pair = batch["label"].shape[0]
        given = {name: batch[name] for name in ("person", "is_fake", "reference") if name in batch}
        parts: Tensors = {}
        for name, values in (self._outputs(batch["faces"]) | given).items():
            parts |= dict(zip((f"{name}_a", f"{name}_b"), values.split(pair), strict=True))
        return self.objective(PairBatch(label=batch["label"], kind=batch["kind"], **parts))


def to_tensors(batch: Batch, device: torch.device) -> Tensors:
    """Copy a batch to the device, without waiting where memory can be pinned (CUDA)."""
    names = ("faces", "label", "kind", "person", "is_fake")
    found = {name: torch.from_numpy(np.ascontiguousarray(getattr(batch, name))) for name in names}
    if device.type == "cuda":
        found = {name: value.pin_memory() for name, value in found.items()}
    return {name: value.to(device, non_blocking=True) for name, value in found.items()}


def split_batch(batch: Tensors, count: int) -> list[Tensors]:
    """Split a worker's batch into `count` parts of whole pairs, for gradient accumulation.

    Raises:
        UserError: the number of pairs is no multiple of `count`.
    """
    pairs = batch["label"].shape[0]
    if pairs % count:
        raise UserError(f"batches.accumulate is {count}, but a worker's share is {pairs} pairs: give a divisor.")
    if count == 1:
        return [batch]
    found: list[Tensors] = [{} for _ in range(count)]
    for name, value in batch.items():
        # Faces come as first photos, then second photos: a part takes its share of both.
        halves = value.split(pairs)
        for part, halves_of_part in zip(found, zip(*(half.chunk(count) for half in halves), strict=True), strict=True):
            part[name] = torch.cat(halves_of_part)
    return found
