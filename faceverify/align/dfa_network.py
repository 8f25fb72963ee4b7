"""The network of DFA, the differentiable face aligner of CVLface (Kim et al., KP-RPE, CVPR 2024, supplement).

It is RetinaFace with priors of its own and an *aggregator* behind it: three blocks of MLP-Mixer (Tolstikhin et al.,
NeurIPS 2021) weigh the priors, and the weighted mean of what the priors say is the one face of the picture.

Shape letters: B pictures, P = 1050 priors, C = 16 values that a prior says: box 4, class logits 2, landmarks 10.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from faceverify.align.retinaface_network import Architecture, RetinaFaceNetwork
from faceverify.align.retinaface_priors import Sizes, decode_boxes, decode_landmarks, priors

SIDE = 160  # pixels of the square input; the aggregator's weights fix it
MIN_SIZES: Sizes = ((64, 80), (96, 112), (128, 144))
_BOX, _LOGITS, _LANDMARKS = 4, 2, 10
_PER_PRIOR = _BOX + _LOGITS + _LANDMARKS
_BLOCKS = 3


class DfaFace(NamedTuple):
    """One face per picture, in shares of the input's side: box [B,4] x1 y1 x2 y2, logits [B,2], landmarks [B,5,2]."""

    box: Tensor
    logits: Tensor
    landmarks: Tensor

    @property
    def score(self) -> Tensor:
        """[B,1] in 0..1, low where there is no face."""
        return self.logits.softmax(dim=1)[:, 1:]


class Mlp(nn.Module):
    """Two dense layers with GELU between, over the last axis."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """[...,width] -> the same shape."""
        return self.fc2(gelu(self.fc1(x)))


class MixerBlock(nn.Module):
    """Mixes what the priors say among the priors, then among the values, as timm's block of that name does."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.mlp_tokens, self.mlp_channels = Mlp(tokens, width // 2), Mlp(width, 4 * width)

    def forward(self, x_BPC: Tensor) -> Tensor:
        """[B,P,C] -> the same shape."""
        x_BPC = x_BPC + self.mlp_tokens(self.norm1(x_BPC).transpose(1, 2)).transpose(1, 2)
        return x_BPC + self.mlp_channels(self.norm2(x_BPC))


class DfaNetwork(RetinaFaceNetwork):
    """BGR in [-1,1], [B,3,160,160], to one face, under the published names of the tensors.

    Calling it returns the outputs of the heads, as in RetinaFace; `face` also decodes and aggregates them.
    """

    priors: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.register_buffer("priors", priors(SIDE, SIDE, MIN_SIZES), persistent=False)
        blocks = (MixerBlock(len(self.priors), _PER_PRIOR) for _ in range(_BLOCKS))
        self.aggregator = nn.Sequential(*blocks, nn.Linear(_PER_PRIOR, 1))

    def face(self, x_B3HW: Tensor) -> DfaFace:
        """The one face of each picture."""
        return self.aggregated(self.per_prior(x_B3HW))

    def per_prior(self, x_B3HW: Tensor) -> Tensor:
        """[B,P,C]: the prediction of every prior: box, logits, landmarks; coordinates in shares of the side."""
        raw = self(x_B3HW)
        boxes, landmarks = decode_boxes(raw.boxes, self.priors), decode_landmarks(raw.landmarks, self.priors)
        return torch.cat([boxes, raw.logits, landmarks], dim=-1)

    def aggregated(self, per_prior_BPC: Tensor) -> DfaFace:
        """The mean of the predictions of all priors [B,P,C], weighted by the aggregator."""
        weights_BP1 = self.aggregator(per_prior_BPC).softmax(dim=1)
        box, logits, landmarks = (weights_BP1 * per_prior_BPC).sum(dim=1).split((_BOX, _LOGITS, _LANDMARKS), dim=1)
        return DfaFace(box, logits, landmarks.unflatten(1, (5, 2)))
