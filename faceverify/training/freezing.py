"""Which parts of a network learn: stages from the end, and what BatchNorm does."""

from functools import partial

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from faceverify.errors import UserError
from faceverify.models.iresnet import IResNet, Unit
from faceverify.models.mobilefacenet import STAGES, Bottleneck, MobileFaceNet


def stages(network: nn.Module) -> list[list[nn.Module]]:
    """The network in stages, first to last: the last one is the branch `detail` if it has one, before that comes the
    output layer (with the attention branch before it)."""
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
    """Let only the last stages learn; 0 = all.

    Raises:
        UserError: it has fewer stages.
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
    """Training mode; with `bn` frozen, BatchNorm goes on with the statistics that it came with.

    A frozen stage works as it does in use, whatever `bn` says: statistics belong to weights that do not change.
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


def recompute(network: nn.Module) -> None:
    """Keep no activations inside the units of the body: they are computed again on the way back."""
    for unit in network.modules():
        if isinstance(unit, Unit | Bottleneck):
            unit.forward = partial(checkpoint, unit.forward, use_reentrant=False)
