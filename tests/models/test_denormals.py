"""Denormal weights become zeros, in PyTorch files and in graphs, and nothing else does."""

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from faceverify.models import EngineConfig, checkpoints, engine_onnx
from faceverify.models.denormals import flushed
from faceverify.models.engine_torch import TorchEngine

TINY = np.finfo(np.float32).tiny


def test_only_denormal_numbers_become_zero():
    values = np.array([0, 1e-40, -1e-45, TINY, -TINY, 1e-30, 1, np.inf], np.float32)
    np.testing.assert_array_equal(flushed(values), [0, 0, 0, TINY, -TINY, np.float32(1e-30), 1, np.inf])


def test_arrays_with_nothing_to_flush_are_left():
    for values in (
        np.array([1, 0], np.float32),
        np.array([1e-40, 1e-38], np.float32),  # all there is
        np.array([1e-40, np.nan], np.float32),
        np.array([1e-310], np.float64),
        np.array([], np.float32),
        np.array([3]),
    ):
        assert flushed(values) is values


def test_loading_flushes_and_changes_no_embedding(tiny, make_card, tmp_path, faces):
    clean = tiny.state_dict()
    dirty = {name: value.clone() for name, value in clean.items()}
    for name in ("body.0.res_layer.1.weight", "output_layer.3.weight"):
        clean[name].flatten()[::3] = 0
        dirty[name].flatten()[::3] = 1e-40
    loaded = checkpoints.load(checkpoints.WeightsFile(dirty, tmp_path), make_card())
    assert all(torch.equal(value, clean[name]) for name, value in loaded.state_dict().items())
    expected = TorchEngine(checkpoints.build("tiny", 32), make_card(), EngineConfig(provider="cpu"))
    expected._module.load_state_dict(dirty)
    found = TorchEngine(loaded, make_card(), EngineConfig(provider="cpu")).embed(faces)
    np.testing.assert_allclose(found, expected.embed(faces), rtol=1e-6, atol=1e-6)


def test_graphs_are_flushed_before_the_runtime_sees_them(exported, tmp_path, monkeypatch):
    _, done = exported
    model = onnx.load(done.path)
    [weight] = [one for one in model.graph.initializer if one.name.endswith("output_layer.3.weight")]
    values = numpy_helper.to_array(weight).copy()
    values[0, ::2] = 1e-40
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, tmp_path / "x.onnx")
    given = []
    session = engine_onnx.ort.InferenceSession

    def watched(content, *args, **options):
        given.append(onnx.load_from_string(content))
        return session(content, *args, **options)

    monkeypatch.setattr(engine_onnx.ort, "InferenceSession", watched)
    engine_onnx.OnnxEngine(tmp_path / "x.onnx", done.card, EngineConfig(provider="cpu"))
    [seen] = [one for one in given[0].graph.initializer if one.name == weight.name]
    values[0, ::2] = 0
    np.testing.assert_array_equal(numpy_helper.to_array(seen), values)
