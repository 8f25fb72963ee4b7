"""The network and its objective as one module: pixels in, loss out. This is what several workers keep in step.

Shape letters: B pairs of one worker's share, D numbers in an embedding.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

from faceverify.errors import UserError
from faceverify.losses import LossConfig
from faceverify.losses.batch import PairBatch
from faceverify.losses.objective import Objective
from faceverify.models.card import ModelCard
from faceverify.models.detail import Detail
from faceverify.training import freezing
from faceverify.training.batches import Batch
from faceverify.training.recipe import NetworkConfig
from faceverify.training.world import World

Tensors = dict[str, Tensor]
Network = Callable[[Tensor], Tensor]


class Learner(nn.Module):
    """Both photos of all pairs go through the network as one batch, so BatchNorm sees them together.

    Args:
        network: [N, 3, H, W] -> [N, D].
        objective: what is minimised.
        card: how faces are fed to the network.
        precision: of the network; losses are float32.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, objective: Objective, card: ModelCard, precision: torch.dtype) -> None:
        super().__init__()
        self.network, self.objective = network, objective
        self.precision, self.bgr = precision, card.colour == "BGR"
        self.layout = layout_of(network, next(network.parameters()).device)
        for name in ("mean", "std"):
            values = torch.tensor(getattr(card, name), dtype=torch.float32)[:, None, None]
            self.register_buffer(name, values, persistent=False)

    def embed(self, faces: Tensor, network: Network | None = None) -> Tensor:
        """Embeddings [N, D] float32, not normalised, of faces [N, H, W, 3] uint8 RGB.

        Args:
            faces: on the learner's device.
            network: another one fed in the same way; None = its own.
        """
        with self._autocast(faces.device.type):
            out = (network or self.network)(self._normalised(faces))
        return out.float()

    def _normalised(self, faces: Tensor) -> Tensor:
        channels = faces.permute(0, 3, 1, 2)  # a view; as it is in memory it is channels last already
        x = ((channels.flip(1) if self.bgr else channels).float() - self.mean) / self.std
        return x.contiguous(memory_format=self.layout)

    def _look(self, faces: Tensor) -> Tensors:
        """What the objective asks the network for, of all faces."""
        if not self.objective.needs_scores:
            return {"embeddings": self.embed(faces)}
        with self._autocast(faces.device.type):
            x = self._normalised(faces)
            if self.objective.needs_embeddings:
                embeddings, scores = self.network(x, True)
            else:  # the branch sees pixels alone: all of a large recogniser need not be computed beside it
                branch = self.network.detail
                assert isinstance(branch, Detail)
                scores = branch.scores(x)
                embeddings = scores.new_zeros(len(scores), 1)
        return {"embeddings": embeddings.float(), "scores": scores.float()}

    def _autocast(self, device: str) -> AbstractContextManager[object]:
        return nullcontext() if self.precision == torch.float32 else torch.autocast(device, self.precision)

    def forward(self, batch: Tensors) -> tuple[Tensor, Tensors]:
        """The loss, and each component's value; `batch` as `tensors_of` makes it."""
        pair = batch["label"].shape[0]
        given = {name: batch[name] for name in ("person", "is_fake", "reference") if name in batch}
        parts: Tensors = {}
        for name, values in (self._look(batch["faces"]) | given).items():
            parts |= dict(zip((f"{name}_a", f"{name}_b"), values.split(pair), strict=True))
        return self.objective(PairBatch(label=batch["label"], kind=batch["kind"], **parts))


def tensors_of(batch: Batch, device: torch.device) -> Tensors:
    """A batch on the device; copies do not wait for each other where memory is pinned."""
    names = ("faces", "label", "kind", "person", "is_fake")
    found = {name: torch.from_numpy(np.ascontiguousarray(getattr(batch, name))) for name in names}
    if device.type == "cuda":
        found = {name: value.pin_memory() for name, value in found.items()}
    return {name: value.to(device, non_blocking=True) for name, value in found.items()}


def pieces(batch: Tensors, count: int) -> list[Tensors]:
    """Cut a share into `count` pieces of whole pairs, for gradient accumulation.

    Raises:
        UserError: it cannot be cut evenly.
    """
    pairs = batch["label"].shape[0]
    if pairs % count:
        raise UserError(f"batches.accumulate is {count}, but a worker's share is {pairs} pairs: give a divisor.")
    if count == 1:
        return [batch]
    found: list[Tensors] = [{} for _ in range(count)]
    for name, value in batch.items():
        # Faces come as first photos, then second photos: a piece takes its part of both.
        halves = value.split(pairs)
        for piece, parts in zip(found, zip(*(half.chunk(count) for half in halves), strict=True), strict=True):
            piece[name] = torch.cat(parts)
    return found


def precision_of(asked: str, device: torch.device) -> torch.dtype:
    """The number format of the network.

    Raises:
        UserError: fp16 on a CPU, which trains nothing.
    """
    if asked == "fp16" and device.type == "cpu":
        raise UserError("network.precision is fp16, which CPUs do not train in: give fp32, bf16 or auto.")
    if asked == "auto":
        if device.type == "cpu":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[asked]


def prepare(network: nn.Module, config: NetworkConfig, world: World) -> nn.Module:
    """Freeze, convert and place a network as the configuration says; returns the network to train.

    Raises:
        UserError: it has fewer stages than are to learn, or bn is sync without GPUs.
    """
    check(network, config, world.device.type == "cuda")
    if config.recompute:
        freezing.recompute(network)
    if config.bn == "sync":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    return convert_conv2d_weight_memory_format(network.to(world.device), layout_of(network, world.device))


def layout_of(network: nn.Module, device: torch.device) -> torch.memory_format:
    """Channels last, which is faster everywhere, but where it crashes: PyTorch 2.13 overruns its memory on CPUs in the
    gradient of strided 1x1 convolutions of fewer than 16 channels (those of `tiny`)."""
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    narrow = any(m.kernel_size == (1, 1) and m.stride != (1, 1) and m.in_channels < 16 for m in convolutions)
    return torch.contiguous_format if narrow and device.type == "cpu" else torch.channels_last


def check(network: nn.Module, config: NetworkConfig, gpu: bool) -> None:
    """What `prepare` and `precision_of` would refuse on the workers, before any is started.

    Raises:
        UserError: as they do.
    """
    device = torch.device("cuda" if gpu else "cpu")
    if config.precision == "fp16" or not gpu:
        precision_of(config.precision, device)
    if config.bn == "sync" and not gpu:
        raise UserError("network.bn is sync, which PyTorch has for GPUs only: give batch or frozen.")
    freezing.freeze(network, config.train_last)


def check_start(network: nn.Module, config: NetworkConfig, losses: LossConfig) -> None:
    """What the network has not that it begins with, and would not get by training.

    Raises:
        UserError: the losses teach a branch that is not there; BatchNorm is frozen, and a new branch has some.
    """
    if losses.needs_scores and not getattr(network, "detail", None):
        raise UserError(
            f"losses.weights.detection is {losses.weights.detection:g}, but the network has no branch that looks for "
            "deepfakes: set network.detail to true, or the weight to 0."
        )
    norms = {name: module for name, module in network.named_modules() if isinstance(module, _BatchNorm)}
    fresh = [name for name, module in norms.items() if _untouched(module)]
    if config.bn == "frozen" and 0 < len(fresh) < len(norms):  # all are in a fresh network, which may do without
        raise UserError(
            f"network.bn is frozen, but {len(fresh)} BatchNorm layers that were added ({fresh[0]} is the first) have "
            "never seen a photo, and would do nothing for ever: set network.bn to batch."
        )


def _untouched(norm: _BatchNorm) -> bool:
    """Whether its statistics are those that it is made with."""
    if norm.running_mean is None or norm.running_var is None:
        return False
    return not norm.running_mean.any() and bool((norm.running_var == 1).all())
