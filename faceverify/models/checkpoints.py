"""Strict loading of network weights from the files in which they are published.

`faceverify.models.unwrap` finds the tensors in whatever was put around them; what the form of a published file says of
the network in it is in `faceverify.models.containers`.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from faceverify.errors import UserError
from faceverify.models import denormals, keras_file, unpickle
from faceverify.models.architectures import ARCHITECTURES, LASTS, build, input_size, shapes_of
from faceverify.models.card import ModelCard, twin
from faceverify.models.containers import container_of, contradiction
from faceverify.models.safetensors_file import load_safetensors
from faceverify.models.unwrap import Ambiguous, Fit, Misfit, as_floats, few, fit, say, sets_of_tensors, tensors_at
from faceverify.storage import private_draft

__all__ = ["WeightsFile", "build", "candidates", "check", "convert", "identify", "load", "read", "save"]


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """What a weights file holds: dictionaries with tensors in them, under the names that they have there."""

    content: Mapping[str, Any]
    path: Path


def read(path: Path) -> WeightsFile:
    """Read a weights file (.pt, .pth, .ckpt, .safetensors, .h5), never running code that is in it.

    Memory: twice the size of the file while it is read, and some 300 MB for what describes the tensors.

    Raises:
        UserError: the file cannot be read, or holds Python objects (the text says how to convert it), or no tensors.
    """
    readers = {".safetensors": _read_safetensors, ".h5": keras_file.read}
    content = readers.get(path.suffix.lower(), _read_torch)(path)
    if not sets_of_tensors(content):
        raise UserError(f"{path} holds no state dict; give a file with the weights of a network.")
    return WeightsFile(content, path)


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    try:
        return load_safetensors(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path} is damaged or no safetensors file ({error}); fetch it again.") from error


def _read_torch(path: Path) -> Any:
    try:
        found = unpickle.read_bytes(path.read_bytes())
    except unpickle.Refused as error:
        raise UserError(f"{path} is damaged or no PyTorch checkpoint ({error}); fetch it again.") from error
    if found.foreign:
        raise UserError(
            f"{path} holds Python objects beside the tensors ({few(list(found.foreign))}), and these are never run; "
            f"convert it with `faceverify models convert {path} {path.with_suffix('.safetensors').name}`."
        )
    return found.content


def identify(checkpoint: WeightsFile) -> tuple[str, int] | None:
    """Return (architecture, dim) of the network whose keys and shapes are in the file, None if there is none.

    Raises:
        UserError: there are several such sets of tensors, or two networks have the same ones (ArcFace and MagFace).
    """
    found = candidates(checkpoint)
    if len(found) > 1:
        raise UserError(
            f"{checkpoint.path} fits {' and '.join(name for name, _ in found)}, which have the same tensors but are "
            "fed differently; say which it is with --architecture."
        )
    return found[0] if found else None


def candidates(checkpoint: WeightsFile) -> list[tuple[str, int]]:
    """All (architecture, dim) whose keys and shapes are in the file; two of networks with the same tensors.

    Raises:
        UserError: there are several such sets of tensors.
    """
    sets = sets_of_tensors(checkpoint.content).values()
    named = [pair for found in sets for pair in found.items()]
    most = max(map(len, sets), default=0)
    for last, names in LASTS.items():
        dims = {len(value) for name, value in named if name.endswith(last) and value.dim()}
        for dim, name in itertools.product(sorted(dims)[:2], names):
            if sum(not key.endswith("num_batches_tracked") for key in shapes_of(name, dim)) > most:
                continue
            try:
                found = _fit(checkpoint, name, dim)
            except Misfit:
                continue
            container = container_of(found, name)
            both = [other for other in (name, twin(name)) if other]
            return [(one, dim) for one in both if not container or one.startswith(container.kind)]
    return []


def load(checkpoint: WeightsFile, card: ModelCard) -> nn.Module:
    """Build the card's network and load the tensors strictly, as float32 on the CPU, in eval mode.

    Raises:
        UserError: keys or shapes do not fit, or the container contradicts the card's colour order.
    """
    found = check(checkpoint, card)
    with torch.device("meta"):
        module = build(card.architecture, card.dim)
    try:
        tensors = as_floats(found)
    except Misfit as error:
        raise UserError(f"{checkpoint.path} does not fit the architecture {card.architecture} ({error}).") from None
    whole = {key: torch.from_numpy(denormals.flushed(value.numpy())) for key, value in tensors.items()}
    module.load_state_dict(whole, strict=True, assign=True)
    say(found.taken_off)
    return module.eval()


def check(checkpoint: WeightsFile, card: ModelCard) -> Fit:
    """Find the tensors of a card's network in a checkpoint, without loading them into one.

    Raises:
        UserError: keys or shapes do not fit (with the first few, and the architecture that would fit), several sets
            of tensors do, the network takes pictures of another size than the card says, or the container is one whose
            published weights are of another network, or are fed otherwise, than the card says. Weights that were
            trained otherwise are to be saved under bare keys.
    """
    try:
        found = _fit(checkpoint, card.architecture, card.dim)
    except Misfit as error:
        raise UserError(_misfit(checkpoint, card, error)) from None
    if fault := contradiction(found, card):
        raise UserError(f"{checkpoint.path} {fault}.")
    size = input_size(card.architecture)
    if card.input_size != size:
        raise UserError(
            f"input_size is {card.input_size[0]} {card.input_size[1]} on the model card of {checkpoint.path}, but "
            f"{card.architecture} takes pictures of {size[0]}x{size[1]}; write the card again with --input-size "
            f"{size[0]} {size[1]}."
        )
    return found


def _fit(checkpoint: WeightsFile, architecture: str, dim: int) -> Fit:
    want = shapes_of(architecture, dim)
    try:
        return fit(checkpoint.content, want, dim)
    except Ambiguous as error:
        raise UserError(
            f"{checkpoint.path} does not say which network is meant ({error}); choose one with `faceverify "
            f"models convert {checkpoint.path} {checkpoint.path.stem}_chosen.safetensors --at PLACE`."
        ) from None


def _misfit(checkpoint: WeightsFile, card: ModelCard, error: Misfit) -> str:
    others = candidates(checkpoint)
    if others:
        names = " or ".join(name for name, _ in others)
        advice = f"its tensors are those of {names} with {others[0][1]} dimensions"
    else:
        every = sets_of_tensors(checkpoint.content).values()
        advice = _what_it_looks_like(max(every, key=len, default={}))
    return f"{checkpoint.path} does not fit the architecture {card.architecture} ({error}); {advice}."


def _what_it_looks_like(keys: Mapping[str, Any]) -> str:
    units = {key.split(".")[1] for key in keys if key.startswith("body.")}
    if units:
        return f"it has {len(units)} body units (ir_18 has 8, ir_34 16, ir_50 24, ir_101 49)"
    stages = {key.rpartition("layer3.")[2].split(".")[0] for key in keys if "layer3." in key}
    if stages and any("downsample." in key for key in keys):
        return f"it has {len(stages)} blocks in layer3 (arcface_r18 has 2, r34 6, r50 14, r100 30, r200 60)"
    return f"no network here has its keys; known are {', '.join(ARCHITECTURES)}"


def save(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors; the file appears complete or not at all."""
    from safetensors.torch import save_file

    with private_draft(path) as partial:
        # Own memory for each: safetensors refuses tensors that share a storage.
        save_file({key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}, partial)


def convert(source: Path, target: Path, at: str = "") -> int:
    """Rewrite the tensors of any PyTorch checkpoint, or of a GhostFaceNet's .h5, as safetensors; nothing in it is run.

    Args:
        source: the checkpoint, or the .h5.
        target: the .safetensors file to write.
        at: where in it the tensors lie: keys and a prefix that is taken off the names, joined by '/' ("ema",
            "state_dict/teacher."). Empty: all under `state_dict` if there is one, else under the only key that has
            any, with their own names.

    Returns:
        The number of tensors written.

    Raises:
        UserError: the source is no checkpoint, there are no tensors at `at`, there are several places, or the target
            is no .safetensors path.
    """
    if target.suffix != ".safetensors":
        raise UserError(f"'{target}' must end in .safetensors; choose another name for the output.")
    try:
        size = source.stat().st_size
        is_keras = source.suffix.lower() == ".h5"
        content = keras_file.read(source) if is_keras else unpickle.read_bytes(source.read_bytes()).content
    except (unpickle.Refused, OSError) as error:
        raise UserError(f"{source} cannot be converted: {error}.") from error
    places = sets_of_tensors(content)
    tensors = tensors_at(content, at) if at else places.get("state_dict") or next(iter(places.values()), {})
    if not tensors or not (at or "state_dict" in places or len(places) == 1):
        there = (
            f"it holds tensors at {few([place or 'the top' for place in places])}" if places else "it holds no tensors"
        )
        raise UserError(f"{source} cannot be converted: {there}{'; choose one with --at' if places else ''}.")
    if sum(value.nbytes for value in tensors.values()) > 2 * size:
        raise UserError(f"{source} cannot be converted: its tensors share memory, and would take far more than it.")
    save(tensors, target)
    return len(tensors)
