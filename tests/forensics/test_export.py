"""Exported forensic networks give PyTorch's scores; what does not is not kept."""

from pathlib import Path

import numpy as np
import pytest
import torch

from faceverify.errors import PlatformError
from faceverify.forensics import export as exporting
from faceverify.forensics.export import export, scores_of
from faceverify.forensics.model import ForensicModel
from faceverify.forensics.network import SIDE, ForensicNetwork
from faceverify.forensics.task import fresh_card
from faceverify.models.engine_config import EngineConfig

FACES = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
EYES = np.array([40, 62, 100], np.float32)


@pytest.fixture(scope="module")
def network() -> ForensicNetwork:
    torch.manual_seed(0)
    network = ForensicNetwork().train()
    with torch.no_grad():  # statistics of BatchNorm that are not those of a fresh network
        for _ in range(3):
            network(torch.rand(4, 3, SIDE, SIDE) * 2 - 1, torch.randn(4, 1))
    return network.eval()


@pytest.mark.parametrize("half", [False, True])
def test_a_file_gives_the_scores_of_pytorch(network: ForensicNetwork, tmp_path: Path, half: bool) -> None:
    card, worst = export(network, fresh_card(True), tmp_path / "model.onnx", FACES, EYES, half)
    model = ForensicModel(tmp_path / "model.onnx", EngineConfig(provider="cpu"))
    truth = scores_of(network, fresh_card(True), FACES, EYES)
    np.testing.assert_allclose(model.scores(FACES, EYES), truth, atol=0.1 if half else 1e-3)
    assert model.card == card and card.sha256 and worst <= exporting.TOLERANCE[half]
    assert np.ptp(truth) > 1e-3  # it is not one number
    assert all(value.dtype == torch.float32 for value in network.state_dict().values() if value.is_floating_point())


def test_what_deviates_is_not_kept(network: ForensicNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "scores_of", lambda *given: scores_of(*given) + 0.5)
    with pytest.raises(PlatformError, match=r"model\.onnx gives other scores than PyTorch \(they differ by 5\.0e-01"):
        export(network, fresh_card(True), tmp_path / "model.onnx", FACES, EYES)
    assert not list(tmp_path.iterdir())
