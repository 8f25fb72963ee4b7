"""A DFA that works, made of a published RetinaFace: the start of a training of one's own, and a stand-in in tests.

DFA shares body, pyramid, context and heads with RetinaFace; what differs can be calculated. Its input is in [-1,1] and
not minus a mean, which goes into the first convolution and BN; its priors have other sizes, which goes into the heads.
The result says of every prior what RetinaFace says, but within some pixels of the picture's border, where the
convolutions now see grey 127.5 in place of the mean. The aggregator starts as the plain rule to trust a prior the more
the surer it is of a face.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from faceverify.align.cards import card
from faceverify.align.dfa_network import MIN_SIZES, DfaNetwork
from faceverify.align.retinaface import Kind
from faceverify.align.retinaface_network import ANCHORS, architecture_of
from faceverify.align.retinaface_priors import SIZE_VARIANCE

_SHARPNESS = 2.0  # of the softmax over priors: on LFW 1 lets priors beside the face weigh in, from 2 on nothing changes
# First convolution and the BN behind it.
_FIRST = {"mobile0.25": ("body.stage1.0.0", "body.stage1.0.1"), "resnet50": ("body.conv1", "body.bn1")}


def start_network(tensors: Mapping[str, Tensor], kind: Kind) -> DfaNetwork:
    """A DFA, in evaluation mode, from the tensors of a RetinaFace.

    torch's seed decides the first layers of the mixers, which change nothing until they are trained.

    Raises:
        ValueError: they are of neither body, or `kind` has another slope than DFA.
    """
    architecture = architecture_of(tensors)
    if architecture == "mobile0.25" and kind.slope != 0.1:
        raise ValueError(f"a network with slope {kind.slope} cannot become a DFA, whose slope is 0.1")
    network = DfaNetwork(architecture)
    own = {name: value.clone() for name, value in tensors.items()}
    _rescale_input(own, *_FIRST[architecture])
    for level, (was, now) in enumerate(zip(kind.min_sizes, MIN_SIZES, strict=True)):
        _rescale_heads(own, level, torch.tensor(was) / torch.tensor(now))
    network.load_state_dict(own | _plain_aggregator(network))
    return network.eval()


def _rescale_input(tensors: dict[str, Tensor], convolution: str, norm: str) -> None:
    """x - m = s y + (o - m) for pixels x, DFA's input y = (x - o) / s and RetinaFace's mean m."""
    offset, scale = (torch.tensor(values) for values in (card("dfa").mean, card("dfa").std))
    weight = tensors[f"{convolution}.weight"]
    constant = weight.sum(dim=(2, 3)) @ (offset - torch.tensor(card("retinaface").mean))
    tensors[f"{norm}.running_mean"] = tensors[f"{norm}.running_mean"] - constant
    tensors[f"{convolution}.weight"] = weight * scale[:, None, None]


def _rescale_heads(tensors: dict[str, Tensor], level: int, ratio: Tensor) -> None:
    """Shifts are in sizes of the prior, sizes in its logarithm; `ratio` [2] is old size / new size of both anchors."""
    for head, values, shifts in (("BboxHead", 4, 2), ("LandmarkHead", 10, 10)):
        name = f"{head}.{level}.conv1x1"
        factor = torch.ones(ANCHORS, values)
        factor[:, :shifts] = ratio[:, None]
        more = torch.zeros(ANCHORS, values)
        more[:, shifts:] = ratio.log()[:, None] / SIZE_VARIANCE
        tensors[f"{name}.weight"] = tensors[f"{name}.weight"] * factor.flatten()[:, None, None, None]
        tensors[f"{name}.bias"] = tensors[f"{name}.bias"] * factor.flatten() + more.flatten()


def _plain_aggregator(network: DfaNetwork) -> dict[str, Tensor]:
    """Mixers that leave everything as it is, though not stuck there, and a last layer that reads the class logits."""
    tensors = {}
    for name, value in network.state_dict().items():
        if not name.startswith("aggregator."):
            continue
        silent = ".fc2." in name or name.startswith("aggregator.3.")
        tensors[name] = torch.zeros_like(value) if silent else value
    tensors["aggregator.3.weight"][0, 4:6] = torch.tensor([-_SHARPNESS, _SHARPNESS])
    return tensors
