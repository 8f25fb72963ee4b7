"""ArcFace: softmax over people with a margin on the angle."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from faceverify.losses.class_vectors import ClassVectors
from faceverify.losses.options import ArcFaceOptions
from faceverify.losses.vectors import LARGEST_COSINE, masked_mean, unit


class ArcFace(nn.Module):
    """Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019, eq. 3.

        loss = cross entropy over the classes j of  s cos(t_j + m [j = y]),   mean over the photos

    t_j: angle between the embedding and the vector of class j; y: the photo's class; s: scale; m: margin in radians.
    Where t_y + m would pass pi and the cosine rise again, s (cos t_y - m sin m) is taken, which keeps falling (as in
    the authors' code). The gradient is that of the formula: nothing is detached. cos t_y is kept 1e-6 inside of +-1,
    where the angle has no derivative; beyond that its gradient is 0.
    """

    def __init__(self, options: ArcFaceOptions, vectors: ClassVectors) -> None:
        super().__init__()
        self.options, self.vectors = options, vectors

    def forward(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        """The mean over embeddings [N,D], raw or unit, with classes [N] int64; rows of class -1 do not count."""
        target = classes.clamp_min(0)
        logits = self.logits(unit(embeddings), target)
        return masked_mean(cross_entropy(logits, target, reduction="none"), classes >= 0)

    def logits(self, units: Tensor, target: Tensor) -> Tensor:
        """[N,C] of unit embeddings [N,D], the margin applied at target [N] int64 >= 0."""
        scale, margin = self.options.scale, self.options.margin
        cosines = self.vectors(units)
        own = cosines.gather(1, target[:, None]).clamp(-LARGEST_COSINE, LARGEST_COSINE)
        turned = own * math.cos(margin) - (1 - own.square()).sqrt() * math.sin(margin)
        beyond = own - margin * math.sin(margin)
        value = torch.where(own > -math.cos(margin), turned, beyond)
        return scale * cosines.scatter(1, target[:, None], value)
