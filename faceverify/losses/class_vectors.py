"""The vectors that losses over people own: one for every class."""

import torch
from torch import Tensor, nn

from faceverify.losses.vectors import cosine_matrix, redirect, unit


class ClassVectors(nn.Module):
    """Unit vectors [C,D] to learn, each the direction of a class.

    They start at random. When fine-tuning a network, begin with `start_from(mean embeddings)`: no published network
    comes with its class vectors, and random ones first drag all embeddings away from where they are.
    """

    def __init__(self, classes: int, dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(unit(torch.randn(classes, dim, generator=generator)))

    def start_from(self, centres: Tensor) -> None:
        """Replace the first vectors by the directions of centres [P,D], P <= C, that have one; the others stay."""
        redirect(self.weight, centres)

    def forward(self, units: Tensor) -> Tensor:
        """[N,C] cosines of unit embeddings [N,D] with the classes."""
        return cosine_matrix(units, unit(self.weight))
