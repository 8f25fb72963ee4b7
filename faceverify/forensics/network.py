"""The forensic network: a crop of a face in 256 pixels and its scale in, how manipulated the photo looks out.

A face that was pasted or drawn by a network is smoother, sharper or otherwise lit than the photo around it. Three
inputs show that. Fixed filters (a discrete cosine transform at every second pixel), their energies over 4x4 pixels as
logarithms, less the mean of the photo, so that a photo which is sharp or blurred as a whole says nothing: residuals of
fixed filters are what steganalysis rests on (Fridrich & Kodovsky, "Rich Models for Steganalysis of Digital Images",
2012). A few learned filters on the pixels themselves. And the scale, for what is fine in a large face is not there in a
small one.

The network answers for each of 16x16 fields whether it is manipulated, and from the most suspicious fields and the
features of all for the photo.
"""

import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, relu

SIDE = 256
"""Pixels a side of the crop."""
FIELDS = 16
"""Fields a side that are answered for."""
TOP = 24  # most suspicious fields that decide for the photo
WIDTHS = 64, 96
_STEM = 16, 24
_POOL = 4  # pixels, of the fields that energies are taken over
_UNIT = 16.0  # levels of 255: with this scale energies fit float16
_FLOOR = 0.5 / _UNIT**2  # energy of rounding, about
_LUMA = ((0.299, 0.587, 0.114), (-0.169, -0.331, 0.5), (0.5, -0.419, -0.081))  # Y, Cb, Cr from RGB
_LEVELS = 127.5  # of 255 per unit of the network's input


def cosines(size: int) -> Tensor:
    """The filters of a discrete cosine transform but the constant one: [size**2 - 1, 1, size, size], each of norm 1."""
    at = torch.arange(size, dtype=torch.float64)
    waves = torch.cos(math.pi * at[:, None] * (at + 0.5) / size)
    waves /= waves.norm(dim=1, keepdim=True)
    return torch.einsum("iy,jx->ijyx", waves, waves).reshape(-1, 1, size, size)[1:].float()


class Energies(nn.Module):
    """Maps [B, 50, H/4, W/4] of photos [B, 3, H, W] RGB in -1..1, each less its mean over the photo: log energies of 24
    patterns of brightness and of 8 of each colour difference; the mean and log power of the three; brightness in 2x2
    fields."""

    luma: Tensor
    fine: Tensor
    coarse: Tensor
    WIDTH = 24 + 2 * 8 + 2 * 3 + 4

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("luma", (torch.tensor(_LUMA) * _LEVELS / _UNIT)[..., None, None])
        self.register_buffer("fine", cosines(5))
        self.register_buffer("coarse", cosines(3))

    def forward(self, x: Tensor) -> Tensor:
        """The maps, in float32: bfloat16 has not the precision that fine patterns need."""
        device = x.device.type
        mixed = torch.amp.is_autocast_available(device)  # not on the meta device, where only shapes are computed
        with torch.autocast(device, enabled=False) if mixed else nullcontext():
            luma = conv2d(x.to(self.luma.dtype).contiguous(), self.luma)
            found = [
                (avg_pool2d(_every_second(luma[:, i : i + 1], filters).square(), _POOL // 2) + _FLOOR).log() / 2
                for i, filters in enumerate((self.fine, self.coarse, self.coarse))
            ]
            found += [avg_pool2d(luma, _POOL), (avg_pool2d(luma.square(), _POOL) + 2 * _FLOOR).log()]
            halves = avg_pool2d(luma[:, :1], _POOL // 2)
            # Not pixel_unshuffle: PyTorch 2.13 does not shrink an empty batch.
            found += [halves[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
            maps = torch.cat(found, 1)
            return maps - maps.mean((2, 3), keepdim=True)


def _every_second(x: Tensor, filters: Tensor) -> Tensor:
    """Filters [K, 1, S, S] at every second pixel [B, K, H/2, W/2] of pictures [B, 1, H, W]; S is odd."""
    return conv2d(x, filters, stride=2, padding=filters.shape[-1] // 2)


class ForensicNetwork(nn.Module):
    """The network.

    Args:
        dct: with the fixed filters; without them the learned ones are alone.
    """

    def __init__(self, dct: bool = True) -> None:
        super().__init__()
        narrow, wide = WIDTHS
        first, second = _STEM
        self.energies = Energies() if dct else None
        self.stem = nn.Sequential(_conv(3, first, stride=2), _conv(first, second, stride=2))
        maps = second + (Energies.WIDTH if dct else 0)
        self.body = nn.Sequential(
            _conv(maps, narrow, stride=2),
            Residual(narrow),
            Residual(narrow),
            _conv(narrow, wide, stride=2),
            Residual(wide),
        )
        self.fields = nn.Conv2d(wide, 1, 1)
        self.drop = nn.Dropout(0.2)
        self.score = nn.Linear(2 * wide + 2, 1)

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        """Scores [B, 1], log-odds of being manipulated, of crops [B, 3, 256, 256] RGB in -1..1 that were enlarged
        2**scale times, scale [B, 1]."""
        return self.judge(x, scale)[0]

    def judge(self, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [B, 1], and log-odds [B, 16, 16] of each field."""
        maps = [self.stem(x)]
        if self.energies is not None:
            maps.append(self.energies(x))
        return self.answer(torch.cat(maps, 1).contiguous(memory_format=torch.channels_last), scale)

    def answer(self, maps: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """As `judge`, from the maps [B, C, 64, 64] of the learned and the fixed filters."""
        found = self.body(maps)
        fields = self.fields(found).flatten(1)
        suspicious = fields.topk(TOP, 1).values.mean(1, keepdim=True)
        pooled = torch.cat([found.mean((2, 3)), found.amax((2, 3)), suspicious, scale], 1)
        return self.score(self.drop(pooled)), fields.view(-1, FIELDS, FIELDS)


class Residual(nn.Module):
    """Two convolutions beside the identity, which it begins as."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width)
        norm = nn.BatchNorm2d(width)
        nn.init.zeros_(norm.weight)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, width, H, W] to the same shape."""
        return relu(x + self.second(self.first(x)))


def _conv(width_in: int, width_out: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(width_in, width_out, 3, stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width_out), nn.ReLU())
