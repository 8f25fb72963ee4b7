"""Mining of hard negatives: all genuine pairs, and of the others the most similar ones.

A miner in front of any pair loss: `loss(a, b, label, keep=hardest(cosine(a, b), label, kind, 0.5))`.
"""

import torch
from torch import Tensor


@torch.no_grad()
def hardest(cosines: Tensor, label: Tensor, kind: Tensor, share: float) -> Tensor:
    """Which pairs of a batch to learn from.

    Of n pairs of one kind with label 0 the ceil(share n) with the largest cosines are kept (Simo-Serra et al.,
    "Discriminative Learning of Deep Convolutional Feature Point Descriptors", ICCV 2015). The share is taken
    of every kind by itself, or deepfakes, which are the harder ones, would leave no impostor.

    Args:
        cosines: [B]; no gradient passes.
        label: [B], 1 = the same real person.
        kind: [B] integers; pairs with equal numbers compete.
        share: above 0, up to 1.

    Returns:
        [B] bool. Of equal cosines the earlier pair wins, so equal batches give equal choices.
    """
    negative = label != 1
    rival_BB = negative[None, :] & (kind[None, :] == kind[:, None])
    place = torch.arange(len(cosines), device=cosines.device)
    earlier_BB = (cosines[None, :] == cosines[:, None]) & (place[None, :] < place[:, None])
    rank = (rival_BB & ((cosines[None, :] > cosines[:, None]) | earlier_BB)).sum(dim=1)
    # A whole number that came out a rounding error too large must not be rounded up by one.
    quota = (rival_BB.sum(dim=1).double() * share - 1e-9).ceil()
    return ~negative | (rank < quota)
