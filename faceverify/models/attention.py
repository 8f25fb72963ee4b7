"""An attention branch on the last feature map, which changes nothing before it is trained.

Channel and spatial attention after Woo et al., "CBAM", ECCV 2018, eq. 2 and 3, here as a residual: the map x becomes
x (1 + g c(x) s(x)), where g is learned and starts at 0, so a published network is as published until trained.
"""

import torch
from torch import Tensor, nn


class Attention(nn.Module):
    """The branch for maps of `width` channels.

    Args:
        width: channels.
        reduction: of the hidden layer of the channel attention.
    """

    def __init__(self, width: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(width // reduction, 4)
        self.channel = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.spatial = nn.Conv2d(2, 1, 3, padding=1)
        self.gain = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, width, H, W] to the same shape."""
        channel = torch.sigmoid(self.channel(x.mean((2, 3))) + self.channel(x.amax((2, 3))))[..., None, None]
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * (1 + self.gain * channel * torch.sigmoid(self.spatial(pooled)))
