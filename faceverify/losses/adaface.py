"""AdaFace: softmax over people with a margin that depends on the photo's quality, read off the embedding's length."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from faceverify.losses.class_vectors import ClassVectors
from faceverify.losses.options import AdaFaceOptions
from faceverify.losses.vectors import masked_mean, unit, upcast

_EPS = 1e-3
_LENGTHS = (1e-3, 100.0)


class AdaFace(nn.Module):
    """Kim, Jain, Liu, "AdaFace: Quality Adaptive Margin for Face Recognition", CVPR 2022, sec. 3, with the
    limits of the authors' code (`head.py`).

        z    = clip(h (n - mean) / (std + 0.001), -1, 1),      n the length of the embedding, clipped to 0.001 .. 100
        t'   = clip(t_y - m z, 0.001, pi - 0.001)
        loss = cross entropy over the classes j of  s cos t_j, and for the photo's own class y of
               s (cos t' - (m + m z)),                          mean over the photos

    t_j: angle between the embedding and the vector of class j, its cosine clipped to +-0.999; s: scale, m: margin,
    h: concentration. Long embeddings (z = 1) get -m on the angle and 2 m on the cosine, short ones (z = -1) are
    ArcFace, mean ones CosFace.

    z is detached: no gradient reaches the lengths through the margin. Otherwise the gradient is the formula's, or with
    `straight_through` that of s cos t_y, as in CVLface (whose limits differ slightly: no clips at 0.999 and 0.001).

    mean and std (unbiased) of the lengths are running values in the buffers `batch_mean` and `batch_std`, moved towards
    the batch's before they are used; they belong into checkpoints. Only in training mode, unless `ema_in_eval`. Every
    rank takes its own local batch, without gathering: wrapped in DistributedDataParallel, rank 0's buffers are sent to
    all before each step. A batch of fewer than two photos has no std and moves nothing,
    nor does one with values that are not finite: half precision can skip such a step.
    """

    batch_mean: Tensor
    batch_std: Tensor

    def __init__(self, options: AdaFaceOptions, vectors: ClassVectors) -> None:
        super().__init__()
        self.options, self.vectors = options, vectors
        self.register_buffer("batch_mean", torch.tensor(options.start_mean, dtype=torch.float32))
        self.register_buffer("batch_std", torch.tensor(options.start_std, dtype=torch.float32))

    def forward(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        """The mean over raw embeddings [N,D] with classes [N] int64; rows of class -1 do not count, also not in the
        running statistics."""
        lengths = torch.linalg.vector_norm(upcast(embeddings), dim=-1)
        logits = self.logits(unit(embeddings), lengths, classes)
        return masked_mean(cross_entropy(logits, classes.clamp_min(0), reduction="none"), classes >= 0)

    def logits(self, units: Tensor, lengths: Tensor, classes: Tensor) -> Tensor:
        """[N,C] from the embeddings' directions [N,D] and lengths [N], the margin applied at classes [N] int64."""
        z_N1 = self._quality(lengths, classes >= 0)[:, None]
        margin, target = self.options.margin, classes.clamp_min(0)[:, None]
        cosines = self.vectors(units).clamp(-1 + _EPS, 1 - _EPS)
        own = cosines.gather(1, target)
        angle = (own.acos() - margin * z_N1).clamp(_EPS, math.pi - _EPS)
        value = angle.cos() - (margin + margin * z_N1)
        if self.options.gradient == "straight_through":
            value = own + (value - own).detach()
        return self.options.scale * cosines.scatter(1, target, value)

    @torch.no_grad()
    def _quality(self, lengths: Tensor, counted: Tensor) -> Tensor:
        """z [N] of the lengths [N]; moves the running statistics first."""
        lengths = upcast(lengths).clamp(*_LENGTHS)
        if self.training or self.options.ema_in_eval:
            self._move(lengths, counted)
        z = self.options.concentration * (lengths - self.batch_mean) / (self.batch_std + _EPS)
        return z.clamp(-1, 1)

    def _move(self, lengths: Tensor, counted: Tensor) -> None:
        count = counted.sum()
        mean = masked_mean(lengths, counted)
        std = (((lengths - mean).square() * counted).sum() / (count - 1).clamp_min(1)).sqrt()
        usable = (count >= 2) & std.isfinite()
        for running, new in ((self.batch_mean, mean), (self.batch_std, std)):
            running.copy_(torch.where(usable, running.lerp(new.to(running), self.options.ema_rate), running))
