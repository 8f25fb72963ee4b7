"""What a chain is given reaches workers that are at work in another folder."""

import pickle
from pathlib import Path

import pytest

from faceverify.align import AlignConfig
from faceverify.images import ImageLimits
from faceverify.models import EngineConfig
from ray_jobs.stages import EmbeddingSink, PhotoSource


def test_relative_paths_are_seen_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.onnx").touch()
    source = PhotoSource(AlignConfig(method="yunet", weights="weights.onnx"), ImageLimits())
    sink = EmbeddingSink("weights.onnx", EngineConfig())
    monkeypatch.chdir("/")
    assert pickle.loads(pickle.dumps(source)).align.weights == str(tmp_path / "weights.onnx")
    assert pickle.loads(pickle.dumps(sink)).model == str(tmp_path / "weights.onnx")
    for name in ("mobilefacenet_y1", "s3://bucket/model.onnx", ""):
        assert EmbeddingSink(name, EngineConfig()).model == name
        assert PhotoSource(AlignConfig(method="none", weights=name), ImageLimits()).align.weights == name
