"""The network of RetinaFace (Deng et al., CVPR 2020) under the names of Pytorch_Retinaface's published tensors.

Two bodies, MobileNetV1 x 0.25 and ResNet-50, give maps at strides 8, 16 and 32; a feature pyramid and one context
module (SSH) per map follow, then three 1x1 heads. DFA (dfa_network.py) is the same with an aggregator behind it.

Shape letters: B photos, H x W pixels, P priors (see retinaface_priors.py).
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

Architecture = Literal["mobile0.25", "resnet50"]
ANCHORS = 2  # per cell of each map
_MAPS: dict[Architecture, tuple[int, int, int]] = {"mobile0.25": (64, 128, 256), "resnet50": (512, 1024, 2048)}
_WIDTH: dict[Architecture, int] = {"mobile0.25": 64, "resnet50": 256}


class Raw(NamedTuple):
    """What the heads give: box shifts [B,P,4], class logits [B,P,2] (no face, face), landmark shifts [B,P,10]."""

    boxes: Tensor
    logits: Tensor
    landmarks: Tensor


def _conv(inside: int, outside: int, kernel: int, stride: int = 1, slope: float | None = None) -> nn.Sequential:
    """Convolution and BN, then LeakyReLU unless `slope` is None (0 is ReLU)."""
    layers: list[nn.Module] = [nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False)]
    layers.append(nn.BatchNorm2d(outside))
    return nn.Sequential(*layers, *([] if slope is None else [nn.LeakyReLU(slope)]))


def _separable(inside: int, outside: int, stride: int, slope: float) -> nn.Sequential:
    """Depthwise 3x3, then 1x1, each with BN and LeakyReLU."""
    return nn.Sequential(
        nn.Conv2d(inside, inside, 3, stride, 1, groups=inside, bias=False),
        nn.BatchNorm2d(inside),
        nn.LeakyReLU(slope),
        nn.Conv2d(inside, outside, 1, bias=False),
        nn.BatchNorm2d(outside),
        nn.LeakyReLU(slope),
    )


class MobileBody(nn.Module):
    """MobileNetV1 with a quarter of its channels: maps of 64, 128 and 256 channels."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        widths = [(8, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)]
        self.stage1 = nn.Sequential(_conv(3, 8, 3, 2, slope), *(_separable(*width, slope) for width in widths))
        widths = [(64, 128, 2)] + [(128, 128, 1)] * 5
        self.stage2 = nn.Sequential(*(_separable(*width, slope) for width in widths))
        self.stage3 = nn.Sequential(_separable(128, 256, 2, slope), _separable(256, 256, 1, slope))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B,3,H,W] -> three maps."""
        first = self.stage1(x)
        second = self.stage2(first)
        return first, second, self.stage3(second)


class ResNetBottleneck(nn.Module):
    """Block of ResNet-50 (He et al., CVPR 2016), stride on its 3x3 convolution, as torchvision has it."""

    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inside, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inside != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(inside, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[B,inside,h,w] -> [B,4*width,h',w']."""
        y = relu(self.bn1(self.conv1(x)))
        y = relu(self.bn2(self.conv2(y)))
        return relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


class ResNetBody(nn.Module):
    """ResNet-50 without its classifier: maps of 512, 1024 and 2048 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2 = _blocks(64, 64, 3, 1), _blocks(256, 128, 4, 2)
        self.layer3, self.layer4 = _blocks(512, 256, 6, 2), _blocks(1024, 512, 3, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B,3,H,W] -> three maps."""
        first = self.layer2(self.layer1(self.maxpool(relu(self.bn1(self.conv1(x))))))
        second = self.layer3(first)
        return first, second, self.layer4(second)


def _blocks(inside: int, width: int, count: int, stride: int) -> nn.Sequential:
    later = [ResNetBottleneck(4 * width, width, 1) for _ in range(count - 1)]
    return nn.Sequential(ResNetBottleneck(inside, width, stride), *later)


class Pyramid(nn.Module):
    """Feature pyramid (Lin et al., CVPR 2017): each map is joined with the next coarser one."""

    def __init__(self, maps: tuple[int, int, int], width: int, slope: float) -> None:
        super().__init__()
        self.output1, self.output2, self.output3 = (_conv(channels, width, 1, 1, slope) for channels in maps)
        self.merge1, self.merge2 = _conv(width, width, 3, 1, slope), _conv(width, width, 3, 1, slope)

    def forward(self, first: Tensor, second: Tensor, third: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three maps -> three maps of `width` channels."""
        fine, middle, coarse = self.output1(first), self.output2(second), self.output3(third)
        middle = self.merge2(middle + interpolate(coarse, size=middle.shape[2:], mode="nearest"))
        fine = self.merge1(fine + interpolate(middle, size=fine.shape[2:], mode="nearest"))
        return fine, middle, coarse


class Context(nn.Module):
    """Context module of SSH (Najibi et al., ICCV 2017); the published spelling of `conv7x7_3` is kept."""

    def __init__(self, width: int, slope: float) -> None:
        super().__init__()
        self.conv3X3 = _conv(width, width // 2, 3)
        self.conv5X5_1, self.conv5X5_2 = _conv(width, width // 4, 3, 1, slope), _conv(width // 4, width // 4, 3)
        self.conv7X7_2, self.conv7x7_3 = _conv(width // 4, width // 4, 3, 1, slope), _conv(width // 4, width // 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B,width,h,w] -> the same shape."""
        wide = self.conv5X5_1(x)
        return relu(torch.cat([self.conv3X3(x), self.conv5X5_2(wide), self.conv7x7_3(self.conv7X7_2(wide))], dim=1))


class Head(nn.Module):
    """1x1 convolution; every cell gives its anchors' values one after the other."""

    def __init__(self, width: int, values: int) -> None:
        super().__init__()
        self.values = values
        self.conv1x1 = nn.Conv2d(width, ANCHORS * values, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B,width,h,w] -> [B,h*w*2,values]."""
        return self.conv1x1(x).permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, self.values))


class RetinaFaceNetwork(nn.Module):
    """[B,3,H,W] -> Raw; BGR, scaled as the method's card says.

    Args:
        architecture: which body.
        slope: of the LeakyReLU in body, pyramid and context of mobile0.25 (0.1, or 0 = ReLU in the 1MB repository's);
            resnet50 has ReLU everywhere.
    """

    def __init__(self, architecture: Architecture, slope: float = 0.1) -> None:
        super().__init__()
        width, slope = _WIDTH[architecture], slope if architecture == "mobile0.25" else 0.0
        self.body = MobileBody(slope) if architecture == "mobile0.25" else ResNetBody()
        self.fpn = Pyramid(_MAPS[architecture], width, slope)
        self.ssh1, self.ssh2, self.ssh3 = (Context(width, slope) for _ in range(3))
        self.ClassHead = nn.ModuleList(Head(width, 2) for _ in range(3))
        self.BboxHead = nn.ModuleList(Head(width, 4) for _ in range(3))
        self.LandmarkHead = nn.ModuleList(Head(width, 10) for _ in range(3))

    def forward(self, x_B3HW: Tensor) -> Raw:
        """The heads' outputs for all priors."""
        fine, middle, coarse = self.fpn(*self.body(x_B3HW))
        maps = self.ssh1(fine), self.ssh2(middle), self.ssh3(coarse)
        heads = self.BboxHead, self.ClassHead, self.LandmarkHead
        return Raw(*(torch.cat([one(x) for one, x in zip(head, maps, strict=True)], dim=1) for head in heads))


def architecture_of(tensors: Mapping[str, Tensor]) -> Architecture:
    """Which body the tensors belong to.

    Raises:
        ValueError: neither.
    """
    if "body.stage1.0.0.weight" in tensors:
        return "mobile0.25"
    if "body.layer1.0.conv1.weight" in tensors:
        return "resnet50"
    raise ValueError("it has neither body.stage1 nor body.layer1")
