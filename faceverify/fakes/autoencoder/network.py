"""The networks: the person's face and the host's looks go in, a new face is drawn from narrow codes.

The person's face, already on the host's landmarks, becomes a code: each block of 8x8 pixels is told by a few numbers,
its principal components. Another encoder squeezes the host's face into 48 numbers, which tell light and expression and
are too few to tell who it is. A decoder draws the new face from both codes: a linear part, found by least squares, and
a deep part, learnt step by step, that corrects it. Decoders differ in how they enlarge, because that is what they leave
behind in a picture. All are convolutional: one set of weights works at every size.

Shape letters: B faces, S pixels a side (a multiple of 16).
"""

from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

Way = Literal["nearest", "transposed", "shuffle"]
DECODERS: tuple[Way, ...] = get_args(Way)
SIZES = (64, 96, 128)
FORMAT = 1  # of the file; a change of the networks is another one
BLOCK = 8  # pixels a side
CODE = 32  # numbers per block, of 192
WIDTH = 64  # channels of the deep part where it is widest
_HOST_SIDE = 32  # pixels of the host's face that are looked at
_HOST_NUMBERS = 48
_HOST_CHANNELS = 16
_SLOPE = 0.1  # of the leaky rectifier


class HostEncoder(nn.Module):
    """The host's face [B, 3, H, H] -> [B, 16, 4, 4], all of it told by 48 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = nn.Sequential(_half(3, 16), _half(16, 32), _half(32, 32))
        self.numbers = nn.Linear(16 * 32, _HOST_NUMBERS)
        self.spread = nn.Linear(_HOST_NUMBERS, _HOST_CHANNELS * 16)

    def forward(self, hosts: Tensor) -> Tensor:
        """The code of hosts' faces."""
        small = functional.interpolate(hosts, (_HOST_SIDE, _HOST_SIDE), mode="area")
        numbers = torch.tanh(self.numbers(self.looks(small).flatten(1)))
        return self.spread(numbers).view(-1, _HOST_CHANNELS, 4, 4)


class Decoder(nn.Module):
    """Features [B, WIDTH, S/8, S/8] -> a correction [B, 3, S, S], enlarged in its own way; none before training."""

    def __init__(self, way: Way) -> None:
        super().__init__()
        widths = [WIDTH, WIDTH // 2, WIDTH // 4, WIDTH // 8]
        self.up = nn.Sequential(*(_enlarge(a, b, way) for a, b in pairwise(widths)))
        self.end = nn.Conv2d(widths[-1], 3, 3, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """The correction."""
        return self.end(self.up(features))


class Autoencoders(nn.Module):
    """One encoder of persons, one of hosts, a decoder of each way."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, CODE, BLOCK, BLOCK)
        self.linear = nn.Conv2d(CODE, 3 * BLOCK**2, 3, 1, 1, padding_mode="replicate")
        self.host = HostEncoder()
        self.start = nn.Conv2d(CODE + _HOST_CHANNELS, WIDTH, 3, 1, 1)
        self.inner = nn.Conv2d(WIDTH, WIDTH, 3, 1, 1)
        self.decoders = nn.ModuleDict({way: Decoder(way) for way in DECODERS})
        for layer in self.modules():
            _start(layer)
        for way in DECODERS:
            nn.init.zeros_(self.get_parameter(f"decoders.{way}.end.weight"))

    def forward(self, faces: Tensor, hosts: Tensor, way: Way) -> Tensor:
        """New faces [B, 3, S, S], about 0..1, of persons' and hosts' faces [B, 3, S, S] in 0..1."""
        code, looks = self.encoder(faces - 0.5), self.host(hosts - 0.5)
        enlarge = _enlarging(looks.shape[-1], code.shape[-1]).to(looks)
        looks = torch.einsum("bcij,hi,wj->bchw", looks, enlarge, enlarge)
        x = functional.leaky_relu(self.start(torch.cat([code, looks], dim=1)), _SLOPE)
        x = functional.leaky_relu(x + self.inner(x), _SLOPE)
        return 0.5 + functional.pixel_shuffle(self.linear(code), BLOCK) + self.decoders[way](x)


def _enlarging(low: int, high: int) -> Tensor:
    """[high, low]: enlarges a row bilinearly, as a product, whose gradient is the same each time on GPUs too."""
    return functional.interpolate(torch.eye(low)[None], high, mode="linear")[0].T


def _half(inner: int, outer: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inner, outer, 4, 2, 1), nn.LeakyReLU(_SLOPE))


def _enlarge(inner: int, outer: int, way: Way) -> nn.Sequential:
    """Twice as wide and high."""
    match way:
        case "nearest":
            layers = [nn.Upsample(scale_factor=2), nn.Conv2d(inner, outer, 3, 1, 1)]
        case "transposed":
            layers = [nn.ConvTranspose2d(inner, outer, 4, 2, 1)]
        case "shuffle":
            layers = [nn.Conv2d(inner, 4 * outer, 3, 1, 1), nn.PixelShuffle(2)]
    return nn.Sequential(*layers, nn.LeakyReLU(_SLOPE))


def _start(layer: nn.Module) -> None:
    """Weights with which signals keep their strength (He et al., 2015)."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        assert layer.bias is not None
        # Each pixel of a transposed convolution gets 2x2 of its 4x4 weights.
        inputs = layer.in_channels * 4 if isinstance(layer, nn.ConvTranspose2d) else layer.weight[0].numel()
        nn.init.normal_(layer.weight, 0, (2 / (1 + _SLOPE**2) / inputs) ** 0.5)
        nn.init.zeros_(layer.bias)
