"""A branch that looks for what a swap leaves behind, and turns the embedding of such a photo away from its person.

Seams and unlike sharpness show in the maps of early layers and are gone in the last one. The branch follows them with
layers of its own, which begin as copies of the network's, to one number, the score d. The embedding z becomes
z + s (T z - z), s = sigmoid(d - d0), with an orthogonal T by lot: a photo that looks whole stays, one that does not
goes to where the person is not. Genuine pairs lose nothing if both photos are turned, nor do impostors come near each
other. T and d0 are not learnt, but lie beside the weights.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

WIDTH, POOLED = 64, 128
THRESHOLD = 5.0  # d0: whatever is not clearly a deepfake stays, and an untaught branch does next to nothing


def _conv(width_in: int, width_out: int, stride: int = 1) -> nn.Sequential:
    # Without statistics: they would be those of a training in which every other photo is a fake.
    conv = nn.Conv2d(width_in, width_out, 3, stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.GroupNorm(8, width_out), nn.ReLU())


class Detail(nn.Module):
    """The branch.

    Args:
        early: layers from the map that is followed to one of 28x28.
        late: layers from there to a map of 14x14.
        widths: channels of both.
        dim: numbers in an embedding.
    """

    turn: Tensor
    threshold: Tensor

    def __init__(
        self, early: Iterable[nn.Module], late: Iterable[nn.Module], widths: tuple[int, int], dim: int
    ) -> None:
        super().__init__()
        self.early, self.late = nn.Sequential(*early), nn.Sequential(*late)
        self.down = _conv(widths[0], WIDTH, stride=2)
        self.join = nn.Sequential(_conv(WIDTH + widths[1], WIDTH), _conv(WIDTH, WIDTH, stride=2), _conv(WIDTH, POOLED))
        self.drop = nn.Dropout(0.2)
        self.score = nn.Linear(2 * POOLED, 1)
        self.register_buffer("turn", nn.init.orthogonal_(torch.empty(dim, dim)))
        self.register_buffer("threshold", torch.full((1,), THRESHOLD))

    def forward(self, x: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """The embedding [B, dim], turned away as far as the map [B, C, H, W] looks doctored, and the scores [B]."""
        early = self.early(x)
        joined = self.join(torch.cat([self.down(early), self.late(early)], 1))
        pooled = torch.cat([joined.mean((2, 3)), joined.amax((2, 3))], 1)
        score = self.score(self.drop(pooled))
        share = torch.sigmoid(score - self.threshold)
        turned = nn.functional.linear(embedding, self.turn)
        return embedding + share * (turned - embedding), score.flatten()

    def begin(self, early: Iterable[nn.Module], late: Iterable[nn.Module]) -> None:
        """Take over the weights of the network's own layers."""
        for mine, given in ((self.early, early), (self.late, late)):
            mine.load_state_dict(nn.Sequential(*given).state_dict())
