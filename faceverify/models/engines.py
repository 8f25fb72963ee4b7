"""One call over all embedders: aligned faces in, embeddings out, whatever runs the network."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from faceverify.errors import UserError
from faceverify.models.card import ModelCard
from faceverify.models.engine_config import EngineConfig

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
    return feed(faces, card.colour, card.mean, card.std)


def feed(faces: np.ndarray, colour: str, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """Network input [N, 3, H, W] float32 from pictures [N, H, W, 3] uint8 RGB: (pixel - mean) / std of each channel,
    in the order that `colour` names, RGB or BGR."""
    ordered = faces if colour == "RGB" else faces[..., ::-1]
    # The transposition is made on bytes, a quarter of the memory traffic of making it on floats.
    x = np.ascontiguousarray(ordered.transpose(0, 3, 1, 2)).astype(np.float32)
    x -= np.array(mean, np.float32)[:, None, None]
    x /= np.array(std, np.float32)[:, None, None]
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


def threads_of(config: EngineConfig) -> int:
    """Return the number of CPU threads to use: as configured, else OMP_NUM_THREADS, else all cores of the process."""
    if config.threads > 0:
        return config.threads
    share = os.environ.get("OMP_NUM_THREADS", "")
    return int(share) if share.isdigit() and int(share) > 0 else len(os.sched_getaffinity(0))
