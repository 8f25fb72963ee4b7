"""Priors of RetinaFace and DFA: the boxes whose shifts the network predicts, and what the shifts mean.

Everything is in shares of the picture's width and height. Shape letters: B photos, P priors.
"""

from functools import lru_cache
from math import ceil

import torch
from torch import Tensor

STEPS = (8, 16, 32)
CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2  # of SSD (Liu et al., ECCV 2016)

Sizes = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@lru_cache(maxsize=64)
def priors(height: int, width: int, min_sizes: Sizes) -> Tensor:
    """Priors [P,4] float32 (centre x, centre y, width, height): by map, row, column, size."""
    maps = []
    for step, sizes in zip(STEPS, min_sizes, strict=True):
        rows, columns = ceil(height / step), ceil(width / step)
        # float64 as in the published code, rounded to float32 at the end
        y = (torch.arange(rows, dtype=torch.float64) + 0.5) * step / height
        x = (torch.arange(columns, dtype=torch.float64) + 0.5) * step / width
        extent = torch.tensor([[size / width, size / height] for size in sizes], dtype=torch.float64)
        cells = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).reshape(-1, 1, 2)
        maps.append(torch.cat([cells.expand(-1, 2, 2), extent.expand(len(cells), 2, 2)], dim=2).reshape(-1, 4))
    return torch.cat(maps).float()


def decode_boxes(shifts_BP4: Tensor, priors_P4: Tensor) -> Tensor:
    """Boxes [B,P,4], x1 y1 x2 y2."""
    centre = priors_P4[:, :2] + shifts_BP4[..., :2] * CENTRE_VARIANCE * priors_P4[:, 2:]
    size = priors_P4[:, 2:] * torch.exp(shifts_BP4[..., 2:] * SIZE_VARIANCE)
    corner = centre - size / 2
    return torch.cat([corner, corner + size], dim=-1)


def decode_landmarks(shifts_BP10: Tensor, priors_P4: Tensor) -> Tensor:
    """Landmarks [B,P,10], x y of the five points in turn."""
    centre, size = priors_P4[:, :2].repeat(1, 5), priors_P4[:, 2:].repeat(1, 5)
    return centre + shifts_BP10 * CENTRE_VARIANCE * size
