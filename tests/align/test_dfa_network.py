"""DFA's network against the published names, priors and raw outputs."""

import json

import numpy as np
import pytest

from faceverify.align.dfa_module import network_input
from faceverify.align.dfa_network import DfaNetwork

ARCHITECTURES = ("mobile0.25", "resnet50")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_names_and_shapes_are_the_published_ones(golden, architecture):
    want = json.loads((golden / "dfa_keys.json").read_text())[architecture]
    have = {name: tuple(value.shape) for name, value in DfaNetwork(architecture).state_dict().items()}
    assert have == {name: tuple(shape) for name, (shape, _) in want.items()}


def test_published_priors(dfa_golden):
    np.testing.assert_allclose(DfaNetwork("mobile0.25").priors, dfa_golden("mobile0.25")["priors"], atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_published_raw_outputs(dfa_golden, dfa_picture, published_dfa, architecture):
    want = dfa_golden(architecture)
    raw = published_dfa(architecture).net(dfa_picture("160").flip(1))
    np.testing.assert_allclose(raw.boxes[0], want["160_bbox_regressions"], atol=1e-4)
    np.testing.assert_allclose(raw.logits[0].softmax(-1), want["160_class_softmax"], atol=1e-4)
    np.testing.assert_allclose(raw.landmarks[0], want["160_landmark_regressions"], atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_published_faces(dfa_golden, dfa_picture, published_dfa, architecture):
    for case in ("112", "160", "250", "200x140"):
        box, logits, landmarks = published_dfa(architecture).net.face(network_input(dfa_picture(case)).flip(1))
        merged = np.concatenate([box[0], logits[0], landmarks[0].flatten()])
        np.testing.assert_allclose(merged, dfa_golden(architecture)[f"{case}_merged"], atol=1e-5, err_msg=case)
