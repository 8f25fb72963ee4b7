"""Center loss: each embedding near the centre of its person."""

import torch
from torch import Tensor, nn

from faceverify.losses.options import CenterOptions
from faceverify.losses.vectors import masked_mean, redirect, unit


class Center(nn.Module):
    """Wen et al., "A Discriminative Feature Learning Approach for Deep Face Recognition", ECCV 2016, eq. 2 to 4.

        loss = |x - c_y|^2 / 2,   mean over the photos (the paper's sum would weigh with the size of the batch)
        then   c_j <- c_j - alpha  sum_i [y_i = j] (c_j - x_i) / (1 + count of j in the batch)

    x: unit embedding (the paper's are raw; similarity here is the cosine), c_y: centre of the photo's class, alpha:
    rate. The centres are a buffer, moved by this rule in training mode, and no parameters: a learning rate made for a
    network would leave them where they are. They are moved by each rank's own photos. No gradient passes to them. The
    loss draws together and pushes nothing apart, so it is only used beside another.
    """

    centres: Tensor

    def __init__(self, options: CenterOptions, classes: int, dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.options = options
        self.register_buffer("centres", unit(torch.randn(classes, dim, generator=generator)))

    def start_from(self, centres: Tensor) -> None:
        """Replace the first centres by the directions of centres [P,D], P <= C, that have one; the others stay."""
        redirect(self.centres, centres)

    def forward(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        """The mean over embeddings [N,D], raw or unit, with classes [N] int64; rows of class -1 do not count."""
        counted, target = classes >= 0, classes.clamp_min(0)
        difference = unit(embeddings) - self.centres[target]
        if self.training:
            self._move(difference.detach(), target, counted)
        return masked_mean(difference.square().sum(dim=1) / 2, counted)

    @torch.no_grad()
    def _move(self, difference: Tensor, target: Tensor, counted: Tensor) -> None:
        # Rows of one class all write the same sum: unlike index_add_ this is reproducible on GPUs.
        with torch.autocast(difference.device.type, enabled=False):
            mine_NN = ((target[:, None] == target[None, :]) & counted[None, :]).to(difference)
            step = mine_NN @ (difference * counted[:, None]) / (1 + mine_NN.sum(dim=1, keepdim=True))
        # A step that half precision skips must not leave a centre without value for good.
        self.centres[target] += torch.where(step.isfinite(), self.options.rate * step, 0.0).to(self.centres)
