"""How a model is found and loaded, by whatever a user calls it."""

import dataclasses

import numpy as np
import pytest

from faceverify.errors import PlatformError, UserError
from faceverify.models import EngineConfig, checkpoints, load_engine
from faceverify.models.card import card_path
from faceverify.models.engine_torch import TorchEngine
from faceverify.storage import open_location


@pytest.fixture
def weights(tiny, make_card, tmp_path):
    path = tmp_path / "tiny.safetensors"
    checkpoints.save(tiny.state_dict(), path)
    card_path(path).write_text(make_card().to_json())
    return path


def test_load_engine_takes_a_path(weights, tiny, make_card, faces):
    engine = load_engine(str(weights), EngineConfig(provider="cpu"))
    assert engine.card.sha256 is not None and dataclasses.replace(engine.card, sha256=None) == make_card()
    assert engine.provider.startswith("torch CPU, ")
    want = TorchEngine(tiny, make_card(), EngineConfig(provider="cpu")).embed(faces)
    np.testing.assert_array_equal(engine.embed(faces), want)


def test_load_engine_takes_an_address_of_object_storage(weights, bucket, cache_folder, faces):
    for path in (weights, card_path(weights)):
        open_location(f"s3://{bucket}/models/{path.name}").write_bytes(path.read_bytes())
    local = load_engine(str(weights), EngineConfig(provider="cpu"))
    remote = load_engine(f"s3://{bucket}/models/{weights.name}", EngineConfig(provider="cpu"))
    assert remote.card.digest == local.card.digest
    np.testing.assert_array_equal(remote.embed(faces), local.embed(faces))
    with pytest.raises(PlatformError, match=rf"s3://{bucket}/none\.onnx"):
        load_engine(f"s3://{bucket}/none.onnx")


def test_engine_must_fit_the_file(weights):
    with pytest.raises(UserError, match="engine is 'onnx'"):
        load_engine(str(weights), EngineConfig(engine="onnx"))


@pytest.mark.parametrize("model", ["nosuch", "nosuch.onnx", "/none/x.pt", ""])
def test_missing_models_are_named(model, cache_folder):
    with pytest.raises(UserError, match="There is no model"):
        load_engine(model)


def test_a_published_model_that_was_not_fetched_says_how(cache_folder):
    with pytest.raises(UserError, match=r"not in the cache.*fetch adaface_ir50_ms1mv2 --from FILE.*ms1mv2\.ckpt"):
        load_engine("adaface_ir50_ms1mv2")


def test_batch_size_must_be_positive(weights):
    with pytest.raises(UserError, match="batch_size is 0"):
        load_engine(str(weights), EngineConfig(batch_size=0, provider="cpu"))
