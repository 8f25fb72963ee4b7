"""Checkpoints in a folder, local or in S3: written as a whole, the best and the last kept, a leaderboard beside them.

    checkpoints/step-00000100/model.safetensors              the network; with its card any job takes it as a model
                              model.safetensors.card.json
                              state.pt                        optimiser, schedule, scaler, objective, position
                              done.json                       written last: the step and what validation found
    leaderboard.csv                                           every validation, best EER first

Nothing in a checkpoint depends on how many workers wrote it. `state.pt` holds tensors and numbers only and is read with
`weights_only=True`.
"""

import csv
import io
import json
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from faceverify.errors import BadData, UserError
from faceverify.models.card import ModelCard
from faceverify.models.engine_torch import load_module
from faceverify.models.folders import DONE, WEIGHTS
from faceverify.spreadsheet import escaped_cell
from faceverify.storage import Location

CARD, STATE = "model.safetensors.card.json", "state.pt"
LEADERBOARD = "leaderboard.csv"
COLUMNS = ("checkpoint", "step", "epoch", "eer", "eer_low", "eer_high", "eer_real", "accuracy", "deepfake_accepted")


@dataclass(frozen=True)
class Saved:
    """One complete checkpoint."""

    place: Location
    step: int
    found: dict[str, Any]


class Keeper:
    """Writes checkpoints in a thread of its own, one at a time, and deletes those that are no longer among the best.

    Args:
        out: folder of the run.
        keep: how many to keep for the EER, and for the accuracy.
    """

    def __init__(self, out: Location, keep: int) -> None:
        self._out, self._folder, self._keep = out, out / "checkpoints", keep
        self._writer = ThreadPoolExecutor(1, "checkpoints")
        self._pending: Future[None] | None = None

    def saved(self) -> list[Saved]:
        """The complete checkpoints by step."""
        done = [entry.path for entry in self._folder.files() if entry.path.endswith(f"/{DONE}")]
        return sorted((self._read(path.split("/")[0]) for path in done), key=lambda one: one.step)

    def _read(self, name: str) -> Saved:
        facts = json.loads((self._folder / name / DONE).read_bytes())
        return Saved(self._folder / name, facts["step"], facts)

    def save(
        self, step: int, network: nn.Module, card: ModelCard, state: Mapping[str, Any], found: dict[str, Any]
    ) -> None:
        """Begin to write a checkpoint; raises what went wrong with the one before.

        Args:
            step: steps done.
            network: what was learnt.
            card: of the network.
            state: what `load_state` gives back.
            found: what validation found; empty if there was none.
        """
        self.wait()
        weights = save_tensors({name: own_memory(value) for name, value in network.state_dict().items()})
        stream = io.BytesIO()
        torch.save(dict(state), stream)
        facts = {"step": step, **found}
        self._pending = self._writer.submit(self._write, facts, weights, card, stream.getvalue())

    def wait(self) -> None:
        """Until what was begun is on disk.

        Raises:
            OSError: it could not be written.
        """
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def _write(self, facts: dict[str, Any], weights: bytes, card: ModelCard, state: bytes) -> None:
        place = self._folder / f"step-{facts['step']:08d}"
        for name, data in ((WEIGHTS, weights), (CARD, replace(card, sha256=None).to_json().encode()), (STATE, state)):
            (place / name).write_bytes(data)
        (place / DONE).write_bytes((json.dumps(facts, indent=1) + "\n").encode())
        self._tidy()

    def _tidy(self) -> None:
        saved = self.saved()
        judged = [one for one in saved if "eer" in one.found]
        best = sorted(judged, key=lambda one: (one.found["eer"], one.step))[: self._keep]
        best += sorted(judged, key=lambda one: (-one.found["accuracy"], one.step))[: self._keep]
        kept = {one.step for one in best} | {saved[-1].step}
        for one in saved:
            if one.step not in kept:
                (one.place / DONE).delete()  # first: what is half deleted must not look complete
                one.place.delete()

    def write_leaderboard(self, validations: list[dict[str, Any]]) -> None:
        """Every validation, best EER first; `checkpoint` is empty where it was not kept."""
        self.wait()
        names = {one.step: one.place.name for one in self.saved()}
        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        for row in sorted(validations, key=lambda row: (row["eer"], row["step"])):
            line = {"checkpoint": names.get(row["step"], ""), **row}
            table.writerow({name: escaped_cell(value) for name, value in line.items()})
        (self._out / LEADERBOARD).write_bytes(text.getvalue().encode())


def load_state(place: Location) -> dict[str, Any]:
    """What was given to `save` as the state.

    Raises:
        UserError: the file is damaged.
    """
    try:
        return torch.load(io.BytesIO((place / STATE).read_bytes()), map_location="cpu", weights_only=True)
    except (BadData, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(f"{place / STATE} is damaged ({error}); delete that folder to go on from another.") from None


def load_network(place: Location, network: nn.Module) -> None:
    """Fill a network with the weights of a checkpoint."""
    network.load_state_dict(load_tensors((place / WEIGHTS).read_bytes()), strict=True)


def read_network(place: Location) -> tuple[nn.Module, ModelCard]:
    """Build the network of a checkpoint: float32 on the CPU, in evaluation mode; and its card.

    Raises:
        UserError: the folder holds no complete checkpoint, or weights that do not fit its card.
    """
    if not (place / DONE).is_file():
        raise UserError(f"{place} holds no complete checkpoint (no {DONE}).")
    return load_module(f"{place}/{WEIGHTS}")


def own_memory(value: Tensor) -> Tensor:
    """A copy on the CPU that nothing else shares."""
    return value.detach().to("cpu", copy=True).contiguous()
