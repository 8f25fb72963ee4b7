"""Which card belongs to a file; contradictions are refused."""

import dataclasses
import shutil
from pathlib import Path

import onnx
import pytest

from faceverify.errors import UserError
from faceverify.models import checkpoints, files, registry
from faceverify.models.card import METADATA_KEY, card_path


@pytest.fixture
def weights(tiny, tmp_path):
    path = tmp_path / "adaface_ir50_ms1mv2.safetensors"  # a famous name identifies nothing
    checkpoints.save(tiny.state_dict(), path)
    return path


def test_without_a_card_the_file_is_refused_with_the_recipe(weights):
    with pytest.raises(UserError, match=r"no model card.*faceverify models card .*--colour"):
        files.card_of(weights)


def test_the_card_beside_the_file_counts_and_gets_the_hash(weights, make_card):
    card_path(weights).write_text(make_card(colour="BGR").to_json())
    card = files.card_of(weights)
    assert card.colour == "BGR" and card.sha256 == files.sha256_of(weights)


def test_a_card_of_another_file_is_refused(weights, make_card):
    card_path(weights).write_text(make_card(sha256="0" * 64).to_json())
    with pytest.raises(UserError, match=r"0000.*was replaced"):
        files.card_of(weights)


def test_a_card_beside_must_agree_with_the_card_inside(exported, tmp_path):
    inside = exported[1].card
    path = Path(shutil.copy(exported[1].path, tmp_path))
    card_path(path).write_text(dataclasses.replace(inside, colour="RGB").to_json())
    with pytest.raises(UserError, match="colour RGB, not BGR"):
        files.card_of(path)
    card_path(path).write_text(dataclasses.replace(inside, name="other name").to_json())
    assert files.card_of(path) == inside


def test_a_card_beside_vouches_for_an_odd_scale_inside(exported, tmp_path):
    path = Path(shutil.copy(exported[1].path, tmp_path))
    model = onnx.load(path)
    odd = dataclasses.replace(exported[1].card, mean=(0.5,) * 3, std=(0.5,) * 3, sha256=None)
    onnx.helper.set_model_props(model, {METADATA_KEY: odd.to_json()})
    onnx.save(model, path)
    with pytest.raises(UserError, match=r"in the metadata of .* has mean 0\.5 .*become 255\.0"):
        files.card_of(path)
    card_path(path).write_text(dataclasses.replace(odd, unusual_scale=True).to_json())
    assert files.card_of(path).mean == (0.5,) * 3


@pytest.mark.parametrize("change", [{"colour": "BGR"}, {"std": (127.5, 127.5, 127.5)}, {"dim": 512}])
def test_a_known_file_is_not_fed_otherwise(change, shared_data, tmp_path):
    path = tmp_path / "renamed.onnx"
    shutil.copyfile(shared_data / "models/mobilefacenet_y1.onnx", path)
    truth = registry.get("mobilefacenet_y1").card
    assert files.card_of(path) == truth  # known by its content, whatever its name
    card_path(path).write_text(dataclasses.replace(truth, **change).to_json())
    with pytest.raises(UserError, match=f"mobilefacenet_y1.*{next(iter(change))}"):
        files.card_of(path)
    card_path(path).write_text(dataclasses.replace(truth, notes="mine").to_json())
    assert files.card_of(path).digest == truth.digest


def test_other_files_are_refused(tmp_path):
    (tmp_path / "x.tflite").write_bytes(b"")
    with pytest.raises(UserError, match=r"must end in \.onnx"):
        files.card_of(tmp_path / "x.tflite")
    (tmp_path / "x.onnx").write_bytes(b"\xff junk")
    with pytest.raises(UserError, match=r"x\.onnx"):
        files.card_of(tmp_path / "x.onnx")
