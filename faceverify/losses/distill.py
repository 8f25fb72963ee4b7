"""Distillation: real faces stay where the original network puts them."""

from torch import Tensor, nn

from faceverify.losses.options import DistillOptions
from faceverify.losses.vectors import cosine, masked_mean, upcast

_NO_LENGTH = 1e-12  # squared


class Distill(nn.Module):
    """Keeps what the network knew of real faces while it learns about fakes.

        loss = 1 - cos(x, x0) + k |x - x0|^2 / |x0|^2,   mean over the real photos

    x: embedding of a real photo, x0: the frozen original network's of the same picture (detached), k: `squared`. The
    second term is that of FitNets (Romero et al., ICLR 2015, eq. 3), as a share of the length so that it has no unit.
    Deepfakes are left out: to move them is what is wanted. So are photos that the original gives no direction.
    """

    def __init__(self, options: DistillOptions) -> None:
        super().__init__()
        self.options = options

    def forward(self, embeddings: Tensor, reference: Tensor, is_fake: Tensor) -> Tensor:
        """The mean over raw embeddings [N,D] and the original's [N,D], of those where is_fake [N] bool is false."""
        new, old = upcast(embeddings), upcast(reference).detach()
        length = old.square().sum(dim=1)
        difference = (new - old).square().sum(dim=1) / length.clamp_min(_NO_LENGTH)
        loss = 1 - cosine(new, old) + self.options.squared * difference
        return masked_mean(loss, ~is_fake & (length > _NO_LENGTH))
