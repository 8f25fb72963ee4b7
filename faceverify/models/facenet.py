"""FaceNet: Inception-ResNet V1 in the layout of the weights published with facenet-pytorch (VGGFace2, CASIA-WebFace).

Source: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning", 2016;
Schroff et al., "FaceNet", CVPR 2015; github.com/timesler/facenet-pytorch, `inception_resnet_v1.py`.
Keys, order and shapes are those of the published state dict, less its classifier (`logits`). The published network
gives unit vectors; this one leaves the embedding as it is before, so that its length can be looked at.
"""

import torch
from torch import Tensor, nn

EPS = 1e-3
Side = int | tuple[int, int]


class Conv(nn.Module):
    """A convolution, BN and ReLU."""

    def __init__(self, width_in: int, width: int, kernel: Side, stride: int = 1, padding: Side = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width_in, width, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(width, EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, width_in, H, W] to [B, width, H', W']."""
        return torch.relu(self.bn(self.conv(x)))


class Residual(nn.Module):
    """x + scale * conv(branches of x side by side), then ReLU unless it is the last one.

    Args:
        width: channels of x.
        branches: of each its convolutions, as (channels, kernel, padding).
        scale: of what is added.
        last: whether no ReLU follows.
    """

    def __init__(
        self, width: int, branches: tuple[tuple[tuple[int, Side, Side], ...], ...], scale: float, last: bool = False
    ) -> None:
        super().__init__()
        self._scale, self._last, self._count = scale, last, len(branches)
        for number, steps in enumerate(branches):
            widths = (width, *(out for out, _, _ in steps))
            convs = [
                Conv(width_in, out, kernel, 1, padding)
                for width_in, (out, kernel, padding) in zip(widths, steps, strict=False)
            ]
            self.add_module(f"branch{number}", convs[0] if len(convs) == 1 else nn.Sequential(*convs))
        self.conv2d = nn.Conv2d(sum(steps[-1][0] for steps in branches), width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, width, H, W] to the same shape."""
        beside = torch.cat([self.get_submodule(f"branch{number}")(x) for number in range(self._count)], 1)
        out = self.conv2d(beside) * self._scale + x
        return out if self._last else torch.relu(out)


class Reduction(nn.Module):
    """Branches of stride 2 side by side, the last of them a pooling.

    Args:
        branches: their convolutions.
    """

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self._count = len(branches) + 1
        for number, branch in enumerate((*branches, nn.MaxPool2d(3, 2))):
            self.add_module(f"branch{number}", branch)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, C', (H - 1) // 2, (W - 1) // 2]."""
        return torch.cat([self.get_submodule(f"branch{number}")(x) for number in range(self._count)], 1)


def _block35() -> Residual:
    return Residual(256, (((32, 1, 0),), ((32, 1, 0), (32, 3, 1)), ((32, 1, 0), (32, 3, 1), (32, 3, 1))), scale=0.17)


def _block17() -> Residual:
    return Residual(896, (((128, 1, 0),), ((128, 1, 0), (128, (1, 7), (0, 3)), (128, (7, 1), (3, 0)))), scale=0.1)


def _block8(scale: float = 0.2, last: bool = False) -> Residual:
    branches = (((192, 1, 0),), ((192, 1, 0), (192, (1, 3), (0, 1)), (192, (3, 1), (1, 0))))
    return Residual(1792, branches, scale, last)


class FaceNet(nn.Module):
    """The network.

    Args:
        dim: length of the embedding.
    """

    def __init__(self, dim: int = 512) -> None:
        super().__init__()
        self.conv2d_1a = Conv(3, 32, 3, 2)
        self.conv2d_2a = Conv(32, 32, 3)
        self.conv2d_2b = Conv(32, 64, 3, padding=1)
        self.maxpool_3a = nn.MaxPool2d(3, 2)
        self.conv2d_3b = Conv(64, 80, 1)
        self.conv2d_4a = Conv(80, 192, 3)
        self.conv2d_4b = Conv(192, 256, 3, 2)
        self.repeat_1 = nn.Sequential(*(_block35() for _ in range(5)))
        self.mixed_6a = Reduction(
            Conv(256, 384, 3, 2), nn.Sequential(Conv(256, 192, 1), Conv(192, 192, 3, padding=1), Conv(192, 256, 3, 2))
        )
        self.repeat_2 = nn.Sequential(*(_block17() for _ in range(10)))
        self.mixed_7a = Reduction(
            nn.Sequential(Conv(896, 256, 1), Conv(256, 384, 3, 2)),
            nn.Sequential(Conv(896, 256, 1), Conv(256, 256, 3, 2)),
            nn.Sequential(Conv(896, 256, 1), Conv(256, 256, 3, padding=1), Conv(256, 256, 3, 2)),
        )
        self.repeat_3 = nn.Sequential(*(_block8() for _ in range(5)))
        self.block8 = _block8(scale=1.0, last=True)
        self.dropout = nn.Dropout(0.6)
        self.last_linear = nn.Linear(1792, dim, bias=False)
        self.last_bn = nn.BatchNorm1d(dim, EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Embed normalised faces [B, 3, 160, 160] (scale of the model card) as [B, dim], not normalised."""
        x = self.maxpool_3a(self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x))))
        x = self.repeat_1(self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(x))))
        x = self.repeat_3(self.mixed_7a(self.repeat_2(self.mixed_6a(x))))
        return self.last_bn(self.last_linear(self.dropout(self.block8(x).mean((2, 3)))))
