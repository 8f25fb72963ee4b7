"""A folder stands for one weights file: of a checkpoint, and of what train, tune, export and pipeline make."""

import json
from pathlib import Path

import pytest
from safetensors.torch import save_file

from faceverify.errors import UserError
from faceverify.models import EngineConfig, load_engine, loading
from faceverify.models.folders import checkpoint_in, weights_file
from faceverify.storage import Location


@pytest.fixture
def training(tmp_path: Path, tiny, make_card) -> Path:
    """The folder of a training with three checkpoints, the second the best, a fourth one not yet complete."""
    place = tmp_path / "train"
    for step, eer in ((10, 0.3), (20, 0.1), (30, 0.1), (40, 0.05)):
        folder = place / "checkpoints" / f"step-{step:08d}"
        folder.mkdir(parents=True)
        save_file({name: value.contiguous() for name, value in tiny.state_dict().items()}, folder / "model.safetensors")
        (folder / "model.safetensors.card.json").write_text(make_card().to_json())
        if step < 40:
            (folder / "done.json").write_text(json.dumps({"step": step, "eer": eer, "accuracy": 1.0}))
    return place


def test_the_best_checkpoint_of_a_training_is_its_network(training: Path) -> None:
    best = training / "checkpoints" / "step-00000020"
    assert weights_file(str(training)) == weights_file(str(best)) == str(best / "model.safetensors")
    path, card = loading.resolve(str(training))
    assert (path, card.dim) == (best / "model.safetensors", 32)
    assert load_engine(str(training), EngineConfig(threads=1)).card.digest == card.digest


def test_a_search_and_a_pipeline(training: Path, tmp_path: Path) -> None:
    search = tmp_path / "tune"
    (search / "trials").mkdir(parents=True)
    (search / "manifest.json").write_text(json.dumps({"best": {"trial": 3}}))
    training.rename(search / "trials" / "0003")
    best = search / "trials" / "0003" / "checkpoints" / "step-00000020"
    assert weights_file(str(search)) == str(best / "model.safetensors")
    (tmp_path / "recipe").mkdir()
    (search / "trials" / "0003").rename(tmp_path / "recipe" / "train")
    recipe = tmp_path / "recipe"
    best = recipe / "train" / "checkpoints" / "step-00000020"
    assert weights_file(str(recipe)) == str(best / "model.safetensors"), "as long as nothing is exported"
    (recipe / "export").mkdir()
    (recipe / "export" / "model.onnx").touch()
    assert weights_file(str(recipe)) == str(recipe / "export" / "model.onnx") == weights_file(str(recipe / "export"))
    assert checkpoint_in(Location(str(recipe))) == Location(str(best)), "an ONNX graph cannot be trained"


def test_names_and_files_stay_as_they_are(tmp_path: Path) -> None:
    for model in ("mobilefacenet_y1", "some/where.onnx", "s3://bucket/model.pt", str(tmp_path / "gone")):
        assert weights_file(model) == model


def test_folders_without_a_network(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no network in the folder"):
        weights_file(str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UserError, match="without a validated checkpoint"):
        weights_file(str(tmp_path))


def test_in_s3(training: Path, bucket: str) -> None:
    root = Location(f"s3://{bucket}/train")
    for file in training.rglob("*.*"):
        (root / str(file.relative_to(training))).write_bytes(file.read_bytes())
    assert weights_file(root.uri) == f"{root}/checkpoints/step-00000020/model.safetensors"
