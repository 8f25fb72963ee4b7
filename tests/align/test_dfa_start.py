"""A RetinaFace turned into a DFA says of every prior what it said before."""

import numpy as np
import pytest
import torch
from torch.nn.functional import pad

from faceverify.align.dfa_network import DfaNetwork
from faceverify.align.dfa_square import Square
from faceverify.align.dfa_start import start_network
from faceverify.align.retinaface import KINDS
from faceverify.align.retinaface_network import RetinaFaceNetwork
from faceverify.align.retinaface_priors import decode_boxes, decode_landmarks, priors
from faceverify.align.weights import state_dict

KIND = KINDS["pytorch_retinaface"]
MEAN = torch.tensor([104.0, 117.0, 123.0])[:, None, None]
FIRST = {"mobile0.25": "body.stage1.0.0", "resnet50": "body.conv1"}


def said_by(network, bgr):
    """[B, 1050, 16] as `DfaNetwork.per_prior` gives it."""
    raw, own = network(bgr - MEAN), priors(160, 160, KIND.min_sizes)
    return torch.cat([decode_boxes(raw.boxes, own), raw.logits, decode_landmarks(raw.landmarks, own)], dim=-1)


@pytest.mark.parametrize("architecture", FIRST)
def test_priors_say_what_they_said(architecture, dfa_tensors, recipe):
    """Exactly, if the border is laid around RetinaFace's picture that DFA sees."""
    before = RetinaFaceNetwork(architecture).eval().requires_grad_(False)
    tensors = {name: dfa_tensors(architecture)[name] for name in before.state_dict()}
    tensors[f"{FIRST[architecture]}.weight"] = tensors[f"{FIRST[architecture]}.weight"] / 127.5
    before.load_state_dict(tensors)
    first = before.get_submodule(FIRST[architecture])
    border, first.padding = first.padding[0], (0, 0)
    bgr = torch.from_numpy(recipe.image(4, 160, 160)).permute(2, 0, 1).flip(0)[None].double()
    want = said_by(before.double(), pad(bgr, [border] * 4, value=127.5))
    with torch.inference_mode():
        found = start_network(tensors, KIND).double().per_prior(bgr / 127.5 - 1)
    torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-4)


def test_on_photos_the_border_does_not_matter(shared_data, lfw_photos):
    data = (shared_data / "models" / "pytorch_retinaface_mobilenet0.25_Final.pth").read_bytes()
    before = RetinaFaceNetwork("mobile0.25").eval().requires_grad_(False)
    before.load_state_dict(state_dict(data))
    copies = np.stack([Square(250, 250).copy(photo[..., ::-1]) for photo in lfw_photos])
    bgr = torch.from_numpy(copies).permute(0, 3, 1, 2)
    want = said_by(before, bgr)
    best = want[..., 5].argmax(dim=1), torch.arange(len(bgr))
    with torch.inference_mode():
        found = start_network(state_dict(data), KIND).per_prior(bgr / 127.5 - 1)
    found, want = (said[best[1], best[0]] for said in (found, want))
    torch.testing.assert_close(found[:, 6:] * 160, want[:, 6:] * 160, rtol=0, atol=0.2)
    torch.testing.assert_close(found[:, 4:6], want[:, 4:6], rtol=0, atol=0.05)


def test_the_aggregator_trusts_the_surest_prior(dfa_tensors):
    names = RetinaFaceNetwork("mobile0.25").state_dict()
    network = start_network({name: dfa_tensors("mobile0.25")[name] for name in names}, KIND)
    said = torch.randn(2, 1050, 16)
    said[0, 7, 4:6], said[1, 900, 4:6] = torch.tensor([-30.0, 30.0]), torch.tensor([-30.0, 30.0])
    face = network.aggregated(said)
    torch.testing.assert_close(face.landmarks.flatten(1), torch.stack([said[0, 7, 6:], said[1, 900, 6:]]))
    torch.testing.assert_close(face.score, torch.ones(2, 1))


def test_another_slope_is_refused():
    with pytest.raises(ValueError, match=r"slope 0\.0 cannot become a DFA"):
        start_network(DfaNetwork("mobile0.25").state_dict(), KINDS["face_detector_1mb"])
