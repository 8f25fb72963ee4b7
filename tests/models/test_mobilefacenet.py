"""MobileFaceNet against the published keys, weights and outputs."""

import json

import cv2
import numpy as np
import pytest
import torch

from faceverify.models import EngineConfig, load_engine
from faceverify.models.mobilefacenet import MobileFaceNet, StridedDepthwise


@pytest.fixture(scope="module")
def crops(shared_data, golden):
    """Four aligned faces [4, 112, 112, 3] RGB, and the published outputs."""
    expected = np.load(golden / "mobilefacenet.npz")
    folder = shared_data.parent / "golden"
    paths = [folder / name for name in expected["aligned_file"]]
    if not all(path.is_file() for path in paths):
        pytest.skip("the aligned faces of the golden set are not here")
    return np.stack([cv2.imread(str(path), cv2.IMREAD_COLOR_RGB) for path in paths]), expected


def test_keys_shapes_and_order_are_those_published(golden):
    published = json.loads((golden / "mobilefacenet_keys.json").read_text())["foamliu_pt_keys"]
    network = MobileFaceNet()
    mine = [(k, [list(v.shape), str(v.dtype).removeprefix("torch.")]) for k, v in network.state_dict().items()]
    assert mine == list(published.items())
    assert sum(p.numel() for p in network.parameters()) == 999_936


def test_shortcuts_where_the_shape_is_kept():
    blocks = MobileFaceNet().features
    assert [block.keeps_shape for block in blocks] == [i not in (0, 5, 12) for i in range(15)]


def test_published_weights_give_the_published_outputs(shared_data, crops):
    faces, expected = crops
    engine = load_engine(str(shared_data / "models/mobilefacenet_foamliu.pt"), EngineConfig(provider="cpu"))
    np.testing.assert_allclose(engine.embed(faces), expected["foamliu_torch_float64"], atol=1e-4, rtol=0)
    np.testing.assert_allclose(engine.embed(faces), expected["foamliu_onnx"], atol=1e-4, rtol=0)


def test_y1_gives_the_published_outputs(shared_data, crops):
    faces, expected = crops
    engine = load_engine(str(shared_data / "models/mobilefacenet_y1.onnx"), EngineConfig(provider="cpu"))
    np.testing.assert_allclose(engine.embed(faces), expected["y1_onnx"], atol=1e-4, rtol=0)


def test_any_dimension():
    with torch.inference_mode():
        assert MobileFaceNet(7).eval()(torch.zeros(2, 3, 112, 112)).shape == (2, 7)


def test_strided_depthwise_is_exact_inside_autocast():
    """Where it learns in bfloat16: values and gradients are those of float32, rounded once."""
    torch.manual_seed(0)
    x = torch.randn(2, 8, 14, 14).bfloat16()
    ours = StridedDepthwise(8, 8, 3, 2, 1, groups=8, bias=False)
    plain = torch.nn.Conv2d(8, 8, 3, 2, 1, groups=8, bias=False)
    plain.load_state_dict(ours.state_dict())
    with torch.autocast("cpu", torch.bfloat16):
        found = ours(x)
    expected = plain(x.float())
    assert found.dtype == torch.bfloat16 and torch.equal(found, expected.bfloat16())
    found.float().sum().backward()
    expected.sum().backward()
    assert torch.allclose(ours.weight.grad, plain.weight.grad, atol=1e-5)
    assert sum(isinstance(module, StridedDepthwise) for module in MobileFaceNet().modules()) == 3
