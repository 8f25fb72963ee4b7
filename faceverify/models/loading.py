"""From what a user calls a model to a network that runs: finding its file, checking it, loading it.

ONNX Runtime and PyTorch are imported only where a file needs them.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from faceverify.errors import BadData, PlatformError, UserError
from faceverify.models import cache, files, registry
from faceverify.models.card import ModelCard, card_path
from faceverify.models.engine_config import EngineConfig
from faceverify.models.engines import Engine
from faceverify.models.folders import weights_file

if TYPE_CHECKING:
    from torch import nn

    from faceverify.storage import Location


def load_engine(model: str, config: EngineConfig) -> Engine:
    """Load an embedder.

    Args:
        model: a registered name (it must be in the cache), a local weights file (.onnx, .pt, .pth, .ckpt,
            .safetensors, .h5) with its card, the s3:// address of one, or a folder that `weights_file` knows.
        config: runtime, hardware, threads, batch size.

    Raises:
        UserError: no such model, no card, contradicting card, wrong network, or a runtime or provider not there.
    """
    path, card = resolve(model)
    is_onnx = path.suffix.lower() == ".onnx"
    if config.engine not in ("auto", "onnx" if is_onnx else "torch"):
        other = "is an ONNX graph" if is_onnx else "holds PyTorch weights (export them to ONNX first)"
        raise UserError(f"engine is '{config.engine}', but {path} {other}; set engine to 'auto'.")
    if is_onnx:
        from faceverify.models.engine_onnx import OnnxEngine, require_tried

        require_tried(path)
        return OnnxEngine(path, card, config)
    from faceverify.models.engine_torch import TorchEngine, load_network

    return TorchEngine(load_network(path, card), card, config)


def resolve(model: str) -> tuple[Path, ModelCard]:
    """Find the weights file of a registered name, a path, an s3:// address or a folder, and its verified card.

    Raises:
        UserError: as `load_engine`.
    """
    model = weights_file(model)
    if "://" in model:
        path = from_storage(model)
    elif model in registry.entries():
        if (kind := registry.get(model).kind) != "recogniser":
            taken_by = "`--align.weights` takes" if kind == "detector" else "the job fakes takes"
            raise UserError(f"model '{model}' is a {kind}, which {taken_by}: give a recogniser.")
        path = cache.locate(model)
    else:
        path = Path(model).expanduser()
    return path, files.card_of(path)


def load_module(model: str) -> tuple["nn.Module", ModelCard]:
    """Load a network for training or export, by registered name or file.

    Returns:
        The network on the CPU in eval mode, float32, all parameters trainable; and its card.

    Raises:
        UserError: as `load_engine`; or the file is an ONNX graph, which cannot be trained.
    """
    from faceverify.models.engine_torch import load_network

    path, card = resolve(model)
    return load_network(path, card), card


def check_network(path: Path, card: ModelCard) -> str:
    """Check that a weights file holds the network of a card, as far as that can be seen without running it.

    Returns:
        What is taken off the weights when they are loaded, for people; empty if nothing is.

    Raises:
        UserError: if not.
    """
    if path.suffix.lower() == ".onnx":
        from faceverify.models.engine_onnx import check
    else:
        from faceverify.models.engine_torch import check
    return check(path, card)


def from_storage(uri: str) -> Path:
    """Copy weights and card from object storage into the cache, by content, so that a changed object is noticed."""
    from faceverify.models import onnx_file
    from faceverify.storage import open_location

    location = open_location(uri)
    data = _bytes_of(location)
    names = onnx_file.data_names(data) if location.name.lower().endswith(".onnx") else []
    beside = {name: _bytes_of(location.parent / name) for name in names}
    sha256 = hashlib.sha256(b"".join([data, *beside.values()])).hexdigest()
    path = cache.cache_dir() / "by_sha256" / sha256 / location.name
    card = location.parent / card_path(path).name
    if card.exists():
        beside[card.name] = card.read_bytes()
    for name, content in ((location.name, data), *beside.items()):
        open_location(str(path.with_name(name))).write_bytes(content)
    return path


def _bytes_of(location: "Location") -> bytes:
    try:
        return location.read_bytes()
    except BadData as error:
        raise PlatformError(
            f"The model's file '{location}' cannot be read ({error}); check address and credentials."
        ) from error
