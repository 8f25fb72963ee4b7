"""Export of a network to ONNX, kept only after ONNX Runtime has given the same embeddings as PyTorch."""

import copy
import logging
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from faceverify.errors import PlatformError
from faceverify.models import EngineConfig, files
from faceverify.models.card import METADATA_KEY, ModelCard
from faceverify.models.engine_onnx import OnnxEngine
from faceverify.models.engine_torch import TorchEngine

OPSET = 20
TOLERANCE = 1e-5
"""Largest allowed deviation of any number of a unit embedding."""
BATCHES = (1, 3, 8)


@dataclass(frozen=True, slots=True)
class Exported:
    """The file, its card (with SHA-256), and by how much unit embeddings deviate from those of PyTorch."""

    path: Path
    card: ModelCard
    max_deviation: float


class _WithNorm(nn.Module):
    """Adds the length of the embedding as a second output."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        embedding = self.network(x)
        return embedding, embedding.square().sum(1, keepdim=True).sqrt()


def export_onnx(module: nn.Module, card: ModelCard, path: Path) -> Exported:
    """Write a network as ONNX.

    The graph takes `input` [N, 3, H, W] float32, normalised as the card says ((pixel - mean) / std, in the card's
    colour order), and gives `embedding` [N, dim] (not normalised) and `norm` [N, 1]. N is free. The card lies in the
    metadata under `faceverify.card`. The module itself is left as it is.

    Raises:
        PlatformError: ONNX Runtime deviates from PyTorch by more than `TOLERANCE`; nothing is kept then.
    """
    inside = replace(card, norm_output=True, sha256=None)
    network = copy.deepcopy(module).cpu().float().eval()
    partial = path.with_name(f".{path.stem}.partial.onnx")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _write(network, inside, partial)
        deviation = _deviation(network, inside, partial)
        if not deviation <= TOLERANCE:  # also when it is not a number
            raise PlatformError(
                f"The ONNX export of {card.name} gives other embeddings than PyTorch (unit embeddings deviate by "
                f"{deviation:.1e}, allowed are {TOLERANCE:.0e}); nothing was written to {path}."
            )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return Exported(path, replace(inside, sha256=files.sha256_of(path)), deviation)


def _write(network: nn.Module, card: ModelCard, path: Path) -> None:
    example = torch.zeros(2, 3, *card.input_size)  # not 1: the exporter would take a batch of one for a constant
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            _WithNorm(network).eval(),
            (example,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            input_names=["input"],
            output_names=["embedding", "norm"],
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _forget_origin(model.graph)
    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.save(model, path)


def _forget_origin(graph: onnx.GraphProto) -> None:
    """Drop what the exporter notes of its own run: stack traces with this machine's paths.

    Without them the same weights give the same bytes, hence the same model card, wherever they are exported.
    """
    for noted in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        noted.ClearField("metadata_props")


def _deviation(network: nn.Module, card: ModelCard, path: Path) -> float:
    """Largest difference of unit embeddings between ONNX Runtime and PyTorch, on random faces in several batches."""
    config = EngineConfig(provider="cpu")
    ours = OnnxEngine(path, card, config)
    reference = TorchEngine(network, card, config)
    rng = np.random.default_rng(0)
    worst = []
    for count in BATCHES:
        faces = rng.integers(0, 256, (count, *card.input_size, 3), dtype=np.uint8)
        worst.append(np.abs(_unit(ours.embed(faces)) - _unit(reference.embed(faces))).max())
    return float(np.max(worst))  # numpy's maximum, unlike Python's, lets a NaN through


def _unit(embeddings: np.ndarray) -> np.ndarray:
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
