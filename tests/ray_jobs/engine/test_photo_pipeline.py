"""What a chain is given reaches workers that are at work in another folder."""

import pickle
from pathlib import Path

import pytest

from faceverify.align import AlignConfig
from faceverify.images import ImageLimits
from faceverify.models import EngineConfig
from ray_jobs.engine.photo_pipeline import EmbeddingSink, PhotoSource
from ray_jobs.engine.wanted_weights import shared_weights


def test_relative_paths_are_seen_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACEVERIFY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "weights.onnx").touch()
    source = PhotoSource(AlignConfig(method="yunet", weights="weights.onnx"), ImageLimits())
    sink = EmbeddingSink("weights.onnx", EngineConfig(), forensic="weights.onnx")
    folder = EmbeddingSink("weights.onnx", EngineConfig(), forensic=".")
    monkeypatch.chdir("/")
    assert pickle.loads(pickle.dumps(source)).align.weights == str(tmp_path / "weights.onnx")
    assert pickle.loads(pickle.dumps(sink)).model == str(tmp_path / "weights.onnx")
    assert pickle.loads(pickle.dumps(sink)).forensic == str(tmp_path / "weights.onnx")
    assert pickle.loads(pickle.dumps(folder)).forensic == str(tmp_path)
    assert EmbeddingSink("sface", EngineConfig()).forensic == ""
    for name in ("mobilefacenet_y1", "s3://bucket/model.onnx", ""):
        assert EmbeddingSink(name, EngineConfig()).model == name
        assert PhotoSource(AlignConfig(method="none", weights=name), ImageLimits()).align.weights == name


def test_a_published_name_is_its_file_in_the_cache_of_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers may have another cache, or none; that every node sees the file is checked like any other path."""
    monkeypatch.setenv("FACEVERIFY_CACHE", str(tmp_path))
    places = []
    for name, file in (("yunet", "yunet.onnx"), ("sface", "sface.onnx")):
        places.append(str(tmp_path / "models" / name / file))
        Path(places[-1]).parent.mkdir(parents=True)
        Path(places[-1]).touch()
    for align in (AlignConfig(), AlignConfig(weights="yunet")):
        assert PhotoSource(align, ImageLimits()).align.weights == places[0]
        assert shared_weights(align, "sface") == places
    assert EmbeddingSink("sface", EngineConfig()).model == places[1]
    assert shared_weights(AlignConfig(method="none"), "sface") == places[1:]
