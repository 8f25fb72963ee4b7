"""The PyTorch networks that a model card can name, and what tells them apart in a file."""

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import nn

from faceverify.errors import UserError
from faceverify.models.arcface import ARCFACES, ArcFace
from faceverify.models.facenet import FaceNet
from faceverify.models.ghostfacenet import GHOSTFACENETS, GhostFaceNet
from faceverify.models.iresnet import LAYOUTS, iresnet
from faceverify.models.mobilefacenet import MobileFaceNet

_BRANCHED = (*LAYOUTS, "mobilefacenet")
# Endings of the names of architectures that have the branch of models/attention.py, of models/detail.py, in this order.
WITH_ATTENTION, WITH_DETAIL = "_attention", "_detail"
_FACENETS = ("facenet",)
ARCHITECTURES = (
    *(
        f"{name}{attention}{detail}"
        for detail in ("", WITH_DETAIL)
        for attention in ("", WITH_ATTENTION)
        for name in _BRANCHED
    ),
    *ARCFACES,
    *_FACENETS,
    *GHOSTFACENETS,
)
# What the last tensor of a network is called, which has the length of the embedding -> the networks.
LASTS = {
    "output_layer.3.bias": tuple(name for name in ARCHITECTURES if name.startswith(tuple(LAYOUTS))),
    "conv3.bias": tuple(name for name in ARCHITECTURES if name.startswith("mobilefacenet")),
    "features.bias": ARCFACES,
    "last_bn.bias": _FACENETS,
    "embedding.bias": tuple(GHOSTFACENETS),
}


def build(architecture: str, dim: int) -> nn.Module:
    """Build a freshly initialised network by the name a model card gives it.

    Raises:
        UserError: if the name is unknown.
    """
    if architecture not in ARCHITECTURES:
        raise UserError(f"There is no architecture '{architecture}'; take one of {', '.join(ARCHITECTURES)}.")
    if architecture in ARCFACES:
        return ArcFace(architecture, dim)
    if architecture in _FACENETS:
        return FaceNet(dim)
    if architecture in GHOSTFACENETS:
        return GhostFaceNet(architecture, dim)
    rest = architecture.removesuffix(WITH_DETAIL)
    plain = rest.removesuffix(WITH_ATTENTION)
    attention, detail = plain != rest, rest != architecture
    if plain == "mobilefacenet":
        return MobileFaceNet(dim, attention, detail)
    return iresnet(plain, dim, attention, detail)


@lru_cache(256)
def shapes_of(architecture: str, dim: int) -> Mapping[str, tuple[int, ...]]:
    """Names and shapes of a network's tensors, in their order.

    Raises:
        UserError: if the name is unknown.
    """
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in build(architecture, dim).state_dict().items()}


def input_size(architecture: str) -> tuple[int, int]:
    """Height and width of the pictures that a network was made for; its last layers take no others."""
    return (160, 160) if architecture in _FACENETS else (112, 112)
