"""Strided depthwise convolutions under bfloat16 on a CPU: as PyTorch does them, and in float32 as `mobilefacenet` does.

Forward and backward of the three of mobilefacenet, for 32 faces, then a whole step of it; the two take turns.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

from benchmarks.harness import CORES, Report, Spread, parser, seconds_of
from faceverify.models.checkpoints import build
from faceverify.models.mobilefacenet import StridedDepthwise

FACES = 32
SHAPES = ((128, 56), (256, 28), (512, 14))  # channels, side of the input


def passes(module: nn.Module, x: Tensor) -> Callable[[], object]:
    """One forward and backward in bfloat16."""

    def once() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            out = module(x)
        out.backward(torch.ones_like(out))

    return once


def plain(network: nn.Module) -> nn.Module:
    """The same network with PyTorch's own convolutions."""
    for parent in network.modules():
        for name, module in parent.named_children():
            if isinstance(module, StridedDepthwise):
                width = module.in_channels
                setattr(parent, name, nn.Conv2d(width, width, 3, 2, 1, groups=width, bias=False))
    return network


def compare(report: Report, name: str, module: nn.Module, other: nn.Module, x: Tensor, repeats: int) -> None:
    """A row."""
    ours, theirs = (passes(convert_conv2d_weight_memory_format(m, torch.channels_last), x) for m in (module, other))
    seconds = [(seconds_of(theirs), seconds_of(ours)) for _ in range(repeats + 1)][1:]
    columns = (Spread.of([1000 * value for value in column]) for column in zip(*seconds, strict=True))
    ratio = Spread.of([ours / theirs for theirs, ours in seconds])
    report.add(name, *(f"{column:.1f}" for column in columns), f"{ratio:.2f}")


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--repeats", type=int, default=7)
    chosen = options.parse_args()
    torch.set_num_threads(CORES)
    columns = ("forward and backward", "bfloat16, ms", "float32 inside, ms", "ratio")
    report = Report("strided_depthwise", "A step of mobilefacenet in bfloat16 gains from it.", columns)
    for width, side in SHAPES:
        x = torch.randn(FACES, width, side, side, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
        ours, theirs = (kind(width, width, 3, 2, 1, groups=width, bias=False) for kind in (StridedDepthwise, nn.Conv2d))
        compare(report, f"{width} channels, {side}x{side}", ours, theirs, x.requires_grad_(), chosen.repeats)
    x = torch.randn(FACES, 3, 112, 112).to(memory_format=torch.channels_last)
    compare(report, "mobilefacenet", build("mobilefacenet", 128), plain(build("mobilefacenet", 128)), x, chosen.repeats)
    report.write(chosen.results)


if __name__ == "__main__":
    main()
