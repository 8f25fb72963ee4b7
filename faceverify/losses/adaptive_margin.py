"""Adaptive margin: binary cross entropy over cosines, with a margin for genuine pairs that grows as they differ."""

from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from faceverify.losses.options import AdaptiveMarginOptions
from faceverify.losses.vectors import cosine, masked_mean, upcast


class AdaptiveMargin(nn.Module):
    """The pair loss of the Kryptonite-ML challenge's winning entry (class `AdaptiveMarginLoss`).

        m_d  = m_b + a (1 - cos)
        z    = s (cos - m_d y)
        loss = -y log sigmoid(z) - (1 - y) log(1 - sigmoid(z)),   mean over the pairs

    cos: cosine of the two embeddings; y: label, 1 for the same real person; s: scale, m_b: margin, a: slope. Margins in
    cosine, the loss in nats. The gradient goes through the margin too: dz/dcos is s, or s (1 + a) for genuine pairs.
    Others are pushed below cosine 0: at cosine 0.4 one still costs 25.6.
    """

    def __init__(self, options: AdaptiveMarginOptions) -> None:
        super().__init__()
        self.options = options

    def forward(self, a: Tensor, b: Tensor, label: Tensor, keep: Tensor | None = None) -> Tensor:
        """The mean over the pairs a, b [B,D] with label [B], of those with keep [B] bool if it is given."""
        return masked_mean(self.per_pair(cosine(a, b), label), keep)

    def per_pair(self, cosines: Tensor, label: Tensor) -> Tensor:
        """[B] from cosines [B] and label [B]."""
        cosines = upcast(cosines)
        same = label.to(cosines)
        margin = self.options.margin + self.options.slope * (1 - cosines)
        logits = self.options.scale * (cosines - margin * same)
        return binary_cross_entropy_with_logits(logits, same, reduction="none")
