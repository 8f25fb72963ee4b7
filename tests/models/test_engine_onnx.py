"""ONNX Runtime: ports found by shape, fixed batches, providers, and equality with PyTorch."""

import copy

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from faceverify.errors import UserError
from faceverify.models import EngineConfig
from faceverify.models.engine_onnx import OnnxEngine, check, output_dim
from faceverify.models.engine_torch import TorchEngine

CPU = EngineConfig(provider="cpu", threads=1)


def channel_means(path, batch="N", outputs=("features",), then="Identity"):
    """A graph under names of its own whose embedding is the mean of each channel, followed by one more operator."""
    means = [helper.make_node("ReduceMean", ["picture", "axes"], [f"{name}_mean"], keepdims=0) for name in outputs]
    graph = helper.make_graph(
        [*means, *(helper.make_node(then, [f"{name}_mean"], [name]) for name in outputs)],
        "means",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [batch, 3, 112, 112])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 3]) for name in outputs],
        [numpy_helper.from_array(np.array([2, 3], np.int64), "axes")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


@pytest.mark.parametrize("batch", ["N", 1, 2, 8])
def test_free_and_fixed_batch_sizes(batch, make_card, tmp_path, faces):
    card = make_card(dim=3, mean=[0, 0, 0], std=[1, 1, 1], colour="BGR")
    engine = OnnxEngine(channel_means(tmp_path / "m.onnx", batch), card, CPU)
    got = engine.embed(faces)
    np.testing.assert_allclose(got, faces[..., ::-1].mean((1, 2)), rtol=1e-5)
    assert engine.provider == "onnxruntime CPUExecutionProvider, 1 thread"


def test_no_faces_give_no_embeddings(make_card, tmp_path, faces):
    engine = OnnxEngine(channel_means(tmp_path / "m.onnx"), make_card(dim=3), CPU)
    assert engine.embed(faces[:0]).shape == (0, 3)


def test_a_card_of_another_size_or_dimension_is_refused(make_card, tmp_path):
    path = channel_means(tmp_path / "m.onnx")
    with pytest.raises(UserError, match=r"one output \[N, 4\].*features"):
        check(path, make_card(dim=4))
    with pytest.raises(UserError, match=r"\[N, 3, 128, 112\].*picture"):
        check(path, make_card(dim=3, input_size=[128, 112]))
    with pytest.raises(UserError, match="one output"):
        check(channel_means(tmp_path / "two.onnx", outputs=("a", "b")), make_card(dim=3))
    assert output_dim(path) == 3


def test_a_damaged_file_is_named(make_card, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"not a graph")
    with pytest.raises(UserError, match=r"bad\.onnx"):
        OnnxEngine(tmp_path / "bad.onnx", make_card(), CPU)
    with pytest.raises(UserError, match=r"bad\.onnx"):
        check(tmp_path / "bad.onnx", make_card())


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_not_there_is_refused(provider, make_card, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "onnxruntime.get_available_providers", lambda: ["AzureExecutionProvider", "CPUExecutionProvider"]
    )
    with pytest.raises(UserError, match=f"provider is '{provider}'.*only cpu"):
        OnnxEngine(channel_means(tmp_path / "m.onnx"), make_card(dim=3), EngineConfig(provider=provider))


def test_equals_torch(exported, faces):
    network, export = exported
    onnx_side = OnnxEngine(export.path, export.card, CPU).embed(faces)
    torch_side = TorchEngine(copy.deepcopy(network), export.card, CPU).embed(faces)
    scale = np.linalg.norm(torch_side, axis=1, keepdims=True)
    np.testing.assert_allclose(onnx_side / scale, torch_side / scale, atol=1e-5, rtol=0)


def test_non_finite_outputs_are_passed_on(tiny, make_card, faces, tmp_path):
    with torch.no_grad():
        tiny.output_layer[3].bias[0] = float("nan")
    assert np.isnan(TorchEngine(tiny, make_card(), CPU).embed(faces)[:, 0]).all()
    card = make_card(dim=3, mean=[255, 0, 0], std=[1, 1, 1])
    roots = OnnxEngine(channel_means(tmp_path / "m.onnx", then="Sqrt"), card, CPU).embed(faces)
    assert np.isnan(roots[:, 0]).all() and np.isfinite(roots[:, 1:]).all()
