"""Ghost's network (AEI-Net with a U-Net for the attributes), and the recogniser that tells it whose face to make.

Source: Groshev et al., "GHOST: A New Face Swap Approach for Image and Video Domains", IEEE Access 2022, after Li et
al., "FaceShifter", 2019. Names and shapes of the tensors are those of the released files, which load strictly.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from faceverify.errors import UserError
from faceverify.fakes.swapper_table import DIM, GHOSTS
from faceverify.models import checkpoints
from faceverify.models.arcface import ArcFace
from faceverify.models.unwrap import Ambiguous, Misfit, as_floats, fit

_DOWN = (32, 64, 128, 256, 512, 1024, 1024)
_UP = (1024, 512, 256, 128, 64, 32)
# Channels in and out of each block of the generator, and of the attributes that it is given.
_BLOCKS = (
    *((1024, 1024, 1024), (1024, 1024, 2048), (1024, 1024, 1024), (1024, 512, 512)),
    *((512, 256, 256), (256, 128, 128), (128, 64, 64), (64, 3, 64)),
)
_LEAK = 0.1


class Injection(nn.Module):
    """Normalises a picture and denormalises it twice, by attributes and by identity; a mask mixes the two."""

    def __init__(self, width: int, attributes: int, identity: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(attributes, width, 1)
        self.conv2 = nn.Conv2d(attributes, width, 1)
        self.fc1 = nn.Linear(identity, width)
        self.fc2 = nn.Linear(identity, width)
        self.norm = nn.InstanceNorm2d(width)
        self.conv_h = nn.Conv2d(width, 1, 1)

    def forward(self, h: Tensor, attributes: Tensor, identity: Tensor) -> Tensor:
        """Map h [B, width, H, W], attributes [B, attributes, H, W] and identity [B, identity] to the shape of h."""
        h = self.norm(h)
        by_attributes = self.conv1(attributes) * h + self.conv2(attributes)
        by_identity = self.fc1(identity)[..., None, None] * h + self.fc2(identity)[..., None, None]
        mask = torch.sigmoid(self.conv_h(h))
        return (1 - mask) * by_attributes + mask * by_identity


class Stack(nn.Sequential):
    """Injection, ReLU, convolution, some times."""

    def __init__(self, width_in: int, width_out: int, attributes: int, identity: int, count: int) -> None:
        layers: list[nn.Module] = []
        for at in range(count):
            width = width_out if at == count - 1 else width_in
            layers += [Injection(width_in, attributes, identity), nn.ReLU()]
            layers += [nn.Conv2d(width_in, width, 3, padding=1, bias=False)]
        super().__init__(*layers)

    def forward(self, h: Tensor, attributes: Tensor, identity: Tensor) -> Tensor:  # type: ignore[override]
        """Map h [B, width_in, H, W] to [B, width_out, H, W]."""
        for layer in self:
            h = layer(h, attributes, identity) if isinstance(layer, Injection) else layer(h)
        return h


class Block(nn.Module):
    """A stack with a shortcut, which is a stack of one where the widths differ."""

    def __init__(self, width_in: int, width_out: int, attributes: int, identity: int, count: int) -> None:
        super().__init__()
        self.add_blocks = Stack(width_in, width_out, attributes, identity, count)
        self.last_add_block = Stack(width_in, width_out, attributes, identity, 1) if width_in != width_out else None

    def forward(self, h: Tensor, attributes: Tensor, identity: Tensor) -> Tensor:
        """Map h [B, width_in, H, W] to [B, width_out, H, W]."""
        beside = h if self.last_add_block is None else self.last_add_block(h, attributes, identity)
        return self.add_blocks(h, attributes, identity) + beside


class Up(nn.Module):
    """Twice the size; what came down at that size is put beside it."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(width_in, width_out, 4, 2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width_out)

    def forward(self, x: Tensor, beside: Tensor) -> Tensor:
        """Map [B, width_in, H, W] and [B, C, 2H, 2W] to [B, width_out + C, 2H, 2W]."""
        return torch.cat([functional.leaky_relu(self.bn(self.deconv(x)), _LEAK), beside], dim=1)


class Attributes(nn.Module):
    """The U-Net that tells everything of a face but who it is."""

    def __init__(self) -> None:
        super().__init__()
        for at, (width_in, width) in enumerate(zip((3, *_DOWN), _DOWN, strict=False), 1):
            conv = nn.Conv2d(width_in, width, 4, 2, padding=1, bias=False)
            self.add_module(f"conv{at}", nn.Sequential(conv, nn.BatchNorm2d(width), nn.LeakyReLU(_LEAK)))
        widths = [_DOWN[-1], *(up + down for up, down in zip(_UP, _DOWN[-2::-1], strict=True))]
        for at, (width_in, width) in enumerate(zip(widths, _UP, strict=False), 1):
            self.add_module(f"deconv{at}", Up(width_in, width))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map [B, 3, 256, 256] to eight maps, from [B, 1024, 2, 2] to [B, 64, 256, 256]."""
        down = []
        for at in range(len(_DOWN)):
            x = self.get_submodule(f"conv{at + 1}")(x)
            down.append(x)
        found = [x]
        for at, beside in enumerate(down[-2::-1]):
            x = self.get_submodule(f"deconv{at + 1}")(x, beside)
            found.append(x)
        return [*found, _doubled(x)]


class Painter(nn.Module):
    """Makes the picture of attributes and identity."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.up1 = nn.ConvTranspose2d(DIM, _BLOCKS[0][0], 2)
        for at, (width_in, width_out, attributes) in enumerate(_BLOCKS, 1):
            self.add_module(f"AADBlk{at}", Block(width_in, width_out, attributes, DIM, blocks))

    def forward(self, attributes: Sequence[Tensor], identity: Tensor) -> Tensor:
        """Map eight maps and [B, 512] to [B, 3, 256, 256] before its bounds."""
        h = self.up1(identity[..., None, None])
        for at, some in enumerate(attributes, 1):
            h = self.get_submodule(f"AADBlk{at}")(h if at == 1 else _doubled(h), some, identity)
        return h


class AEINet(nn.Module):
    """The network.

    Args:
        blocks: 1, 2 or 3, as in the name of its file.
    """

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.encoder = Attributes()
        self.generator = Painter(blocks)

    def forward(self, target: Tensor, identity: Tensor) -> Tensor:
        """The target's face as another person's.

        Args:
            target: [B, 3, 256, 256] RGB in -1..1.
            identity: [B, 512] of the recogniser, not normalised.

        Returns:
            [B, 3, 256, 256] RGB in -1..1.
        """
        return torch.tanh(self.generator(self.encoder(target), identity))


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)


def load(name: str, path: Path, device: torch.device) -> nn.Module:
    """The network of a released file, in evaluation mode, frozen.

    Args:
        name: of its file in the registry of published networks.
        path: the file; nothing that is written in it is ever run.
        device: where it is put.

    Raises:
        UserError: the file is damaged, or holds another network.
    """
    network, tensors = _read(name, path)
    network.load_state_dict(tensors, strict=True, assign=True)
    return network.requires_grad_(False).eval().to(device)


def check(name: str, path: Path) -> None:
    """Check that a file holds the network of that name.

    Raises:
        UserError: as `load`.
    """
    _read(name, path)


def _read(name: str, path: Path) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network without its weights, and these."""
    blocks = dict(GHOSTS.values()).get(name)
    with torch.device("meta"):
        network = AEINet(blocks) if blocks else ArcFace("arcface_r100", DIM)
    want = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    try:
        return network, as_floats(fit(checkpoints.read(path).content, want, None))
    except (Misfit, Ambiguous) as error:
        raise UserError(f"{path} is another network than {name} ({error}): give the file as published.") from None
