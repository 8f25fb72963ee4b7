"""MobileFaceNet in the layout of the weights published at foamliu/MobileFaceNet (128 numbers, 1 M parameters).

Source: Chen et al., "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices", 2018.
The key names and their order are those of the published state dict.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from faceverify.models.attention import Attention
from faceverify.models.detail import Detail

# Expansion, output channels, repeats, stride of the first repeat.
STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


class StridedDepthwise(nn.Conv2d):
    """In float32 on CPUs also inside autocast: there PyTorch 2.13 is several times slower at its bfloat16 gradient
    (benchmarks/results/2026-11-28_strided_depthwise.md)."""

    def forward(self, input: Tensor) -> Tensor:
        """The convolution, in the type of `input`."""
        if not torch.is_autocast_enabled("cpu") or input.device.type != "cpu":
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float()).to(input.dtype)


def _conv_bn_relu6(width_in: int, width_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    kind = StridedDepthwise if groups > 1 and stride > 1 else nn.Conv2d
    conv = kind(width_in, width_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width_out), nn.ReLU6())


class Depthwise(nn.Module):
    """The second layer: a depthwise and a pointwise convolution, each with BN and plain ReLU (not ReLU6)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.pointwise = nn.Conv2d(width, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, width, H, W] to the same shape."""
        x = self.relu(self.bn1(self.depthwise(x)))
        return self.relu(self.bn2(self.pointwise(x)))


class Bottleneck(nn.Module):
    """An inverted residual; the identity is added where the shape is kept, without an activation after it."""

    def __init__(self, width_in: int, width_out: int, expansion: int, stride: int) -> None:
        super().__init__()
        wide = width_in * expansion
        self.keeps_shape = stride == 1 and width_in == width_out
        self.conv = nn.Sequential(
            _conv_bn_relu6(width_in, wide, 1),
            _conv_bn_relu6(wide, wide, 3, stride, groups=wide),
            nn.Conv2d(wide, width_out, 1, bias=False),
            nn.BatchNorm2d(width_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, width_in, H, W] to [B, width_out, H/stride, W/stride]."""
        return x + self.conv(x) if self.keeps_shape else self.conv(x)


class GlobalDepthwise(nn.Module):
    """One learned 7x7 weighting per channel in place of average pooling."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, groups=width, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, width, 7, 7] to [B, width, 1, 1]."""
        return self.bn(self.depthwise(x))


class MobileFaceNet(nn.Module):
    """The network of foamliu/MobileFaceNet."""

    def __init__(self, dim: int = 128, attention: bool = False, detail: bool = False) -> None:
        super().__init__()
        self.conv1 = _conv_bn_relu6(3, 64, 3, stride=2)
        self.dw_conv = Depthwise(64)
        self.conv2 = _conv_bn_relu6(128, 512, 1)
        self.gdconv = GlobalDepthwise(512)
        self.conv3 = nn.Conv2d(512, dim, 1)
        self.bn = nn.BatchNorm2d(dim)
        self.features = nn.Sequential(*_bottlenecks())
        self.attention: nn.Module = Attention(128) if attention else nn.Identity()  # the latter has no keys
        self.detail = Detail(dim) if detail else None

    def forward(self, x: Tensor, scores: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Embed normalised faces [B, 3, 112, 112] (scale of the model card) as [B, dim], not normalised; with `scores`
        also the [B] of the branch `detail`, which must be there."""
        last = self.attention(self.features(self.dw_conv(self.conv1(x))))
        embedding = self.bn(self.conv3(self.gdconv(self.conv2(last)))).flatten(1)
        if self.detail is None:
            return embedding
        turned, found = self.detail(x, embedding)
        return (turned, found) if scores else turned


def _bottlenecks() -> list[Bottleneck]:
    plan = [
        (expansion, width, stride if i == 0 else 1)
        for expansion, width, repeats, stride in STAGES
        for i in range(repeats)
    ]
    steps = pairwise([(1, 64, 1), *plan])
    return [Bottleneck(before[1], width, expansion, stride) for before, (expansion, width, stride) in steps]
