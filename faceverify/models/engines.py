"""One call over all embedders: aligned faces in, embeddings out, whatever runs the network."""

import os
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

from faceverify.errors import BadData, PlatformError, UserError
from faceverify.models import EngineConfig, cache, files, registry
from faceverify.models.card import ModelCard, card_path
from faceverify.models.folders import weights_file

CPU_BATCH = 8
"""Most faces per call on a CPU: larger batches fall out of its cache (MobileFaceNet y1: 2.6 ms per face, at 64 4.0)."""


def preprocess(faces: np.ndarray, card: ModelCard) -> np.ndarray:
    """Turn pictures into the network input that a card asks for: (pixel - mean) / std per channel.

    Args:
        faces: [N, H, W, 3] uint8, RGB.
        card: gives colour order, mean and deviation.

    Returns:
        [N, 3, H, W] float32, channels in the order of the card.
    """
    ordered = faces if card.colour == "RGB" else faces[..., ::-1]
    # The transposition is made on bytes, a quarter of the memory traffic of making it on floats.
    x = np.ascontiguousarray(ordered.transpose(0, 3, 1, 2)).astype(np.float32)
    x -= np.array(card.mean, np.float32)[:, None, None]
    x /= np.array(card.std, np.float32)[:, None, None]
    return x


class Engine(ABC):
    """A loaded embedder.

    Attributes:
        card: what it is and how it is fed; `card.digest` names it in tables.
        provider: what it runs on, for people ('onnxruntime CPUExecutionProvider, 2 threads').
    """

    def __init__(self, card: ModelCard, provider: str, batch_size: int) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size is {batch_size}; it must be 1 or more.")
        self.card = card
        self.provider = provider
        self._batch_size = batch_size

    def embed(self, faces: np.ndarray) -> np.ndarray:
        """Embed aligned faces.

        Args:
            faces: [N, H, W, 3] uint8, RGB, H and W as on the card. N may be 0.

        Returns:
            [N, dim] float32, not normalised. Non-finite numbers are passed on as they come.

        Raises:
            UserError: the pictures have another size or type.
        """
        if faces.dtype != np.uint8 or faces.shape[1:] != (*self.card.input_size, 3):
            raise UserError(
                f"{self.card.name} takes uint8 faces of {self.card.input_size[0]}x{self.card.input_size[1]}x3, "
                f"not {faces.dtype} of {'x'.join(map(str, faces.shape[1:]))}; align them to that size."
            )
        out = np.empty((len(faces), self.card.dim), np.float32)
        for start in range(0, len(faces), self._batch_size):
            batch = faces[start : start + self._batch_size]
            out[start : start + len(batch)] = self.forward(preprocess(batch, self.card))
        return out

    @abstractmethod
    def forward(self, x: np.ndarray) -> np.ndarray:
        """Run the network on [n, 3, H, W] float32, n up to the batch size; return [n, dim] float32."""


def load_engine(model: str, config: EngineConfig) -> Engine:
    """Load an embedder.

    Args:
        model: a registered name (it must be in the cache), a local weights file (.onnx, .pt, .pth, .ckpt,
            .safetensors) with its card, the s3:// address of one, or a folder that `weights_file` knows.
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
        path = _from_storage(model)
    elif model in registry.entries():
        if registry.get(model).card is None:
            raise UserError(f"model '{model}' is a detector, which `--align.weights` takes: give a recogniser.")
        path = cache.locate(model)
    else:
        path = Path(model).expanduser()
    return path, files.card_of(path)


def _from_storage(uri: str) -> Path:
    """Copy weights and card from object storage into the cache, by content, so that a changed object is noticed."""
    import hashlib

    from faceverify.storage import open_location

    location = open_location(uri)
    try:
        data = location.read_bytes()
    except BadData as error:
        raise PlatformError(f"The model '{uri}' cannot be read ({error}); check address and credentials.") from error
    folder = cache.cache_dir() / "by_sha256" / hashlib.sha256(data).hexdigest()
    path = folder / location.name
    copies = [(location, path)]
    card = location.parent / card_path(path).name
    if card.exists():
        copies.append((card, card_path(path)))
    for source, target in copies:
        open_location(str(target)).write_bytes(data if source is location else source.read_bytes())
    return path


def threads_of(config: EngineConfig) -> int:
    """Return the number of CPU threads to use: as configured, else OMP_NUM_THREADS, else all cores of the process."""
    if config.threads > 0:
        return config.threads
    share = os.environ.get("OMP_NUM_THREADS", "")
    return int(share) if share.isdigit() and int(share) > 0 else len(os.sched_getaffinity(0))
