"""Checkpoints in a folder, local or in S3: written atomically, the best and the last kept, with a leaderboard.

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
from faceverify.models import registry
from faceverify.models.card import ModelCard
from faceverify.models.files import SUFFIXES
from faceverify.models.folders import DONE, WEIGHTS, checkpoint_in
from faceverify.models.loading import load_module
from faceverify.spreadsheet import escaped_cell
from faceverify.storage import Location, check_readable, open_location

CARD, STATE = "model.safetensors.card.json", "state.pt"
LEADERBOARD = "leaderboard.csv"
COLUMNS = ("checkpoint", "step", "epoch", "eer", "eer_low", "eer_high", "eer_real", "accuracy", "deepfake_accepted")


@dataclass(frozen=True)
class Checkpoint:
    """One complete checkpoint; `facts` are its step and the results of its validation, if there was one."""

    folder: Location
    step: int
    facts: dict[str, Any]


@dataclass(frozen=True)
class PendingCheckpoint:
    """A checkpoint that is being written: its folder, and a future that ends when it is complete."""

    folder: Location
    written: Future[None]


class CheckpointManager:
    """Writes checkpoints in a background thread, one at a time, and deletes those that are no longer among the best.

    Args:
        out: folder of the run.
        keep: number of checkpoints to keep for their EER, and as many for their accuracy.
    """

    def __init__(self, out: Location, keep: int) -> None:
        self._out, self._folder, self._keep = out, out / "checkpoints", keep
        self._writer = ThreadPoolExecutor(1, "checkpoints")
        self._pending: PendingCheckpoint | None = None

    def complete(self) -> list[Checkpoint]:
        """All complete checkpoints, ordered by step."""
        done = [entry.path for entry in self._folder.files() if entry.path.endswith(f"/{DONE}")]
        return sorted((self._read(path.split("/")[0]) for path in done), key=lambda one: one.step)

    def _read(self, name: str) -> Checkpoint:
        facts = json.loads((self._folder / name / DONE).read_bytes())
        return Checkpoint(self._folder / name, facts["step"], facts)

    def save(
        self, step: int, network: nn.Module, card: ModelCard, state: Mapping[str, Any], results: dict[str, Any]
    ) -> PendingCheckpoint:
        """Begin to write a checkpoint; returns once the state is copied.

        Args:
            step: number of steps done.
            network: the network whose weights are written.
            card: the network's card.
            state: tensors and numbers for `load_state`.
            results: results of a validation at this step; empty if there was none.

        Raises:
            OSError: the checkpoint before could not be written.
        """
        self.wait()
        weights = save_tensors({name: own_memory(value) for name, value in network.state_dict().items()})
        stream = io.BytesIO()
        torch.save(dict(state), stream)
        folder, facts = self._folder / f"step-{step:08d}", {"step": step, **results}
        written = self._writer.submit(self._write, folder, facts, weights, card, stream.getvalue())
        self._pending = PendingCheckpoint(folder, written)
        return self._pending

    def wait(self) -> None:
        """Wait until the checkpoint being written is on disk.

        Raises:
            OSError: it could not be written.
        """
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.written.result()

    def _write(self, folder: Location, facts: dict[str, Any], weights: bytes, card: ModelCard, state: bytes) -> None:
        for name, data in ((WEIGHTS, weights), (CARD, replace(card, sha256=None).to_json().encode()), (STATE, state)):
            (folder / name).write_bytes(data)
        (folder / DONE).write_bytes((json.dumps(facts, indent=1) + "\n").encode())
        self._delete_superseded()

    def _delete_superseded(self) -> None:
        complete = self.complete()
        judged = [one for one in complete if "eer" in one.facts]
        best = sorted(judged, key=lambda one: (one.facts["eer"], one.step))[: self._keep]
        best += sorted(judged, key=lambda one: (-one.facts["accuracy"], one.step))[: self._keep]
        kept = {one.step for one in best} | {complete[-1].step}
        for one in complete:
            if one.step not in kept:
                (one.folder / DONE).delete()  # first: what is half deleted must not look complete
                one.folder.delete()

    def write_leaderboard(self, validations: list[dict[str, Any]]) -> None:
        """Write leaderboard.csv: every validation, best EER first; `checkpoint` is empty where it was not kept."""
        self.wait()
        names = {one.step: one.folder.name for one in self.complete()}
        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        for row in sorted(validations, key=lambda row: (row["eer"], row["step"])):
            line = {"checkpoint": names.get(row["step"], ""), **row}
            table.writerow({name: escaped_cell(value) for name, value in line.items()})
        (self._out / LEADERBOARD).write_bytes(text.getvalue().encode())


def load_state(folder: Location) -> dict[str, Any]:
    """Read the state that was given to `CheckpointManager.save`.

    Raises:
        UserError: the file is damaged.
    """
    try:
        return torch.load(io.BytesIO((folder / STATE).read_bytes()), map_location="cpu", weights_only=True)
    except (BadData, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(f"{folder / STATE} is damaged ({error}); delete that folder to go on from another.") from None


def load_network(folder: Location, network: nn.Module) -> None:
    """Load the weights of a checkpoint into a network of the same architecture."""
    network.load_state_dict(load_tensors((folder / WEIGHTS).read_bytes()), strict=True)


def read_network(folder: Location) -> tuple[nn.Module, ModelCard]:
    """Build the network of a checkpoint (float32, on the CPU, in evaluation mode) and read its card.

    Raises:
        UserError: the folder holds no complete checkpoint, or weights that do not fit its card.
    """
    if not (folder / DONE).is_file():
        raise UserError(f"{folder} holds no complete checkpoint (no {DONE}).")
    return load_module(f"{folder}/{WEIGHTS}")


def own_memory(value: Tensor) -> Tensor:
    """A contiguous copy on the CPU that shares no memory with `value`."""
    return value.detach().to("cpu", copy=True).contiguous()


@dataclass(frozen=True)
class LoadedNetwork:
    """A network (float32, on the CPU, in evaluation mode), its card, and a description of its origin for people."""

    network: nn.Module
    card: ModelCard
    description: str


def load_trained(checkpoint: str) -> LoadedNetwork:
    """Load the network that a user names.

    Args:
        checkpoint: a checkpoint's folder, the folder of a training (of its checkpoints the one of the best EER, which
            is the first named one of its leaderboard), a weights file, or a registered name.

    Raises:
        UserError: nothing has that name, or it is no network: no card, weights that do not fit it, an ONNX graph.
        PlatformError: the storage cannot be reached.
    """
    folder = _named_folder(checkpoint)
    if folder is None:
        return LoadedNetwork(*load_module(checkpoint), checkpoint)
    best = best_checkpoint(folder.uri)
    if best is None:
        raise UserError(
            f"checkpoint: '{folder}' holds neither {WEIGHTS} nor checkpoints of a training; give a checkpoint, the "
            "output of train, or a weights file."
        )
    facts = json.loads((best / DONE).read_bytes()) if (best / DONE).is_file() else {}
    origin = _described(facts) + (f", the best of {folder / LEADERBOARD}" if best != folder else "")
    return LoadedNetwork(*load_module(f"{best}/{WEIGHTS}"), f"{best}{origin}")


def _named_folder(checkpoint: str) -> Location | None:
    """The folder that `checkpoint` names; None if it names a file or a registered model."""
    if checkpoint in registry.entries():
        return None
    place = open_location(checkpoint)
    if not place.is_local:
        check_readable(place, "checkpoint")
    return place if place.is_dir() else None


def _described(facts: dict[str, Any]) -> str:
    step = f", step {facts['step']:,}" if "step" in facts else ""
    return step + (f", EER {facts['eer']:.2%}" if "eer" in facts else "")


def best_checkpoint(start: str) -> Location | None:
    """The checkpoint that `start` names: itself, or the best of a training, a search or a pipeline; None if neither.

    Raises:
        UserError: a training's folder without a judged checkpoint.
    """
    if start.endswith(SUFFIXES) or start in registry.entries():
        return None
    return checkpoint_in(open_location(start))
