"""Graphs in float16: what is in them, that they agree, and that what would overflow on a GPU is seen on a CPU."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from faceverify.errors import PlatformError
from faceverify.models import EngineConfig, checkpoints, half, load_engine
from faceverify.models.engine_onnx import OnnxEngine
from faceverify.models.engine_torch import TorchEngine
from faceverify.models.engines import preprocess
from faceverify.models.export import HALF_NOTE, export_half, export_onnx
from faceverify.models.parity import FLOAT16
from faceverify.models.prelu import without_prelu

CPU = EngineConfig(provider="cpu", threads=1)


def unit(embeddings):
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def with_statistics(architecture, seed=0):
    """A network of random weights whose BatchNorms have statistics of their own."""
    torch.manual_seed(seed)
    network = checkpoints.build(architecture, 32).eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            layer.running_mean.normal_(0, 0.2)
            layer.running_var.uniform_(0.5, 2)
        if isinstance(layer, torch.nn.PReLU):
            torch.nn.init.uniform_(layer.weight, -0.2, 0.5)
    return network


@pytest.fixture(scope="module")
def made(make_card, tmp_path_factory):
    """A tiny network, its card, its float32 and its float16 export."""
    place = tmp_path_factory.mktemp("half")
    network, card = with_statistics("tiny"), make_card(colour="BGR", notes="mine")
    full = export_onnx(network, card, place / "model.onnx")
    return network, card, full, export_half(network, full, place / "model.fp16.onnx")


def test_weights_and_steps_are_half_and_the_outside_is_float(made):
    _, _, full, exported = made
    model = onnx.load(exported.path)
    onnx.checker.check_model(model, full_check=True)
    assert {t.data_type for t in model.graph.initializer} <= {TensorProto.FLOAT16, TensorProto.INT64, TensorProto.FLOAT}
    kept = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    assert sum(int(np.prod(t.dims)) for t in model.graph.initializer if t.name in kept) <= 1  # the exponent of the norm
    assert not {node.op_type for node in model.graph.node} & {"BatchNormalization"}
    session = ort.InferenceSession(str(exported.path), providers=["CPUExecutionProvider"])
    ports = [(p.name, p.type) for p in (*session.get_inputs(), *session.get_outputs())]
    assert ports == [("input", "tensor(float)"), ("embedding", "tensor(float)"), ("norm", "tensor(float)")]
    assert exported.path.stat().st_size < 0.55 * full.path.stat().st_size


def test_it_is_fed_like_any_other_and_agrees(made, faces):
    network, card, _, exported = made
    engine = load_engine(str(exported.path), CPU)
    assert engine.card == exported.card and engine.card.notes == f"mine\n{HALF_NOTE}" and engine.card.colour == "BGR"
    want = TorchEngine(network, card, CPU).embed(faces)
    assert np.abs(unit(engine.embed(faces)) - unit(want)).max() < 1e-3
    session = ort.InferenceSession(str(exported.path), providers=["CPUExecutionProvider"])
    embedding, norm = session.run(["embedding", "norm"], {"input": preprocess(faces, card)})
    np.testing.assert_allclose(norm[:, 0], np.linalg.norm(embedding, axis=1), rtol=1e-5)
    np.testing.assert_allclose(norm[:, 0], np.linalg.norm(want, axis=1), rtol=3e-3)


def test_the_rewritten_prelu_is_the_same_in_half(made, faces):
    _, card, _, exported = made
    rewritten = without_prelu(onnx.load(exported.path)).SerializeToString()
    assert "PRelu" not in {node.op_type for node in onnx.load_from_string(rewritten).graph.node}
    x = preprocess(faces, card)
    one, other = (
        ort.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(["embedding"], {"input": x})[0]
        for graph in (rewritten, exported.path.read_bytes())
    )
    assert np.abs(unit(one) - unit(other)).max() < 1e-3


def test_with_branches(make_card, tmp_path):
    network = with_statistics("tiny_attention_detail")
    with torch.no_grad():
        network.attention.gain.fill_(0.7)
        network.detail.score.bias.fill_(0.3)
    full = export_onnx(network, make_card(architecture="tiny_attention_detail"), tmp_path / "model.onnx")
    exported = export_half(network, full, tmp_path / "half.onnx")
    assert 1e-6 < exported.max_deviation <= FLOAT16.deviation
    assert sorted(place.name for place in tmp_path.iterdir()) == ["half.onnx", "model.onnx"]


def test_the_same_weights_give_the_same_bytes(made, tmp_path):
    network, _, full, exported = made
    again = export_half(network, full, tmp_path / "again.onnx")
    assert again.path.read_bytes() == exported.path.read_bytes() and again.card == exported.card
    assert exported.card.digest != full.card.digest


def thirds():
    """input -> * 1/3 -> * 3 -> + 1 -> mean of each channel = embedding -> norm, in float32."""
    value = helper.make_tensor_value_info
    constants = {"third": 1 / 3, "three": 3.0, "one": 1.0, "two": 2.0}
    tensors = [numpy_helper.from_array(np.array(number, np.float32), name) for name, number in constants.items()]
    tensors += [numpy_helper.from_array(np.array(axes, np.int64), name) for name, axes in (("hw", [2, 3]), ("d", [1]))]
    nodes = [
        helper.make_node("Mul", ["input", "third"], ["a"]),
        helper.make_node("Mul", ["a", "three"], ["b"]),
        helper.make_node("Add", ["b", "one"], ["c"]),
        helper.make_node("ReduceMax", ["c", "hw"], ["embedding"], keepdims=0),
        helper.make_node("Pow", ["embedding", "two"], ["squares"]),
        helper.make_node("ReduceSum", ["squares", "d"], ["sum"]),
        helper.make_node("Sqrt", ["sum"], ["norm"]),
    ]
    outputs = [value("embedding", TensorProto.FLOAT, ["N", 3]), value("norm", TensorProto.FLOAT, ["N", 1])]
    graph = helper.make_graph(nodes, "g", [value("input", TensorProto.FLOAT, ["N", 3, 112, 112])], outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.fixture
def third_engines(make_card, tmp_path):
    """The file as a CPU runs it, and rounded after every step."""
    path = tmp_path / "thirds.onnx"
    onnx.save(half.to_half(thirds()), path)
    card = make_card(dim=3, mean=[0, 0, 0], std=[1, 1, 1])
    return OnnxEngine(path, card, CPU), half.stepwise(path, card, CPU)


def test_stepwise_rounds_after_every_step(third_engines):
    x = np.arange(1, 256, dtype=np.uint8)
    faces = np.ones((1, 112, 112, 3), np.uint8) * x[:, None, None, None]
    want = x.astype(np.float16) * np.float16(1 / 3) * np.float16(3) + np.float16(1)
    plain, stepwise = (engine.embed(faces)[:, 0] for engine in third_engines)
    assert np.array_equal(stepwise, want.astype(np.float32))
    assert not np.array_equal(plain, stepwise)  # the runtime leaves the roundings out, or this would prove nothing


class Overflowing(torch.nn.Module):
    """The mean of each channel; on its way the numbers pass 65,504 and come back."""

    def forward(self, x):
        return torch.relu(x.mean((2, 3)) * 1000) * 0.001


def test_what_overflows_on_a_gpu_is_refused_on_a_cpu(make_card, faces, tmp_path):
    card = make_card(dim=3, mean=[0, 0, 0], std=[1, 1, 1])
    full = export_onnx(Overflowing(), card, tmp_path / "model.onnx")
    # The trap: as a CPU runs it, it is right.
    onnx.save(half.to_half(onnx.load(full.path)), tmp_path / "trap.onnx")
    seen = OnnxEngine(tmp_path / "trap.onnx", card, CPU).embed(faces)
    np.testing.assert_allclose(unit(seen), unit(faces.mean((1, 2))), atol=1e-3)
    with pytest.raises(PlatformError, match=r"half\.onnx gives other embeddings.*65,504 do not exist.*nothing"):
        export_half(Overflowing(), full, tmp_path / "half.onnx")
    assert sorted(place.name for place in tmp_path.iterdir()) == ["model.onnx", "trap.onnx"]


def test_statistics_beyond_half_do_no_harm(make_card, faces, tmp_path):
    statistics = {"weight": [1e3, 3e-3, 1], "bias": [1, 2, 3], "mean": [100, 0, 128], "variance": [1e6, 1e-9, 4e4]}
    tensors = [numpy_helper.from_array(np.array(v, np.float32), name) for name, v in statistics.items()]
    model = thirds()
    del model.graph.node[:3]
    model.graph.node.insert(0, helper.make_node("BatchNormalization", ["input", *statistics], ["c"], epsilon=1e-5))
    model.graph.initializer.extend(tensors)
    onnx.save(half.to_half(model), tmp_path / "m.onnx")
    got = half.stepwise(tmp_path / "m.onnx", make_card(dim=3, mean=[0, 0, 0], std=[1, 1, 1]), CPU).embed(faces)
    weight, bias, mean, variance = (np.array(v, np.float64) for v in statistics.values())
    want = (faces.max((1, 2)) - mean) / np.sqrt(variance + 1e-5) * weight + bias
    np.testing.assert_allclose(got, want, rtol=2e-3)


def test_rounding_turns_no_photo_away(make_card, faces, tmp_path, monkeypatch):
    network, card = with_statistics("tiny_detail"), make_card(architecture="tiny_detail")
    with torch.no_grad():
        network.detail.score.weight.mul_(2000)
        network.detail.waves.zero_()  # they would magnify the roundings of the embedding
        x = torch.from_numpy(preprocess(faces, card))
        network.detail.threshold.copy_(network.detail.scores(x).median())
    full = export_onnx(network, card, tmp_path / "model.onnx")
    want = unit(TorchEngine(network, card, CPU).embed(faces))
    far = []
    for known in (half._exact, lambda steps: set()):
        monkeypatch.setattr(half, "_exact", known)
        onnx.save(half.to_half(onnx.load(full.path)), tmp_path / "half.onnx")
        far.append(np.abs(unit(half.stepwise(tmp_path / "half.onnx", card, CPU).embed(faces)) - want).max())
    assert far[0] < 2e-3 and far[1] > 2 * far[0], far
