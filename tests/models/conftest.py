"""Weights and pictures made by the golden recipe, and the small network that most tests run."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from faceverify.models import card, checkpoints
from faceverify.models.card import ModelCard
from faceverify.models.export import Exported, export_onnx

FOREIGN = ("arcface_iresnet", "facenet", "ir_se_50")


@pytest.fixture(scope="session")
def recipe(golden: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_recipe", golden / "recipe.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def ir_keys(golden: Path) -> dict[str, dict]:
    """Published keys, in order, with [shape, dtype] each, per network."""
    return json.loads((golden / "iresnet_keys.json").read_text())


@pytest.fixture(scope="session")
def ir_weights(recipe: ModuleType, ir_keys: dict) -> Callable[[str], dict[str, Tensor]]:
    return lambda name: {key: torch.from_numpy(a) for key, a in recipe.weights(ir_keys[name], 0).items()}


@pytest.fixture(scope="session")
def foreign_keys(golden: Path) -> dict[str, dict]:
    """Published keys, in order, with [shape, dtype] each, of the networks that are not AdaFace's, by architecture."""
    zoo = {name: json.loads((golden / f"zoo/{name}_keys.json").read_text()) for name in FOREIGN}
    iresnets = zoo["arcface_iresnet"]
    return {
        **{f"arcface_{name}": keys for name, keys in iresnets.items()},
        **{f"magface_{name}": keys for name, keys in iresnets.items()},
        "facenet": zoo["facenet"]["facenet"],
        "ir_se_50": zoo["ir_se_50"]["adaface_ir_se_50"],
        "treb1en_ir_50": zoo["ir_se_50"]["ifpt_ir_50"],
        "treb1en_ir_se_50": zoo["ir_se_50"]["ifpt_ir_se_50"],
    }


@pytest.fixture(scope="session")
def foreign_weights(recipe: ModuleType, foreign_keys: dict) -> Callable[[str], dict[str, Tensor]]:
    """Weights of the recipe for one of them; FaceNet's convolutions times 1.6, else nothing reaches its end."""

    def make(name: str) -> dict[str, Tensor]:
        drawn = recipe.weights(foreign_keys[name], 0)
        gain = np.float32(1.6 if name == "facenet" else 1)
        return {key: torch.from_numpy(a * gain if a.ndim == 4 else a) for key, a in drawn.items()}

    return make


@pytest.fixture(scope="session")
def foreign_card() -> Callable[..., ModelCard]:
    """The card with which one of them is fed as published, with changes."""

    def make(architecture: str, **changes: object) -> ModelCard:
        kind = architecture.split("_")[0]
        mean, std = {"magface": (0, 255), "facenet": (127.5, 128)}.get(kind, (127.5, 127.5))
        fields = {
            "name": "test",
            "architecture": architecture,
            "input_size": [160, 160] if kind == "facenet" else [112, 112],
            "colour": "BGR" if kind == "magface" else "RGB",
            "mean": [mean] * 3,
            "std": [std] * 3,
            "dim": 512,
        }
        return card.build(**(fields | changes))

    return make


@pytest.fixture(scope="session")
def make_card() -> Callable[..., ModelCard]:
    """A card of the tiny network (RGB, scaled to [-1, 1], 32 numbers), with changes."""

    def make(**changes: object) -> ModelCard:
        fields = {
            "name": "test",
            "architecture": "tiny",
            "colour": "RGB",
            "mean": [127.5, 127.5, 127.5],
            "std": [127.5, 127.5, 127.5],
            "dim": 32,
        }
        return card.build(**(fields | changes))

    return make


@pytest.fixture
def tiny() -> nn.Module:
    torch.manual_seed(0)
    return checkpoints.build("tiny", 32).eval()


@pytest.fixture(scope="session")
def exported(
    make_card: Callable[..., ModelCard], tmp_path_factory: pytest.TempPathFactory
) -> tuple[nn.Module, Exported]:
    """A tiny BGR network and its ONNX export, made once; not to be changed."""
    torch.manual_seed(0)
    network = checkpoints.build("tiny", 32).eval()
    card = make_card(colour="BGR", mean=[120, 110, 100], std=[60, 61, 62], notes="two\nlines")
    return network, export_onnx(network, card, tmp_path_factory.mktemp("export") / "model.onnx")


@pytest.fixture(scope="session")
def faces() -> np.ndarray:
    """[5, 112, 112, 3] uint8 noise."""
    return np.random.default_rng(0).integers(0, 256, (5, 112, 112, 3), dtype=np.uint8)


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACEVERIFY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
