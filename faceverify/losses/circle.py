"""Circle loss: every genuine cosine above every other one, the far ones pulled hardest."""

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from faceverify.losses.options import CircleOptions
from faceverify.losses.vectors import cosine


class Circle(nn.Module):
    """Sun et al., "Circle Loss: A Unified Perspective of Pair Similarity Optimization", CVPR 2020, sec. 3.

        loss = log(1 + sum_n exp(g [c_n + m]+ (c_n - m)) * sum_p exp(-g [1 + m - c_p]+ (c_p - 1 + m)))

    c_p, c_n: cosines of the batch's genuine and other pairs; g: scale, m: margin, in cosine; [x]+ = max(0, x). The
    weights [.]+ are detached: they scale the gradient and are not part of it. This is the paper's form for pair labels,
    over the pairs of the batch: one value in nats, 0 with a gradient of 0 if all pairs are of one label.
    """

    def __init__(self, options: CircleOptions) -> None:
        super().__init__()
        self.options = options

    def forward(self, a: Tensor, b: Tensor, label: Tensor, keep: Tensor | None = None) -> Tensor:
        """The loss of the pairs a, b [B,D] with label [B] (1 = genuine); only of those with keep [B] bool, if given."""
        cosines, (scale, margin) = cosine(a, b), (self.options.scale, self.options.margin)
        fixed = cosines.detach()
        genuine = -scale * (1 + margin - fixed).clamp_min(0) * (cosines - 1 + margin)
        other = scale * (fixed + margin).clamp_min(0) * (cosines - margin)
        used = torch.ones_like(label, dtype=torch.bool) if keep is None else keep
        return softplus(_logsumexp(genuine, used & (label == 1)) + _logsumexp(other, used & (label != 1)))


def _logsumexp(logits: Tensor, mask: Tensor) -> Tensor:
    return logits.masked_fill(~mask, float("-inf")).logsumexp(dim=0)
