"""Improved ResNets in the layouts of AdaFace (IR-18, 34, 50, 101, SE-50) and of InsightFace_Pytorch; and a tiny one.

Source: Kim et al., "AdaFace: Quality Adaptive Margin for Face Recognition", CVPR 2022, and its released `net.py`;
github.com/TreB1eN/InsightFace_Pytorch, `model.py`. The state-dict keys, their order and their shapes are those of the
releases, so their weights load strictly.
What differs from the arcface_torch network of the same name (`faceverify.models.arcface`): the shortcut of the first
stage is a pooling without parameters, and AdaFace's last BatchNorm has no weight and no bias.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from faceverify.errors import UserError
from faceverify.models.attention import Attention
from faceverify.models.detail import Detail


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Widths and depths of a network: channels and number of units of each of the four stages; and what units hold."""

    channels: tuple[int, int, int, int] = (64, 128, 256, 512)
    units: tuple[int, int, int, int]
    squeeze: bool = False
    """Whether each unit ends in a squeeze and excitation."""
    treb1en: bool = False
    """As in InsightFace_Pytorch: no BN before the PReLU of a unit, and a last BN with weight and bias."""


LAYOUTS = {
    "ir_18": Layout(units=(2, 2, 2, 2)),
    "ir_34": Layout(units=(3, 4, 6, 3)),
    "ir_50": Layout(units=(3, 4, 14, 3)),
    "ir_101": Layout(units=(3, 13, 30, 3)),
    "tiny": Layout(channels=(8, 16, 32, 64), units=(1, 1, 1, 1)),  # for demonstrations and tests, not published
    "ir_se_50": Layout(units=(3, 4, 14, 3), squeeze=True),
    "treb1en_ir_50": Layout(units=(3, 4, 14, 3), treb1en=True),
    "treb1en_ir_se_50": Layout(units=(3, 4, 14, 3), squeeze=True, treb1en=True),
}


class Squeeze(nn.Module):
    """Squeeze and excitation: each channel times a share of 0 to 1 that all channels' means decide.

    Source: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018.
    """

    def __init__(self, width: int, reduction: int = 16) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(width, width // reduction, 1, bias=False)
        self.fc2 = nn.Conv2d(width // reduction, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, width, H, W] to the same shape."""
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class Unit(nn.Module):
    """A residual unit: BN, conv, BN, PReLU, strided conv, BN, plus the shortcut; no activation after the sum."""

    def __init__(self, width_in: int, width_out: int, stride: int, layout: Layout) -> None:
        super().__init__()
        # As published a pooling of one pixel, which takes every stride-th pixel; it has no keys in the state dict. Of
        # stride 1 it would only copy, for a sixth of the time of an embedding on a GPU.
        self.shortcut_layer: nn.Module = nn.Identity() if stride == 1 else nn.MaxPool2d(1, stride)
        if width_in != width_out:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(width_in, width_out, 1, stride, bias=False), nn.BatchNorm2d(width_out)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(width_in),
            nn.Conv2d(width_in, width_out, 3, padding=1, bias=False),
            *([] if layout.treb1en else [nn.BatchNorm2d(width_out)]),
            nn.PReLU(width_out),
            nn.Conv2d(width_out, width_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width_out),
        )
        if layout.squeeze:
            self.res_layer.add_module("5" if layout.treb1en else "se_block", Squeeze(width_out))  # as published

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, width_in, H, W] to [B, width_out, H/stride, W/stride]."""
        return self.res_layer(x) + self.shortcut_layer(x)


class IResNet(nn.Module):
    """The network. Use `iresnet` to build one by name."""

    def __init__(self, layout: Layout, dim: int = 512, attention: bool = False, detail: bool = False) -> None:
        super().__init__()
        first, last = layout.channels[0], layout.channels[-1]
        self._units = layout.units
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, first, 3, padding=1, bias=False), nn.BatchNorm2d(first), nn.PReLU(first)
        )
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(last),
            nn.Dropout(0.4),
            nn.Flatten(),  # C, H, W order
            nn.Linear(last * 7 * 7, dim),
            nn.BatchNorm1d(dim, affine=layout.treb1en),
        )
        self.body = nn.Sequential(*_units(layout))
        self.attention: nn.Module = Attention(last) if attention else nn.Identity()  # the latter has no keys
        self.apply(_initialise)
        self.detail = Detail(dim) if detail else None

    def forward(self, x: Tensor, scores: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Embed normalised faces.

        Args:
            x: [B, 3, 112, 112], colour order and scale of the model card.
            scores: whether to return those of the branch `detail` too, which must be there.

        Returns:
            [B, dim], not normalised; its length is the feature norm that AdaFace reads quality from. With it, if asked
            for, [B] logits: how much each face looks like a deepfake.
        """
        embedding = self.output_layer(self.attention(self.body(self.input_layer(x))))
        if self.detail is None:
            return embedding
        turned, found = self.detail(x, embedding)
        return (turned, found) if scores else turned

    def body_stages(self) -> list[list[nn.Module]]:
        """The units of the body, stage by stage."""
        units, found = iter(self.body), []
        for count in self._units:
            found.append([next(units) for _ in range(count)])
        return found


def iresnet(name: str, dim: int = 512, attention: bool = False, detail: bool = False) -> IResNet:
    """Build a freshly initialised network.

    Args:
        name: a key of `LAYOUTS`.
        dim: length of the embedding.
        attention: with the branch of `faceverify.models.attention` before the output layer.
        detail: with the branch of `faceverify.models.detail` beside the network.

    Raises:
        UserError: if there is no network of that name.
    """
    if name not in LAYOUTS:
        raise UserError(f"There is no network '{name}'; take one of {', '.join(LAYOUTS)}.")
    return IResNet(LAYOUTS[name], dim, attention, detail)


def _units(layout: Layout) -> list[Unit]:
    """All stages in one flat list, as the published keys `body.N` number them; a stage begins with stride 2."""
    units: list[Unit] = []
    width = layout.channels[0]
    for channels, count in zip(layout.channels, layout.units, strict=True):
        units += [Unit(width if i == 0 else channels, channels, 2 if i == 0 else 1, layout) for i in range(count)]
        width = channels
    return units


@torch.no_grad()
def _initialise(module: nn.Module) -> None:
    # As published: Kaiming normal over fan-out for convolutions and the linear layer. BatchNorm is born 1 and 0.
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
