"""A forensic model gives the score that its card says, whatever way its network gives it."""

from pathlib import Path

import numpy as np
import pytest
from forensics.graphs import SIDE, card, roughness

from faceverify.errors import UserError
from faceverify.forensics.model import ForensicModel, scale_of
from faceverify.models.card import card_path
from faceverify.models.engine_config import EngineConfig


def pictures(count: int = 5) -> np.ndarray:
    rng = np.random.default_rng(0)
    rough = rng.integers(0, 256, (count, SIDE, SIDE, 3))
    return (128 + (rough - 128) * np.linspace(0, 0.4, count)[:, None, None, None]).astype(np.uint8)


def by_hand(crops: np.ndarray) -> np.ndarray:
    x = (crops.astype(np.float64) - 127.5) / 127.5
    return 40 * np.abs(np.diff(x, axis=2)).mean((1, 2, 3)) - 2


EYES = np.full(5, 48, np.float32)


@pytest.mark.parametrize("output", ["log_odds", "probability", "two_log_odds"])
def test_scores_are_log_odds_whatever_the_network_gives(tmp_path: Path, output: str) -> None:
    model = ForensicModel(roughness(tmp_path / "m.onnx", card(output=output)), EngineConfig())
    np.testing.assert_allclose(model.scores(pictures(), EYES), by_hand(pictures()), rtol=1e-3, atol=1e-3)


def test_an_output_that_is_large_for_real_photos_is_turned(tmp_path: Path) -> None:
    model = ForensicModel(roughness(tmp_path / "m.onnx", card(fake=0)), EngineConfig())
    np.testing.assert_allclose(model.scores(pictures(), EYES), -by_hand(pictures()), rtol=1e-3, atol=1e-3)


def test_the_scale_is_fed_where_the_card_asks(tmp_path: Path) -> None:
    model = ForensicModel(roughness(tmp_path / "m.onnx", card(takes_scale=True)), EngineConfig())
    eyes = np.array([20, 30, 40, 80, 160], np.float32)
    in_crop = 35.237 * SIDE / 112 / 1.3
    np.testing.assert_allclose(scale_of(eyes, model.crop), np.log2(in_crop / eyes), rtol=1e-4)
    want = by_hand(pictures()) + np.log2(in_crop / eyes)
    np.testing.assert_allclose(model.scores(pictures(), eyes), want, rtol=1e-3, atol=1e-3)


def test_batches_change_no_score(tmp_path: Path) -> None:
    path = roughness(tmp_path / "m.onnx", card())
    one, all_ = (ForensicModel(path, EngineConfig(batch_size=size)).scores(pictures(), EYES) for size in (1, 64))
    np.testing.assert_array_equal(one, all_)
    assert ForensicModel(path, EngineConfig()).scores(pictures()[:0], EYES[:0]).shape == (0,)


def test_a_card_beside_the_file_serves(tmp_path: Path) -> None:
    path = roughness(tmp_path / "m.onnx", card(), inside=False)
    with pytest.raises(UserError, match=r"no card of a forensic model.*m\.onnx\.card\.json"):
        ForensicModel(path, EngineConfig())
    card_path(path).write_text(card().to_json())
    assert ForensicModel(path, EngineConfig()).card.name == "roughness"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"takes_scale": True}, "takes_scale"),
        ({"output": "two_log_odds"}, r"gives \[5, 1\] for 5 photos"),
        ({"crop": "arcface128"}, "takes pictures of 64x64, but the crop of its card is 'arcface128'"),
    ],
)
def test_a_card_that_contradicts_the_graph_is_refused(tmp_path: Path, change: dict[str, object], match: str) -> None:
    path = roughness(tmp_path / "m.onnx", card(), inside=False)
    card_path(path).write_text(card(**change).to_json())
    with pytest.raises(UserError, match=match):
        ForensicModel(path, EngineConfig()).scores(pictures(), EYES)


def test_the_card_of_another_file_or_two_cards_are_refused(tmp_path: Path) -> None:
    path = roughness(tmp_path / "m.onnx", card())
    card_path(path).write_text(card(sha256="0" * 64).to_json())
    with pytest.raises(UserError, match="of another file"):
        ForensicModel(path, EngineConfig())
    card_path(path).write_text(card(name="other").to_json())
    with pytest.raises(UserError, match="differs from the one inside"):
        ForensicModel(path, EngineConfig())
    card_path(path).write_text('{"kind": "forensic"}')
    with pytest.raises(UserError, match=r"no valid card of a forensic model: name: .*crop: "):
        ForensicModel(path, EngineConfig())


def test_crops_of_another_size_are_refused(tmp_path: Path) -> None:
    model = ForensicModel(roughness(tmp_path / "m.onnx", card()), EngineConfig())
    with pytest.raises(UserError, match="takes uint8 crops of 64x64x3, not uint8 of 32x32x3"):
        model.scores(np.zeros((1, 32, 32, 3), np.uint8), EYES[:1])
