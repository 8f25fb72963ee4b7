"""Export to ONNX: free batch size, two outputs, the card inside, and nothing kept that deviates."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from faceverify.errors import PlatformError
from faceverify.models import EngineConfig, checkpoints, export, files, load_engine
from faceverify.models.architectures import input_size
from faceverify.models.engine_torch import TorchEngine
from faceverify.models.engines import preprocess
from faceverify.models.export import export_half, export_onnx

CPU = EngineConfig(provider="cpu")


LONG = ("arcface_r18", "facenet", "treb1en_ir_se_50", "ghostfacenet_v2_s2")


@pytest.mark.parametrize(
    "architecture",
    [
        *("tiny", "ir_18", "mobilefacenet", "ghostfacenet_v1_s2"),
        *(pytest.param(name, marks=pytest.mark.thorough) for name in LONG),
    ],
)
def test_the_file_gives_what_the_network_gives(architecture, make_card, ir_weights, tmp_path):
    torch.manual_seed(1)
    card = make_card(architecture=architecture, dim=512, input_size=list(input_size(architecture)))
    faces = np.random.default_rng(0).integers(0, 256, (5, *card.input_size, 3), dtype=np.uint8)
    network = checkpoints.build(architecture, 512).eval()
    if architecture == "ir_18":
        network.load_state_dict(ir_weights("ir_18"))
    network.train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    result = export_onnx(network, card, tmp_path / "sub" / "model.onnx")
    assert network.training  # the network is left as it was
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert result.max_deviation <= 1e-5
    session = ort.InferenceSession(str(result.path), providers=["CPUExecutionProvider"])
    want = TorchEngine(network, card, CPU).embed(faces)
    scale = np.abs(want).max()
    for count in (1, 2, 5):
        embedding, norm = session.run(["embedding", "norm"], {"input": preprocess(faces[:count], card)})
        np.testing.assert_allclose(embedding / scale, want[:count] / scale, atol=1e-4, rtol=0)
        np.testing.assert_allclose(norm, np.linalg.norm(want[:count], axis=1, keepdims=True), rtol=1e-4)
    if architecture != "tiny":  # float16 graphs of large networks take long, and have the same layers
        return
    halved = export_half(network, result, tmp_path / "half.onnx")
    assert 1e-6 < halved.max_deviation <= 5e-3
    assert halved.path.stat().st_size < 0.6 * result.path.stat().st_size


def test_the_same_weights_give_the_same_file_without_paths_of_this_machine(make_card, tmp_path):
    torch.manual_seed(1)
    network = checkpoints.build("tiny", 512).eval()
    card = make_card(architecture="tiny", dim=512)
    one, two = (export_onnx(network, card, tmp_path / name / "model.onnx") for name in ("a", "b"))
    assert one.card == two.card
    content = one.path.read_bytes()
    assert b"export.py" not in content and b"stack_trace" not in content


def test_the_card_travels_inside(exported):
    result = exported[1]
    engine = load_engine(str(result.path), CPU)
    assert engine.card == result.card
    assert (engine.card.colour, engine.card.mean, engine.card.notes) == ("BGR", (120, 110, 100), "two\nlines")
    assert engine.card.norm_output and engine.card.sha256 == files.sha256_of(result.path)
    assert [p.name for p in result.path.parent.iterdir()] == ["model.onnx"]
    onnx.checker.check_model(onnx.load(result.path))


def test_a_deviating_export_is_not_kept(tiny, make_card, tmp_path, monkeypatch):
    (tmp_path / "m.onnx").write_bytes(b"the last good one")
    write = export._write

    def write_another(network, card, path):
        other = checkpoints.build("tiny", 32).eval()  # other random weights than those asked for
        write(other, card, path)

    monkeypatch.setattr(export, "_write", write_another)
    with pytest.raises(PlatformError, match="other embeddings than PyTorch"):
        export_onnx(tiny, make_card(), tmp_path / "m.onnx")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"m.onnx": b"the last good one"}


def test_a_network_that_gives_nan_is_not_exported(tiny, make_card, tmp_path):
    with torch.no_grad():
        tiny.output_layer[3].bias.fill_(float("nan"))
    with pytest.raises(PlatformError, match="nan"):
        export_onnx(tiny, make_card(), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
