"""Strict loading of network weights from the containers in which they are published.

| container | top level | prefix | colour of the published AdaFace weights |
|---|---|---|---|
| `lightning`: original AdaFace .ckpt | tensors under `state_dict` | `model.` (`head.*` is ignored) | BGR |
| `cvlface`: CVLface model.pt, training checkpoints | flat | `net.` | RGB |
| `huggingface`: CVLface model.safetensors | flat | `model.net.` | RGB |
| `bare`: this project, and everything else | flat or under `state_dict` | none | says nothing |
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from faceverify.errors import UserError
from faceverify.models.card import ModelCard
from faceverify.models.iresnet import LAYOUTS, iresnet
from faceverify.models.mobilefacenet import MobileFaceNet
from faceverify.storage import private_draft

Container = Literal["lightning", "cvlface", "huggingface", "bare"]
PREFIXES: dict[Container, str] = {"huggingface": "model.net.", "cvlface": "net.", "lightning": "model."}
COLOURS: dict[Container, str] = {"lightning": "BGR", "cvlface": "RGB", "huggingface": "RGB"}
_PLAIN = (*LAYOUTS, "mobilefacenet")
# Endings of the names of architectures that have the branch of models/attention.py, of models/detail.py, in this order.
WITH_ATTENTION, WITH_DETAIL = "_attention", "_detail"
ARCHITECTURES = tuple(
    f"{name}{attention}{detail}"
    for detail in ("", WITH_DETAIL)
    for attention in ("", WITH_ATTENTION)
    for name in _PLAIN
)
SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors of a weights file under their bare names, and the container they came in."""

    tensors: Mapping[str, Tensor]
    container: Container
    path: Path


def build(architecture: str, dim: int) -> nn.Module:
    """Build a freshly initialised network by the name a model card gives it.

    Raises:
        UserError: if the name is unknown.
    """
    if architecture not in ARCHITECTURES:
        raise UserError(f"There is no architecture '{architecture}'; take one of {', '.join(ARCHITECTURES)}.")
    rest = architecture.removesuffix(WITH_DETAIL)
    plain = rest.removesuffix(WITH_ATTENTION)
    attention, detail = plain != rest, rest != architecture
    if plain == "mobilefacenet":
        return MobileFaceNet(dim, attention, detail)
    return iresnet(plain, dim, attention, detail)


def read(path: Path) -> Checkpoint:
    """Read the tensors of a weights file (.pt, .pth, .ckpt, .safetensors), never running code that is in it.

    Raises:
        UserError: the file cannot be read, or holds Python objects (the text says how to convert it).
    """
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{path} holds no state dict; give a file with the weights of a network.")
    strangers = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if strangers:
        raise UserError(f"{path} holds entries that are no tensors ({_few(strangers)}); give a state dict.")
    return _bare(content, path)


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} is damaged or no safetensors file ({error}); fetch it again.") from error


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} holds Python objects beside the tensors (or is damaged), and these are never run; convert it with "
            f"`python -m ray_jobs.models convert {path} {path.with_suffix('.safetensors').name}`."
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(f"{path} is damaged or no PyTorch checkpoint; fetch it again.") from error


def _bare(tensors: Mapping[str, Tensor], path: Path) -> Checkpoint:
    for container, prefix in PREFIXES.items():
        if any(key.startswith(prefix) for key in tensors):
            kept = {k.removeprefix(prefix): v for k, v in tensors.items() if not k.startswith("head.")}
            return Checkpoint(kept, container, path)
    return Checkpoint(dict(tensors), "bare", path)


def identify(checkpoint: Checkpoint) -> tuple[str, int] | None:
    """Return (architecture, dim) of the network whose keys and shapes are exactly these, None if there is none."""
    shapes = {key: tuple(value.shape) for key, value in checkpoint.tensors.items()}
    last = shapes.get("output_layer.3.bias") or shapes.get("conv3.bias")
    if not last:
        return None
    for name in ARCHITECTURES:
        with torch.device("meta"):
            state = build(name, last[0]).state_dict()
        if {key: tuple(value.shape) for key, value in state.items()} == shapes:
            return name, last[0]
    return None


def load(checkpoint: Checkpoint, card: ModelCard) -> nn.Module:
    """Build the card's network and load the tensors strictly, as float32 on the CPU, in eval mode.

    Raises:
        UserError: keys or shapes do not fit, or the container contradicts the card's colour order.
    """
    check(checkpoint, card)
    with torch.device("meta"):
        module = build(card.architecture, card.dim)
    floats = {key: value.float() if value.is_floating_point() else value for key, value in checkpoint.tensors.items()}
    module.load_state_dict(floats, strict=True, assign=True)
    return module.eval()


def check(checkpoint: Checkpoint, card: ModelCard) -> None:
    """Check that a checkpoint fits its card, without loading it into a network.

    Raises:
        UserError: keys or shapes do not fit (with the first few, and the architecture that would fit), or the
            container is one whose published colour order contradicts the card. Weights that were trained in the
            other order are to be saved under bare keys.
    """
    with torch.device("meta"):
        want = {key: tuple(value.shape) for key, value in build(card.architecture, card.dim).state_dict().items()}
    have = {key: tuple(value.shape) for key, value in checkpoint.tensors.items()}
    if have != want:
        raise UserError(_misfit(checkpoint, card, have, want))
    colour = COLOURS.get(checkpoint.container) if card.architecture in LAYOUTS else None
    if colour and colour != card.colour:
        raise UserError(
            f"{checkpoint.path} is in the {checkpoint.container} container, whose weights take {colour}, but its model "
            f"card says {card.colour}; write the card anew with --colour {colour}."
        )


def _misfit(checkpoint: Checkpoint, card: ModelCard, have: dict[str, Any], want: dict[str, Any]) -> str:
    faults = {
        "missing": [key for key in want if key not in have],
        "unexpected": [key for key in have if key not in want],
        "of another shape": [
            f"{key} {have[key]}, not {want[key]}" for key in want if have.get(key, want[key]) != want[key]
        ],
    }
    listing = "; ".join(f"{what}: {_few(keys)}" for what, keys in faults.items() if keys)
    fit = identify(checkpoint)
    advice = f"its tensors are those of {fit[0]} with {fit[1]} dimensions" if fit else _what_it_looks_like(have)
    return f"{checkpoint.path} does not fit the architecture {card.architecture} ({listing}); {advice}."


def _what_it_looks_like(keys: Mapping[str, Any]) -> str:
    if "features.running_mean" in keys and any(key.startswith("layer1.") for key in keys):
        return "it has the layout of arcface_torch, which is another network, not interchangeable with this one"
    if any(".se_block." in key for key in keys):
        return "it has squeeze-and-excitation blocks, which no network here has"
    units = {key.split(".")[1] for key in keys if key.startswith("body.")}
    if units:
        return f"it has {len(units)} body units (ir_18 has 8, ir_34 16, ir_50 24, ir_101 49)"
    return f"no network here has its keys; known are {', '.join(ARCHITECTURES)}"


def _few(names: list[str]) -> str:
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest


def save(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors; the file appears complete or not at all."""
    from safetensors.torch import save_file

    with private_draft(path) as partial:
        # Own memory for each: safetensors refuses tensors that share a storage.
        save_file({key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}, partial)


def convert(source: Path, target: Path) -> int:
    """Rewrite the tensors of any PyTorch checkpoint as safetensors under their own names; nothing in it is run.

    Returns:
        The number of tensors written.

    Raises:
        UserError: the source is no checkpoint, or the target is no .safetensors path.
    """
    from faceverify.models import unpickle

    if target.suffix != ".safetensors":
        raise UserError(f"'{target}' must end in .safetensors; choose another name for the output.")
    try:
        tensors = unpickle.read(source)
    except (unpickle.Refused, OSError) as error:
        raise UserError(f"{source} cannot be converted: {error}.") from error
    if not tensors:
        raise UserError(f"{source} cannot be converted: it holds no tensors.")
    save(tensors, target)
    return len(tensors)
