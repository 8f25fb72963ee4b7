"""Read a method's weights and refuse what cannot be the right ones; nothing that is written in a file is ever run."""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from faceverify.align import AlignConfig, Method
from faceverify.align.cards import card
from faceverify.errors import BadData, UserError
from faceverify.storage import Location, open_location

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# SHA-256 of published files -> the method they belong to.
_KNOWN: dict[str, Method] = {
    "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0": "yunet",  # face_detection_yunet_2026may
    "bc24bb349491481c3ca793cf89306723162c280cb284c5a5e49df3760bf5c2ce": "scrfd",  # scrfd_2.5g_bnkps
    "2979b33ffafda5d74b6948cd7a5b9a7a62f62b949cef24e95fd15d2883a65220": "retinaface",  # of Pytorch_Retinaface
    "ed6fa7d45a5179f03cb5ce82c73b0c6711372968e53782e88395acee88d319e1": "retinaface",  # of the 1MB repository
    "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f": "mtcnn",  # pnet
    "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86": "mtcnn",  # rnet
    "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d": "mtcnn",  # onet
}


def read_weights(config: AlignConfig) -> tuple[bytes, str]:
    """The bytes of the one file `config.weights` and their SHA-256 in hexadecimal.

    Raises:
        UserError: no file is named, it is not there, or it is known to belong to another method.
    """
    require_named(config)
    location = open_location(config.weights)
    if not location.is_file():
        raise UserError(f"align.weights {config.weights!r} is not a file: {config.method} needs {_needs(config)}.")
    return read_file(config, location)


def read_graph(config: AlignConfig) -> tuple[bytes, str]:
    """Like `read_weights`, of a method whose file is an ONNX graph: one that is not published is tried first.

    Raises:
        UserError: also if it cannot be loaded and run within bounds.
    """
    from faceverify.models import onnx_file, trial

    data, digest = read_weights(config)
    if digest not in _KNOWN and config.method in ("scrfd", "yunet"):
        try:
            onnx_file.parse(data)
            trial.require_tried(config.method, data, digest)
        except ValueError as error:
            raise not_weights_of(config, str(error)) from error
    return data, digest


def require_named(config: AlignConfig) -> None:
    """Check that `config.weights` says anything.

    Raises:
        UserError: it is empty.
    """
    if not config.weights:
        raise UserError(f"align.weights is empty: align.method {config.method} needs {_needs(config)}.")


def read_file(config: AlignConfig, location: Location) -> tuple[bytes, str]:
    """The bytes of one file of the method, and their SHA-256 in hexadecimal.

    Raises:
        UserError: it cannot be read, or is known to belong to another method.
    """
    try:
        data = location.read_bytes()
    except BadData as fault:
        raise UserError(f"align.weights {location} cannot be read ({fault}): mend that or copy it.") from None
    digest = hashlib.sha256(data).hexdigest()
    owner = _KNOWN.get(digest, config.method)
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
    from faceverify.models.checkpoints import load_safetensors
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
