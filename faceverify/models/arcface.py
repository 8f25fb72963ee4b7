"""Improved ResNets in the layout of arcface_torch (r18, 34, 50, 100, 200), which MagFace's weights have too.

Source: Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019, and InsightFace's
`iresnet.py`; Meng et al., "MagFace", CVPR 2021. Keys, order and shapes are those of the published state dicts, which
are the same for both. They differ in the BatchNorm's epsilon and in how they are fed, which no file shows.
What differs from `faceverify.models.iresnet`: every first block of a stage has a convolution as its shortcut, and the
last BatchNorm has weight and bias.
"""

import torch
from torch import Tensor, nn

UNITS = {
    "r18": (2, 2, 2, 2),
    "r34": (3, 4, 6, 3),
    "r50": (3, 4, 14, 3),
    "r100": (3, 13, 30, 3),
    "r200": (6, 26, 60, 6),
}
EPSILONS = {"arcface": 1e-5, "magface": 2e-5}
ARCFACES = (*(f"arcface_{size}" for size in UNITS), *(f"magface_{size}" for size in UNITS if size != "r200"))
WIDTHS = (64, 128, 256, 512)


class Block(nn.Module):
    """A residual block: BN, conv, BN, PReLU, strided conv, BN, plus the shortcut; no activation after the sum."""

    def __init__(self, width_in: int, width: int, stride: int, eps: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(width_in, eps)
        self.conv1 = nn.Conv2d(width_in, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, eps)
        self.prelu = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width, eps)
        self.downsample: nn.Module = nn.Identity()  # has no keys
        if stride != 1:
            shortcut = nn.Conv2d(width_in, width, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(width, eps))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, width_in, H, W] to [B, width, H/stride, W/stride]."""
        inner = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(inner)) + self.downsample(x)


class ArcFace(nn.Module):
    """The network.

    Args:
        architecture: one of `ARCFACES`.
        dim: length of the embedding.
    """

    def __init__(self, architecture: str, dim: int = 512) -> None:
        super().__init__()
        kind, _, size = architecture.partition("_")
        eps = EPSILONS[kind]
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0], eps)
        self.prelu = nn.PReLU(WIDTHS[0])
        before = (WIDTHS[0], *WIDTHS)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(*(Block(width if i else width_in, width, 1 if i else 2, eps) for i in range(count)))
            for width_in, width, count in zip(before, WIDTHS, UNITS[size], strict=False)
        )
        self.bn2 = nn.BatchNorm2d(WIDTHS[-1], eps)
        self.dropout = nn.Dropout(0.4 if kind == "magface" else 0.0)
        self.fc = nn.Linear(WIDTHS[-1] * 7 * 7, dim)
        self.features = nn.BatchNorm1d(dim, eps)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Embed normalised faces [B, 3, 112, 112] (colour order and scale of the model card) as [B, dim], not
        normalised; of MagFace the length says how good the photo is."""
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.features(self.fc(self.dropout(self.bn2(x)).flatten(1)))  # C, H, W order


@torch.no_grad()
def _initialise(module: nn.Module) -> None:
    # As published: deviation 0.1 for all convolutions.
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0, 0.1)
