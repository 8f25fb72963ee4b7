"""A forensic network as an ONNX file, kept only after ONNX Runtime has given the same scores as PyTorch."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from faceverify.errors import PlatformError
from faceverify.forensics.card import METADATA_KEY, ForensicCard
from faceverify.forensics.model import ForensicModel
from faceverify.forensics.network import SIDE, ForensicNetwork
from faceverify.models.engine_config import EngineConfig
from faceverify.models.engines import feed
from faceverify.models.export import exported_program
from faceverify.models.files import sha256_of
from faceverify.storage import private_draft

# Log-odds, of scores from about -6 to 6. Float32: the order of sums, 6e-4 of a trained network over 128 crops.
# Float16 rounds weights and every step but the fixed filters: 9e-3 over the same; a lost layer is out by whole numbers.
TOLERANCE = {False: 5e-3, True: 0.1}
HALF_NOTE = "Weights and arithmetic are float16 but for the fixed filters; inputs and output are float32."


class _Half(nn.Module):
    """The network in float16, its fixed filters in float32; inputs and output are float32."""

    def __init__(self, network: ForensicNetwork) -> None:
        super().__init__()
        self.network = network.half()
        if network.energies is not None:
            network.energies.float()

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        maps = [self.network.stem(x.half())]
        if self.network.energies is not None:
            maps.append(self.network.energies(x).half())
        return self.network.answer(torch.cat(maps, 1), scale.half())[0].float()


def export(
    network: ForensicNetwork, card: ForensicCard, path: Path, faces: np.ndarray, eyes: np.ndarray, half: bool = False
) -> tuple[ForensicCard, float]:
    """Write a network as ONNX, its card in the metadata.

    The graph takes `input` [N, 3, 256, 256] float32 RGB in -1..1 and `scale` [N, 1], and gives `score` [N, 1].

    Args:
        network: the network; it is left as it is.
        card: its card.
        path: the file to write.
        faces, eyes: crops [N, 256, 256, 3] uint8 RGB of real photos, and their eye distances [N], to compare scores on.
        half: compute in float16.

    Returns:
        The card of the file, and the largest difference of scores.

    Raises:
        PlatformError: it is larger than TOLERANCE; nothing is kept then.
    """
    plain = copy.deepcopy(network).cpu().float().eval()
    truth = scores_of(plain, card, faces, eyes)
    note = f"{card.notes}\n{HALF_NOTE}".strip() if half else card.notes
    inside = replace(card, sha256=None, notes=note)
    module = _Half(copy.deepcopy(plain)) if half else plain
    example = torch.zeros(2, 3, SIDE, SIDE), torch.zeros(2, 1)
    with private_draft(path) as draft:
        model = exported_program(module.eval(), example, ["input", "scale"], ["score"])
        onnx.helper.set_model_props(model, {METADATA_KEY: inside.to_json()})
        onnx.save(model, draft)
        found = ForensicModel(draft, EngineConfig(provider="cpu")).scores(faces, eyes)
        worst = float(np.abs(found - truth).max()) if len(faces) else 0.0
        if not worst <= TOLERANCE[half]:
            raise PlatformError(
                f"{path.name} gives other scores than PyTorch (they differ by {worst:.1e}; allowed are "
                f"{TOLERANCE[half]:.0e}); nothing of it was kept."
            )
    return replace(inside, sha256=sha256_of(path)), worst


def scores_of(network: ForensicNetwork, card: ForensicCard, faces: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    """Scores [N] by PyTorch of crops [N, 256, 256, 3] uint8 RGB with eye distances [N], on the CPU in float32."""
    from faceverify.forensics.model import LARGEST, scale_of

    scale = torch.from_numpy(scale_of(eyes, card.shown)[:, None])
    with torch.inference_mode():
        parts = [
            network(torch.from_numpy(feed(faces[at : at + 16], card.colour, card.mean, card.std)), scale[at : at + 16])
            for at in range(0, len(faces), 16)
        ]
    scores = torch.cat(parts)[:, 0].numpy() if parts else np.zeros(0, np.float32)
    return np.clip(scores, -LARGEST, LARGEST)
