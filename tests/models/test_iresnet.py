"""The AdaFace networks: published keys, parameter counts, and the outputs of the reference implementation."""

import hashlib
import json

import numpy as np
import pytest
import torch

from faceverify.errors import UserError
from faceverify.models import EngineConfig, checkpoints
from faceverify.models.engine_torch import TorchEngine
from faceverify.models.iresnet import iresnet

PUBLISHED = ("ir_18", "ir_34", "ir_50", "ir_101")


@pytest.mark.parametrize("name", PUBLISHED)
def test_keys_shapes_and_order_are_those_published(name, ir_keys):
    with torch.device("meta"):
        state = iresnet(name).state_dict()
    mine = [(key, [list(value.shape), str(value.dtype).removeprefix("torch.")]) for key, value in state.items()]
    assert mine == list(ir_keys[name].items())


@pytest.mark.parametrize(
    ("name", "parameters", "buffers"),
    [
        ("ir_18", 24_020_352, 14_622),
        ("ir_34", 34_134_080, 25_782),
        ("ir_50", 43_585_600, 38_094),
        ("ir_101", 65_150_912, 69_657),
    ],
)
def test_sizes_are_those_published(name, parameters, buffers):
    with torch.device("meta"):
        network = iresnet(name)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert sum(b.numel() for b in network.buffers()) == buffers


def test_the_recipe_makes_what_the_reference_saw(recipe, golden, ir_weights):
    sums = json.loads((golden / "recipe_check.json").read_text())
    weights = ir_weights("ir_18")
    for key, digest in sums["weights_seed_0"].items():
        assert hashlib.sha256(weights[key].numpy().tobytes()).hexdigest() == digest
    for seed in (11, 12):
        picture = recipe.image(seed, 112, 112)
        assert hashlib.sha256(picture.tobytes()).hexdigest() == sums["images"][f"{seed}_112x112"]


@pytest.mark.parametrize("name", ["ir_18", "ir_50", "ir_101"])
def test_output_equals_the_reference(name, recipe, golden, ir_weights, make_card, tmp_path):
    expected = np.load(golden / "iresnet.npz")
    card = make_card(architecture=name, dim=512)
    network = checkpoints.load(checkpoints.WeightsFile(ir_weights(name), tmp_path), card)
    pictures = np.stack([recipe.image(seed, 112, 112) for seed in expected["image_seeds"]])
    feature = TorchEngine(network, card, EngineConfig(provider="cpu")).embed(pictures)
    norm = np.linalg.norm(feature, axis=1, keepdims=True)
    np.testing.assert_allclose(feature / norm, expected[f"{name}_unit"], atol=2e-6, rtol=0)
    scale = np.abs(expected[f"{name}_feature"]).max()
    np.testing.assert_allclose(feature / scale, expected[f"{name}_feature"] / scale, atol=1e-5, rtol=0)
    np.testing.assert_allclose(norm, expected[f"{name}_norm"], rtol=1e-5)


def test_each_stage_halves_the_picture(tiny):
    x = tiny.input_layer(torch.zeros(1, 3, 112, 112))
    sides = [x.shape[-1]]
    for unit in tiny.body:
        x = unit(x)
        sides.append(x.shape[-1])
    assert sides == [112, 56, 28, 14, 7]


def test_initial_weights_follow_fan_out():
    torch.manual_seed(0)
    network = iresnet("ir_18", dim=64)
    convolution = network.body[2].res_layer[1].weight  # 64 -> 128 channels, 3x3
    assert convolution.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    assert network.output_layer[3].weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.02)
    assert not network.output_layer[3].bias.any()
    assert network.output_layer[4].weight is None


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match="ir_18, ir_34, ir_50, ir_101, tiny"):
        iresnet("ir_19")
