"""Contrastive loss: genuine pairs together, others at least a margin apart."""

import torch
from torch import Tensor, nn

from faceverify.losses.options import ContrastiveOptions
from faceverify.losses.vectors import cosine, masked_mean, unit


class Contrastive(nn.Module):
    """Hadsell, Chopra, LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", CVPR 2006, eq. 4.

        loss = y D^2 / 2 + (1 - y) max(0, m - D)^2 / 2,   mean over the pairs

    D: distance of the unit embeddings, |a - b| = sqrt(2 - 2 cos) (`euclidean`) or 1 - cos (`cosine`), both 0 to 2;
    y: label, 1 for the same real person (the paper's Y is 1 - y); m: margin, in the unit of D. Nothing is detached.
    Where a = b the Euclidean distance has no derivative; it is taken as 0.
    """

    def __init__(self, options: ContrastiveOptions) -> None:
        super().__init__()
        self.options = options

    def forward(self, a: Tensor, b: Tensor, label: Tensor, keep: Tensor | None = None) -> Tensor:
        """The mean over the pairs a, b [B,D] with label [B], of those with keep [B] bool if it is given."""
        distance = self.distance(a, b)
        apart = (self.options.margin - distance).clamp_min(0)
        return masked_mean(torch.where(label == 1, distance, apart).square() / 2, keep)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """[B] distances of the rows of a and b [B,D]."""
        if self.options.distance == "cosine":
            return 1 - cosine(a, b)
        # Not sqrt(2 - 2 cos): its derivative at 0 is infinite, and float32 loses small distances in it.
        return torch.linalg.vector_norm(unit(a) - unit(b), dim=-1)
