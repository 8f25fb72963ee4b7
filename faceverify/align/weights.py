"""Read a method's weights and refuse what cannot be the right ones; nothing that is written in a file is ever run."""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from faceverify.align.cards import card
from faceverify.align.interface import AlignConfig
from faceverify.errors import BadData, UserError
from faceverify.models import cache, registry
from faceverify.storage import Location, open_location

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def place_of(config: AlignConfig) -> Location:
    """Where `config.weights` lie: a name is looked for in the cache, and no weights are the method's own.

    Raises:
        UserError: a published network that is not in the cache, or is none of this method.
    """
    name = name_of(config)
    return open_location(str(cache.locate(name)) if name else config.weights)


def name_of(config: AlignConfig) -> str:
    """The published detector that `config.weights` names; empty if it is a path or the method reads no weights.

    Raises:
        UserError: it is the name of another method's detector, or of a recogniser.
    """
    name = config.weights or registry.default_detector(config.method)
    if name not in registry.entries() or not registry.default_detector(config.method):
        return ""
    entry = registry.get(name)
    if entry.kind != "detector":
        taken_by = "`--model` takes" if entry.kind == "recogniser" else "the job fakes takes"
        raise UserError(f"align.weights {name!r} is a {entry.kind}, which {taken_by}: give a detector.")
    if entry.method != config.method:
        raise UserError(f"align.weights {name!r} is of {entry.method}: set align.method to {entry.method}.")
    return name


def read_weights(config: AlignConfig) -> tuple[bytes, str]:
    """The bytes of the one file `config.weights` and their SHA-256 in hexadecimal.

    Raises:
        UserError: it is not there, or is known to belong to another method.
    """
    location = place_of(config)
    if not location.is_file():
        raise UserError(
            f"align.weights {config.weights!r} is not a file, nor a name of `faceverify models list`: "
            f"{config.method} needs {_needs(config)}."
        )
    return read_file(config, location)


def read_graph(config: AlignConfig) -> tuple[bytes, str]:
    """Like `read_weights`, of a method whose file is an ONNX graph: one that is not published is tried first.

    Raises:
        UserError: also if it cannot be loaded and run within bounds.
    """
    from faceverify.models import onnx_file, trial

    data, digest = read_weights(config)
    if not registry.method_of(digest) and config.method in ("scrfd", "yunet"):
        try:
            onnx_file.parse(data)
            trial.require_tried(config.method, data, digest)
        except ValueError as error:
            raise not_weights_of(config, str(error)) from error
    return data, digest


def read_file(config: AlignConfig, location: Location) -> tuple[bytes, str]:
    """The bytes of one file of the method, and their SHA-256 in hexadecimal.

    Raises:
        UserError: it cannot be read, is known to belong to another method, or is not what was fetched under its name.
    """
    try:
        data = location.read_bytes()
    except BadData as fault:
        raise UserError(f"align.weights {location} cannot be read ({fault}): fix that or copy it.") from None
    digest = hashlib.sha256(data).hexdigest()
    if (name := name_of(config)) and digest not in cache.expected(name).values():
        raise UserError(
            f"{location} is not what was fetched as {name}: it was replaced or is damaged; run `{cache.FETCH} {name}`."
        )
    owner = registry.method_of(digest) or config.method
    if owner != config.method:
        raise UserError(
            f"align.weights {str(location)!r} holds the weights of {owner}: give {_needs(config)} of {config.method}, "
            f"or set align.method to {owner}."
        )
    return data, digest


def state_dict(data: bytes) -> dict[str, "Tensor"]:
    """The tensors of a PyTorch checkpoint or a safetensors file under their bare names, on the CPU.

    Raises:
        ValueError: the bytes are neither, or hold several sets of tensors.
    """
    from faceverify.models import unpickle
    from faceverify.models.safetensors_file import load_safetensors
    from faceverify.models.unwrap import bare

    # A safetensors file begins with the length of its header, 8 bytes, and the header, which is JSON.
    return bare(load_safetensors(data) if data[8:9] == b"{" else unpickle.read_bytes(data).content)


def load_strictly(network: "nn.Module", tensors: Mapping[str, "Tensor"], device: "torch.device") -> "nn.Module":
    """Load all tensors, as float32 on `device`, in evaluation mode, frozen; returns the network.

    Raises:
        ValueError: names or shapes are not those of the network; the text names the first of them.
    """
    from faceverify.models.unwrap import as_floats, fit

    want = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    network.load_state_dict(as_floats(fit(tensors, want, None)), strict=True)
    return network.requires_grad_(False).eval().to(device)


def not_weights_of(config: AlignConfig, why: str = "") -> UserError:
    """The error for a file that opens but is not a network of this method."""
    because = f" ({why})" if why else ""
    named = f"align.weights {config.weights!r}"
    return UserError(f"{named} is not a {config.method} network{because}: give {_needs(config)} as published.")


def _needs(config: AlignConfig) -> str:
    return card(config.method).weights
