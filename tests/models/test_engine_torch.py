"""PyTorch as a runtime."""

import numpy as np
import pytest
import torch

from faceverify.errors import UserError
from faceverify.models import EngineConfig, checkpoints
from faceverify.models.card import card_path
from faceverify.models.engine_torch import TorchEngine
from faceverify.models.engines import preprocess
from faceverify.models.loading import load_module


def test_equals_the_plain_network(tiny, make_card, faces):
    with torch.inference_mode():
        want = tiny(torch.from_numpy(preprocess(faces, make_card()))).numpy()
    got = TorchEngine(tiny, make_card(), EngineConfig(provider="cpu", batch_size=2)).embed(faces)
    np.testing.assert_allclose(got, want, atol=1e-4, rtol=0)


def test_is_in_eval_mode(tiny, make_card, faces):
    tiny.train()
    before = {k: v.clone() for k, v in tiny.state_dict().items()}
    engine = TorchEngine(tiny, make_card(), EngineConfig(provider="cpu"))
    np.testing.assert_array_equal(engine.embed(faces), engine.embed(faces))  # no dropout
    assert all(torch.equal(v, before[k]) for k, v in tiny.state_dict().items())  # no running statistics


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_not_there_is_refused(provider, tiny, make_card, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=f"provider is '{provider}'.*only cpu"):
        TorchEngine(tiny, make_card(), EngineConfig(provider=provider))


def test_load_module_gives_a_trainable_network(tiny, make_card, tmp_path):
    path = tmp_path / "w.safetensors"
    checkpoints.save(tiny.state_dict(), path)
    card_path(path).write_text(make_card().to_json())
    network, card = load_module(str(path))
    assert card.architecture == "tiny"
    network.train()
    network(torch.randn(2, 3, 112, 112)).sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    # The file is not mapped into the network: training must not reach it.
    with torch.no_grad():
        network.input_layer[0].weight.zero_()
    assert load_module(str(path))[0].input_layer[0].weight.abs().sum() > 0


def test_load_module_refuses_onnx(make_card, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"")
    card_path(path).write_text(make_card().to_json())
    with pytest.raises(UserError, match="cannot be trained"):
        load_module(str(path))
