"""What the losses share: unit vectors, cosines and means that are safe in half precision and at the edges.

All of it computes in float32 at least, also inside `torch.autocast`, where a plain matrix product would be rounded to
8 or 11 bits: at s = 64 an error of up to 0.1 in a logit.
"""

import torch
from torch import Tensor

# |cosine| stays below this where an angle is made of it: the derivative of arccos at 1 is infinite.
LARGEST_COSINE = 1 - 1e-6
_SHORTEST = 1e-6  # shorter embeddings have no direction


def upcast(x: Tensor) -> Tensor:
    """The tensor in float32, or in float64 if it is float64 already."""
    return x if x.dtype == torch.float64 else x.float()


def unit(x: Tensor) -> Tensor:
    """Vectors [...,D] divided by their length. One shorter than 1e-6 becomes zero, with a gradient of zero: the usual
    division by max(length, 1e-12) would multiply its gradient by 1e12."""
    x = upcast(x)
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    # Written so that NaN is not "short": it has to reach the loss, where training notices it.
    return torch.where(norm < _SHORTEST, torch.zeros_like(x), x / norm.clamp_min(_SHORTEST))


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """[B] cosines of the rows of a and b [B,D], raw or unit; 0 where one has no direction."""
    return (unit(a) * unit(b)).sum(dim=-1)


def cosine_matrix(units_a: Tensor, units_b: Tensor) -> Tensor:
    """[N,M] cosines of each row of units_a [N,D] with each row of units_b [M,D], both made by `unit`."""
    with torch.autocast(units_a.device.type, enabled=False):
        return units_a @ units_b.T


@torch.no_grad()
def redirect(vectors: Tensor, centres: Tensor) -> None:
    """Replace the first of vectors [C,D] in place by the directions of centres [P,D], P <= C. Where a centre has no
    direction the vector stays: one of length zero would never learn."""
    units = unit(centres).to(vectors)
    first = vectors[: len(centres)]
    first.copy_(torch.where(units.any(dim=1, keepdim=True), units, first))


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of the values [B] where the mask [B] bool is true (None = all); 0 if there are none.

    Shapes do not depend on the mask, so a GPU need not be waited for, and class vectors get a gradient (of zero) on a
    rank whose batch has no person in it, as DistributedDataParallel wants.
    """
    if mask is None:
        mask = torch.ones_like(values, dtype=torch.bool)
    return (values * mask).sum() / mask.sum().clamp_min(1)
