"""Taking a trained network away: from a checkpoint, from the best one of a training, or from any model by its name."""

import json
from dataclasses import dataclass
from typing import Any

from torch import nn

from faceverify.errors import UserError
from faceverify.models import registry
from faceverify.models.card import ModelCard
from faceverify.models.engine_torch import load_module
from faceverify.storage import Location, check_readable, open_location
from faceverify.training.keeping import DONE, LEADERBOARD, WEIGHTS
from faceverify.training.starting import best_of


@dataclass(frozen=True)
class Taken:
    """A network (float32, on the CPU, in evaluation mode), its card, and which one it is, for people."""

    network: nn.Module
    card: ModelCard
    said: str


def take(checkpoint: str) -> Taken:
    """Load the network that a user names.

    Args:
        checkpoint: a checkpoint's folder, the folder of a training (of its checkpoints the one of the best EER, which
            is the first named one of its leaderboard), a weights file, or a registered name.

    Raises:
        UserError: there is no such thing, or it is no network: no card, weights that do not fit it, an ONNX graph.
        PlatformError: storage refuses.
    """
    folder = _folder(checkpoint)
    if folder is None:
        return Taken(*load_module(checkpoint), checkpoint)
    place = best_of(folder.uri)
    if place is None:
        raise UserError(
            f"checkpoint: '{folder}' holds neither {WEIGHTS} nor checkpoints of a training; give a checkpoint, the "
            "output of train, or a weights file."
        )
    facts = json.loads((place / DONE).read_bytes()) if (place / DONE).is_file() else {}
    how = _judged(facts) + (f", the best of {folder / LEADERBOARD}" if place != folder else "")
    return Taken(*load_module(f"{place}/{WEIGHTS}"), f"{place}{how}")


def _folder(checkpoint: str) -> Location | None:
    """The folder that is named, None if it is none."""
    if checkpoint in registry.entries():
        return None
    place = open_location(checkpoint)
    if not place.is_local:
        check_readable(place, "checkpoint")
    return place if place.is_dir() else None


def _judged(facts: dict[str, Any]) -> str:
    step = f", step {facts['step']:,}" if "step" in facts else ""
    return step + (f", EER {facts['eer']:.2%}" if "eer" in facts else "")
