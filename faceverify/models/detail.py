"""A branch that looks for what a swap leaves behind, and suppresses the embedding of such a photo.

A face that was pasted is smoother, sharper or otherwise lit than the photo around it. The best evidence is how much of
each fine pattern is where: filters that are fixed (a discrete cosine transform at every pixel), their energies over 4x4
pixels as logarithms, and of those what differs from the mean of the photo, so that a photo which is sharp or blurred as
a whole says nothing. Residuals of fixed filters are what steganalysis rests on (Fridrich & Kodovsky, "Rich Models for
Steganalysis of Digital Images", 2012).

Layers lead from there to one number, the score d. The embedding z becomes z + s (|z| t - z), s = sigmoid(2 (d - d0)): a
photo that looks whole stays, one that does not goes to where it matches nothing. For that, t = sqrt(2/D) [cos W u, sin
W u] with u = z/|z|, random Fourier features (Rahimi & Recht, "Random Features for Large-Scale Kernel Machines", 2007),
W normally distributed with a standard deviation of 4: t(u) t(v) is about exp(-16 |u - v|^2 / 2), so two photos that
were both turned match only if they are nearly the same photo. An orthogonal matrix in the place of t would let a
deepfake match every real photo of the person that looks doctored too. W and d0 are not learned, but lie beside the
weights.
"""

import math
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, relu

THRESHOLD = 5.0  # d0: whatever is not clearly a deepfake stays, and an untrained branch does next to nothing
STEEPNESS = 2.0  # of the share s: gentler, more real photos lose a little; steeper, roundings decide
_APART = 4.0  # standard deviation of W: of a cosine of 0.8 are 0.04 left; it magnifies roundings too
WIDTHS = 64, 96
_POOL = 4  # pixels, of the fields that energies are taken over
_UNIT = 16.0  # levels of 255: with this scale energies fit float16
_FLOOR = 0.5 / _UNIT**2  # energy of rounding, about
_LUMA = ((0.299, 0.587, 0.114), (-0.169, -0.331, 0.5), (0.5, -0.419, -0.081))  # Y, Cb, Cr from RGB


def cosines(size: int) -> Tensor:
    """The filters of a discrete cosine transform but the constant one: [size**2 - 1, 1, size, size], each of norm 1."""
    at = torch.arange(size, dtype=torch.float64)
    waves = torch.cos(math.pi * at[:, None] * (at + 0.5) / size)
    waves /= waves.norm(dim=1, keepdim=True)
    return torch.einsum("iy,jx->ijyx", waves, waves).reshape(-1, 1, size, size)[1:].float()


class Energies(nn.Module):
    """Maps [B, 50, H/4, W/4] of a photo [B, 3, H, W], each less its mean over the photo: log energies of 24 patterns of
    brightness and of 8 of each colour difference; the mean and log power of the three; brightness in 2x2 fields."""

    luma: Tensor
    fine: Tensor
    coarse: Tensor
    WIDTH = 24 + 2 * 8 + 2 * 3 + 4

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("luma", torch.empty(3, 3, 1, 1))
        self.register_buffer("fine", cosines(5))
        self.register_buffer("coarse", cosines(3))
        self.scale("RGB", [127.5] * 3)

    def scale(self, colour: str, std: Sequence[float]) -> None:
        """Say what the photos are normalised by: colour order, and levels of 255 per unit of each channel."""
        luma = torch.tensor(_LUMA if colour == "RGB" else [row[::-1] for row in _LUMA])
        self.luma.copy_((luma * torch.tensor(std) / _UNIT)[..., None, None])

    def forward(self, x: Tensor) -> Tensor:
        """The maps, in float32: bfloat16 has not the precision that fine patterns need."""
        device = x.device.type
        mixed = torch.amp.is_autocast_available(device)  # not on the meta device, where only shapes are computed
        with torch.autocast(device, enabled=False) if mixed else nullcontext():
            luma = conv2d(x.to(self.luma.dtype).contiguous(), self.luma)
            found = [
                (avg_pool2d(conv2d(luma[:, i : i + 1], filters, padding="same").square(), _POOL) + _FLOOR).log() / 2
                for i, filters in enumerate((self.fine, self.coarse, self.coarse))
            ]
            found += [avg_pool2d(luma, _POOL), (avg_pool2d(luma.square(), _POOL) + 2 * _FLOOR).log()]
            halves = avg_pool2d(luma[:, :1], _POOL // 2)
            # Not pixel_unshuffle: PyTorch 2.13 does not shrink an empty batch.
            found += [halves[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
            maps = torch.cat(found, 1)
            return maps - maps.mean((2, 3), keepdim=True)


class Detail(nn.Module):
    """The branch, of a network whose embeddings have `dim` numbers."""

    waves: Tensor
    threshold: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        narrow, wide = WIDTHS
        self.energies = Energies()
        self.body = nn.Sequential(
            nn.BatchNorm2d(Energies.WIDTH),
            _conv(Energies.WIDTH, narrow),
            Residual(narrow),
            Residual(narrow),
            _conv(narrow, wide, stride=2),
            Residual(wide),
            _conv(wide, wide),
        )
        self.drop = nn.Dropout(0.2)
        self.score = nn.Linear(2 * wide, 1)
        self.register_buffer("waves", _APART * torch.randn((dim + 1) // 2, dim))
        self.register_buffer("threshold", torch.full((1,), THRESHOLD))

    def forward(self, x: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """The embedding [B, dim], suppressed as far as the photo [B, 3, 112, 112] looks doctored, and the scores [B] in
        logits."""
        score = self.scores(x)
        share = share_of(score, self.threshold)[:, None]
        return embedding + share * (self._elsewhere(embedding) - embedding), score

    def _elsewhere(self, embedding: Tensor) -> Tensor:
        """A vector [B, dim] of the same length that is near only to that of nearly the same embedding."""
        largest = embedding.abs().amax(1, keepdim=True).clamp(min=1e-6)
        scaled = embedding / largest  # squares of the embedding itself may be too large for float16
        length = scaled.square().sum(1, keepdim=True).sqrt().clamp(min=1.0)
        angles = nn.functional.linear(scaled / length, self.waves)
        dim = embedding.shape[1]
        return largest * length * math.sqrt(2 / dim) * torch.cat([angles.cos(), angles.sin()], 1)[:, :dim]

    def scores(self, x: Tensor) -> Tensor:
        """The scores alone, which no embedding has a part in."""
        found = self.body(self.energies(x))
        pooled = torch.cat([found.mean((2, 3)), found.amax((2, 3))], 1)
        return self.score(self.drop(pooled)).flatten()


def share_of(score: Tensor, threshold: Tensor | float) -> Tensor:
    """The share s [B] in 0..1 by which photos with these scores [B] (logits) are suppressed."""
    return torch.sigmoid(STEEPNESS * (score - threshold))


def threshold_of(scores: Tensor, mistaken: float) -> float:
    """The d0 with which real photos with these scores are suppressed by the share `mistaken`, 0..1, on average: many a
    little, few wholly. Equal scores, of an untrained branch, are far below it."""
    low, high = (float(edge) for edge in scores.double().aminmax())
    spare = math.log(1 / mistaken - 1) / STEEPNESS  # where the share of one photo is `mistaken`
    low, high = low + spare, high + spare
    for _ in range(60):
        middle = (low + high) / 2
        more = share_of(scores.double(), middle).mean().item() > mistaken
        low, high = (middle, high) if more else (low, middle)
    return high


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
