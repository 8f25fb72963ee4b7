"""The network that a training begins with: weights, added branches, frozen stages, precision, memory layout."""

from dataclasses import replace
from functools import partial

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format
from torch.utils.checkpoint import checkpoint

from faceverify.errors import UserError
from faceverify.losses import LossConfig
from faceverify.models import card as cards
from faceverify.models import checkpoints
from faceverify.models.architectures import WITH_ATTENTION, WITH_DETAIL, input_size
from faceverify.models.card import ModelCard
from faceverify.models.iresnet import IResNet, Unit
from faceverify.models.loading import load_module
from faceverify.models.mobilefacenet import STAGES, Bottleneck, MobileFaceNet
from faceverify.training.checkpoints import best_checkpoint, read_network
from faceverify.training.config import NetworkConfig
from faceverify.training.distributed import DistributedContext

TUNED = ", fine-tuned"


def initial_network(start: str, config: NetworkConfig, seed: int) -> tuple[nn.Module, ModelCard]:
    """Load or create the network that a training begins with, and the card of what it will be.

    Args:
        start: a registered name, a weights file, a checkpoint's folder, or the folder of a training, of which the
            checkpoint of the best EER is taken; empty = fresh weights.
        config: architecture of a fresh network, and which branches are added.
        seed: seed of fresh weights.

    Raises:
        UserError: there is no such network, or neither `start` nor an architecture is given.
    """
    torch.manual_seed(seed)
    network, card = _loaded(start) if start else _fresh(config)
    return with_branches(network, card, config.attention, config.detail)


def _fresh(config: NetworkConfig) -> tuple[nn.Module, ModelCard]:
    if not config.architecture:
        raise UserError("start is empty: give a network to go on from, or network.architecture for a fresh one.")
    network = checkpoints.build(config.architecture, config.dim)
    half = [127.5] * 3
    card = cards.build(
        name=config.architecture,
        architecture=config.architecture,
        input_size=input_size(config.architecture),
        colour="RGB",
        mean=half,
        std=half,
        dim=config.dim,
    )
    return network, card


def _loaded(start: str) -> tuple[nn.Module, ModelCard]:
    place = best_checkpoint(start)
    if place is not None:
        network, card = read_network(place)
        where = str(place)
    else:
        network, card = load_module(start)
        where = card.name
    # The digest is of the weights too: other weights at the same place make another run.
    source = f"fine-tuned from {where}, card {card.digest[:12]}"
    return network, replace(card, sha256=None, source=source, name=f"{card.name.removesuffix(TUNED)}{TUNED}")


def with_branches(network: nn.Module, card: ModelCard, attention: bool, detail: bool) -> tuple[nn.Module, ModelCard]:
    """Add the requested branches to a network; each begins as (nearly) an identity. Branches it has already stay.

    Args:
        network: a network of the card's architecture.
        card: the network's card.
        attention: add the branch of `faceverify.models.attention`.
        detail: add the branch of `faceverify.models.detail`, scaled to the card's normalisation.

    Returns:
        The network with its branches, and its card.
    """
    plain = card.architecture.removesuffix(WITH_DETAIL)
    wanted = plain.removesuffix(WITH_ATTENTION)
    wanted += WITH_ATTENTION if attention or plain.endswith(WITH_ATTENTION) else ""
    wanted += WITH_DETAIL if detail or card.architecture.endswith(WITH_DETAIL) else ""
    if wanted == card.architecture:
        return network, card
    wider = checkpoints.build(wanted, card.dim)
    missing, unexpected = wider.load_state_dict(network.state_dict(), strict=False)
    assert not unexpected and all(key.startswith(("attention.", "detail.")) for key in missing)
    fresh = any(key.startswith("detail.") for key in missing)
    if fresh and isinstance(wider, IResNet | MobileFaceNet) and wider.detail:
        wider.detail.energies.scale(card.colour, card.std)
    return wider, replace(card, architecture=wanted)


def stages(network: nn.Module) -> list[list[nn.Module]]:
    """The modules of a network in stages, first to last.

    The output layer is the last stage, together with the attention branch; the branch `detail`, if any, follows it.

    Raises:
        UserError: the network's class has no stages.
    """
    branch: list[list[nn.Module]] = []
    if isinstance(network, IResNet | MobileFaceNet) and network.detail:
        branch = [[network.detail]]
    if isinstance(network, IResNet):
        units = [list(part) for part in network.body_stages()]
        return [[network.input_layer], *units, [network.attention, network.output_layer], *branch]
    if isinstance(network, MobileFaceNet):
        blocks, start = list(network.features), 0
        parts: list[list[nn.Module]] = [[network.conv1, network.dw_conv]]
        for _, _, repeats, _ in STAGES:
            parts.append(blocks[start : start + repeats])
            start += repeats
        return [*parts, [network.attention, network.conv2, network.gdconv, network.conv3, network.bn], *branch]
    raise UserError(f"network: {type(network).__name__} has no stages; set network.train_last to 0.")


def freeze(network: nn.Module, last: int) -> None:
    """Freeze all but the `last` stages; 0 = freeze nothing.

    Raises:
        UserError: the network has fewer stages.
    """
    if last == 0:
        return
    parts = stages(network)
    if last > len(parts):
        raise UserError(f"network.train_last is {last}, but this network has {len(parts)} stages: give fewer, or 0.")
    for part in parts[: len(parts) - last]:
        for module in part:
            module.requires_grad_(False)


def set_mode(network: nn.Module, bn: str) -> None:
    """Set training mode; with `bn` "frozen", BatchNorm layers stay in evaluation mode.

    Frozen stages stay in evaluation mode whatever `bn` says: their statistics belong to weights that do not change.
    """
    network.train()
    for module in network.modules():
        if isinstance(module, _BatchNorm) and bn == "frozen":
            module.eval()
        elif isinstance(module, IResNet | MobileFaceNet):
            for part in filter(_is_frozen, stages(module)):
                for layer in part:
                    layer.eval()


def _is_frozen(part: list[nn.Module]) -> bool:
    return not any(p.requires_grad for module in part for p in module.parameters())


def enable_recompute(network: nn.Module) -> None:
    """Gradient checkpointing: activations inside the units of the body are recomputed in the backward pass."""
    for unit in network.modules():
        if isinstance(unit, Unit | Bottleneck):
            unit.forward = partial(checkpoint, unit.forward, use_reentrant=False)


def precision_of(asked: str, device: torch.device) -> torch.dtype:
    """The number format for the option `network.precision` on a device.

    Raises:
        UserError: fp16 on a CPU.
    """
    if asked == "fp16" and device.type == "cpu":
        raise UserError("network.precision is fp16, which CPUs do not train in: give fp32, bf16 or auto.")
    if asked == "auto":
        if device.type == "cpu":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[asked]


def prepare_network(network: nn.Module, config: NetworkConfig, context: DistributedContext) -> nn.Module:
    """Freeze stages, convert BatchNorm, and move the network to the worker's device; returns the network to train.

    Raises:
        UserError: `train_last` exceeds the number of stages, or bn is sync without GPUs.
    """
    check_network(network, config, context.device.type == "cuda")
    if config.recompute:
        enable_recompute(network)
    network = prepared_norms(network, config.bn)
    return convert_conv2d_weight_memory_format(network.to(context.device), layout_of(network, context.device))


def prepared_norms(network: nn.Module, bn: str) -> nn.Module:
    """The network whose BatchNorm layers see the whole step over all GPUs, if `bn` is sync."""
    return nn.SyncBatchNorm.convert_sync_batchnorm(network) if bn == "sync" else network


def layout_of(network: nn.Module, device: torch.device) -> torch.memory_format:
    """The memory format for a network: channels last, which is faster, except where PyTorch crashes with it.

    PyTorch 2.13 overruns its memory on CPUs in the gradient of strided 1x1 convolutions of fewer than 16 channels
    (those of `tiny`).
    """
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    narrow = any(m.kernel_size == (1, 1) and m.stride != (1, 1) and m.in_channels < 16 for m in convolutions)
    return torch.contiguous_format if narrow and device.type == "cpu" else torch.channels_last


def check_network(network: nn.Module, config: NetworkConfig, gpu: bool) -> None:
    """Check on the driver what `prepare_network` and `precision_of` would refuse on the workers.

    Raises:
        UserError: precision, bn or train_last does not fit the network or the device.
    """
    device = torch.device("cuda" if gpu else "cpu")
    if config.precision == "fp16" or not gpu:
        precision_of(config.precision, device)
    if config.bn == "sync" and not gpu:
        raise UserError("network.bn is sync, which PyTorch has for GPUs only: give batch or frozen.")
    freeze(network, config.train_last)


def check_initial(network: nn.Module, config: NetworkConfig, losses: LossConfig) -> None:
    """Check that losses and BatchNorm mode fit the branches of the initial network.

    Raises:
        UserError: a loss needs a branch that is missing, or bn is frozen though a new branch has untrained BatchNorm.
    """
    if losses.needs_scores and not getattr(network, "detail", None):
        raise UserError(
            f"losses.weights.detection is {losses.weights.detection:g}, but the network has no branch that looks for "
            "deepfakes: set network.detail to true, or the weight to 0."
        )
    norms = {name: module for name, module in network.named_modules() if isinstance(module, _BatchNorm)}
    fresh = [name for name, module in norms.items() if _is_untrained(module)]
    if config.bn == "frozen" and 0 < len(fresh) < len(norms):  # all are in a fresh network, which may do without
        raise UserError(
            f"network.bn is frozen, but {len(fresh)} BatchNorm layers that were added ({fresh[0]} is the first) have "
            "never seen a photo, and would do nothing for ever: set network.bn to batch."
        )


def _is_untrained(norm: _BatchNorm) -> bool:
    """Whether the running statistics still have their initial values."""
    if norm.running_mean is None or norm.running_var is None:
        return False
    return not norm.running_mean.any() and bool((norm.running_var == 1).all())
