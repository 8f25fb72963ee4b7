"""Export of a network to ONNX, kept only after ONNX Runtime has given the same embeddings as PyTorch."""

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import torch
from onnx import ModelProto
from torch import Tensor, nn

from faceverify.models import files, half, parity
from faceverify.models.card import METADATA_KEY, ModelCard
from faceverify.models.engine_onnx import OnnxEngine
from faceverify.models.engine_torch import TorchEngine
from faceverify.models.engines import Engine
from faceverify.models.parity import CPU, FLOAT32, PairFaces, Tolerance, float16_of, float32_of
from faceverify.storage import private_draft

OPSET = 20
HALF_NOTE = "Weights and arithmetic are float16; input and outputs are float32."


@dataclass(frozen=True, slots=True)
class Exported:
    """The file, its card (with SHA-256), and by how much unit embeddings deviate from those of PyTorch."""

    path: Path
    card: ModelCard
    max_deviation: float
    tolerance: Tolerance = FLOAT32

    @property
    def runs(self) -> int:
        """How many engines the exported file is verified with: 1, or 2 in float16."""
        return 2 if self.tolerance.half else 1

    def engines(self) -> Iterator[Engine]:
        """Engines that verify it: the file as it is run, and in float16 also rounded after every step, as on GPUs."""
        yield OnnxEngine(self.path, self.card, CPU)
        if self.tolerance.half:
            yield half.stepwise(self.path, self.card, CPU)


@dataclass(frozen=True, slots=True)
class Compared:
    """The EER of a file (of a float16 one the worse of its two runs), and how far its unit embeddings deviate."""

    eer: float
    deviation: float


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
        PlatformError: ONNX Runtime deviates from PyTorch by more than `parity.float32_of` allows; nothing is kept then.
    """
    inside = replace(card, norm_output=True, sha256=None)
    network = _on_cpu(module)
    with private_draft(path) as partial:
        _write(network, inside, partial)
        tolerance = float32_of(card)
        deviation = _proven(network, Exported(partial, inside, 0.0, tolerance), path)
    return Exported(path, replace(inside, sha256=files.sha256_of(path)), deviation, tolerance)


def export_half(module: nn.Module, exported: Exported, path: Path) -> Exported:
    """Write what `export_onnx` wrote once more, computing in float16 (see `half.to_half`); its card says so.

    Args:
        module: the network that was exported.
        exported: its float32 file.
        path: the file to write.

    Raises:
        PlatformError: it deviates from PyTorch by more than `parity.float16_of` allows, be it as a CPU runs it or
            rounded after every step; nothing is kept then.
    """
    card = exported.card
    inside = replace(card, sha256=None, notes=f"{card.notes}\n{HALF_NOTE}".strip())
    with private_draft(path) as partial:
        _save(half.to_half(onnx.load(exported.path)), inside, partial)
        tolerance = float16_of(card)
        deviation = _proven(_on_cpu(module), Exported(partial, inside, 0.0, tolerance), path)
    return Exported(path, replace(inside, sha256=files.sha256_of(path)), deviation, tolerance)


def prove_eer(
    module: nn.Module, exports: Sequence[Exported], pairs: PairFaces, report: Callable[[int], None]
) -> tuple[float, list[Compared]]:
    """Compare unit embeddings of real faces, and the EER over their pairs, with those of PyTorch.

    Args:
        module: the network that was exported.
        exports: its files.
        pairs: faces and pairs.
        report: called with the number of faces that were embedded since the last call.

    Returns:
        The EER of PyTorch; and what was found of each file.

    Raises:
        PlatformError: embeddings or EER of a file deviate by more than its tolerance.
    """
    engine = TorchEngine(_on_cpu(module), exports[0].card, CPU)
    reference = parity.unit_embeddings(engine, pairs.faces, report)
    truth, found = pairs.eer(reference), []
    for exported in exports:
        eers, deviations, name = [], [], exported.path.name
        for engine in exported.engines():
            units = parity.unit_embeddings(engine, pairs.faces, report)
            deviations.append(parity.check_deviation(name, [units], [reference], exported.tolerance))
            eers.append(pairs.eer(units))
            parity.check_eer(name, eers[-1], truth, pairs.fewest, exported.tolerance)
        found.append(Compared(max(eers, key=lambda eer: abs(eer - truth)), max(deviations)))
    return truth, found


def _on_cpu(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module).cpu().float().eval()


def _proven(network: nn.Module, exported: Exported, path: Path) -> float:
    """The deviation over proof faces, if it is allowed."""
    batches = parity.proof_faces(exported.card)
    engine = TorchEngine(network, exported.card, CPU)
    reference = [parity.unit_embeddings(engine, batch) for batch in batches]
    return max(
        parity.check_deviation(
            path.name, [parity.unit_embeddings(engine, batch) for batch in batches], reference, exported.tolerance
        )
        for engine in exported.engines()
    )


def _write(network: nn.Module, card: ModelCard, path: Path) -> None:
    example = torch.zeros(2, 3, *card.input_size)  # not 1: the exporter would take a batch of one for a constant
    _save(exported_program(_WithNorm(network).eval(), (example,), ["input"], ["embedding", "norm"]), card, path)


def exported_program(
    network: nn.Module, example: tuple[Tensor, ...], inputs: Sequence[str], outputs: Sequence[str]
) -> ModelProto:
    """A network as an ONNX graph that takes any number of photos; the same weights give the same bytes.

    Args:
        network: in evaluation mode.
        example: of its inputs, whose first side is the number of photos.
        inputs, outputs: their names.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            network,
            example,
            dynamo=True,
            dynamic_shapes=tuple({0: batch} for _ in example),
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto  # made again each time it is asked for
    _forget_origin(model.graph)
    return model


def _save(model: ModelProto, card: ModelCard, path: Path) -> None:
    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.save(model, path)


def _forget_origin(graph: onnx.GraphProto) -> None:
    """Drop what the exporter notes of its own run: stack traces with this machine's paths.

    Without them the same weights give the same bytes, hence the same model card, wherever they are exported.
    """
    for noted in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        noted.ClearField("metadata_props")
