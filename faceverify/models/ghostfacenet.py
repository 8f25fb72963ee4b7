"""GhostFaceNet V1 and V2: the network as a graph of layers, from which it is built and by which it is known in a file.

Source: Alansari et al., "GhostFaceNets: Lightweight Face Recognition Model From Cheap Operations", IEEE Access 2023,
and github.com/HamadYA/GhostFaceNets; Han et al., "GhostNet", CVPR 2020; Tang et al., "GhostNetV2", NeurIPS 2022.
The published weights are Keras files (`faceverify.models.keras_file`). V1 pads as TensorFlow does ("same": more below
and to the right where the stride is 2) and has Keras 2's hard sigmoid; V2 pads evenly and has PyTorch's. BatchNorm's
epsilon is 1e-5 here: what a file's is larger lies in the variances, which makes the same numbers.
"""

from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from faceverify.models.layer_graph import INPUT, Layer

EPS = 1e-5
# Kernel, expansion, output channels, stride, and whether there is squeeze and excitation; at width 1.
BLOCKS = (
    *((3, 16, 16, 1, False), (3, 48, 24, 2, False), (3, 72, 24, 1, False), (5, 72, 40, 2, True)),
    *((5, 120, 40, 1, True), (3, 240, 80, 2, False), (3, 200, 80, 1, False), (3, 184, 80, 1, False)),
    *((3, 184, 80, 1, False), (3, 480, 112, 1, True), (3, 672, 112, 1, True), (5, 672, 160, 2, True)),
    *((5, 960, 160, 1, False), (5, 960, 160, 1, True), (5, 960, 160, 1, False)),
)
_LAST_EXPANSION = {1: 512, 2: 960}
_FIRST_WITH_ATTENTION = 2  # block of V2, counted from 0
# Version, stride of the first convolution, width. Widths 1 and 0.5 were published with stride 2 alone.
GHOSTFACENETS: dict[str, tuple[int, int, float]] = {
    "ghostfacenet_v1_s1": (1, 1, 1.3),
    "ghostfacenet_v1_s2": (1, 2, 1.3),
    "ghostfacenet_v1_w1_s2": (1, 2, 1.0),
    "ghostfacenet_v1_w05_s2": (1, 2, 0.5),
    "ghostfacenet_v2_s1": (2, 1, 1.3),
    "ghostfacenet_v2_s2": (2, 2, 1.3),
}


def _rounded(channels: float) -> int:
    """The next multiple of four, by the published rule."""
    near = max(4, int(channels + 2) // 4 * 4)
    return near + 4 if near < 0.9 * channels else near


class _Plan:
    """Writes the graph down; every method returns the name of the layer that it adds last."""

    def __init__(self, version: int) -> None:
        self.layers: dict[str, Layer] = {INPUT: Layer("input")}
        self._version = version

    def add(self, name: str, kind: str, *inputs: str, **facts: object) -> str:
        self.layers[name] = Layer(kind, inputs, facts)
        return name

    def conv(self, name: str, x: str, widths: tuple[int, int], kernel: int = 1, stride: int = 1, **more: bool) -> str:
        """A convolution [width in, width out]."""
        padding = "valid" if kernel == 1 else self._padding(kernel, kernel)
        sides = {"kernel": (kernel, kernel), "stride": stride, "padding": padding}
        return self.add(name, "conv", x, width_in=widths[0], width=widths[1], **sides, **more)

    def depthwise(self, name: str, x: str, width: int, kernel: tuple[int, int], stride: int = 1) -> str:
        return self.add(name, "depthwise", x, width=width, kernel=kernel, stride=stride, padding=self._padding(*kernel))

    def _padding(self, height: int, width: int) -> str | tuple[tuple[int, int], tuple[int, int]]:
        return "same" if self._version == 1 else ((height // 2, height // 2), (width // 2, width // 2))

    def norm(self, name: str, x: str, width: int, prelu: bool = False) -> str:
        """BN, and PReLU if wanted."""
        x = self.add(f"{name}_bn", "norm", x, width=width)
        return self.add(f"{name}_prelu", "prelu", x, width=width) if prelu else x

    def ghost(self, name: str, x: str, widths: tuple[int, int], prelu: bool) -> str:
        """Half of the channels by a convolution, the other half cheaply from the first."""
        half = widths[1] // 2
        first = self.norm(f"{name}_first", self.conv(f"{name}_first_conv", x, (widths[0], half)), half, prelu)
        cheap = self.depthwise(f"{name}_cheap_conv", first, half, (3, 3))
        return self.add(name, "concatenate", first, self.norm(f"{name}_cheap", cheap, half, prelu))

    def attention(self, name: str, x: str, widths: tuple[int, int]) -> str:
        """V2's: which parts of the picture matter, seen at half the size along rows and columns."""
        gate = self.conv(f"{name}_1_conv", self.add(f"{name}_pool", "pool", x), widths)
        gate = self.norm(f"{name}_1", gate, widths[1])
        for step, kernel in (("2", (1, 5)), ("3", (5, 1))):
            gate = self.depthwise(f"{name}_{step}_conv", gate, widths[1], kernel)
            gate = self.norm(f"{name}_{step}", gate, widths[1])
        return self.add(f"{name}_resize", "resize", self.add(f"{name}_gate", "sigmoid", gate), x)

    def squeeze(self, name: str, x: str, width: int) -> str:
        """Squeeze and excitation."""
        inner = _rounded(width / 4)
        gate = self.conv(f"{name}_1", self.add(f"{name}_mean", "mean", x), (width, inner), bias=True)
        gate = self.add(f"{name}_prelu", "prelu", gate, width=inner)
        gate = self.conv(f"{name}_2", gate, (inner, width), bias=True)
        kind = "hard_sigmoid" if self._version == 1 else "hard_sigmoid_torch"
        return self.add(name, "multiply", x, self.add(f"{name}_gate", kind, gate))


@cache
def plan(architecture: str, dim: int) -> dict[str, Layer]:
    """The layers of a network, in the order in which they are computed; the last one gives the embedding."""
    version, first_stride, width = GHOSTFACENETS[architecture]
    graph, before = _Plan(version), _rounded(16 * width)
    x = graph.conv("stem_conv", INPUT, (3, before), kernel=3, stride=first_stride)
    x = graph.norm("stem", x, before, prelu=True)
    blocks = (*BLOCKS, (5, _LAST_EXPANSION[version], 160, 1, True))
    wide = before
    for number, (kernel, expansion, channels, stride, squeeze) in enumerate(blocks):
        name, shortcut = f"block{number + 1:02}", x
        wide, after = _rounded(expansion * width), _rounded(channels * width)
        x = graph.ghost(f"{name}_ghost1", x, (before, wide), prelu=True)
        if version == 2 and number >= _FIRST_WITH_ATTENTION:
            gate = graph.attention(f"{name}_attention", shortcut, (before, wide))
            x = graph.add(f"{name}_attention", "multiply", gate, x)
        if stride > 1:
            x = graph.depthwise(f"{name}_down_conv", x, wide, (kernel, kernel), stride)
            x = graph.norm(f"{name}_down", x, wide)
        if squeeze:
            x = graph.squeeze(f"{name}_squeeze", x, wide)
        x = graph.ghost(f"{name}_ghost2", x, (wide, after), prelu=False)
        if stride > 1 or before != after:
            shortcut = graph.depthwise(f"{name}_short1_conv", shortcut, before, (kernel, kernel), stride)
            shortcut = graph.norm(f"{name}_short1", shortcut, before)
            shortcut = graph.conv(f"{name}_short2_conv", shortcut, (before, after))
            shortcut = graph.norm(f"{name}_short2", shortcut, after)
        x, before = graph.add(name, "add", shortcut, x), after
    x = graph.norm("last", graph.conv("last_conv", x, (before, wide)), wide, prelu=True)
    side = 7 if first_stride == 1 else 4  # of the last map of a picture of 112
    x = graph.add(
        "whole_conv", "depthwise", x, width=wide, kernel=(side, side), stride=1, padding="valid"
    )  # fmt: skip
    x = graph.conv("whole_embedding", graph.norm("whole", x, wide), (wide, dim), bias=True)
    graph.add("embedding", "norm", x, width=dim)
    return graph.layers


class SameConv(nn.Conv2d):
    """A convolution that pads as TensorFlow's "same" does: so that H, W become ceil(H / stride), ceil(W / stride)."""

    def forward(self, input: Tensor) -> Tensor:
        """The convolution."""
        sides = []
        for size, kernel, stride in zip(input.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            sides += [total // 2, total - total // 2]
        return super().forward(functional.pad(input, sides))


class GhostFaceNet(nn.Module):
    """The network.

    Args:
        architecture: a key of `GHOSTFACENETS`.
        dim: length of the embedding.
    """

    def __init__(self, architecture: str, dim: int = 512) -> None:
        super().__init__()
        self._plan = plan(architecture, dim)
        for name, layer in self._plan.items():
            if module := _module(layer):
                self.add_module(name, module)
        last_use = {x: name for name, layer in self._plan.items() for x in layer.inputs}
        self._done = {name: [x for x, last in last_use.items() if last == name] for name in self._plan}

    def forward(self, x: Tensor) -> Tensor:
        """Embed normalised faces [B, 3, 112, 112] (scale of the model card) as [B, dim], not normalised."""
        made = {INPUT: x}
        out = x
        for name, layer in self._plan.items():
            if layer.kind != "input":
                inputs = [made[x] for x in layer.inputs]
                out = made[name] = self.get_submodule(name)(*inputs) if name in self._modules else _step(layer, inputs)
                for x_done in self._done[name]:
                    del made[x_done]
        return out.flatten(1)


def _module(layer: Layer) -> nn.Module | None:
    facts = layer.facts
    if layer.kind in ("conv", "depthwise"):
        kernel, stride, padding = facts["kernel"], facts["stride"], facts["padding"]
        kind: type[nn.Conv2d] = nn.Conv2d
        sides: tuple[int, int] | Literal[0] = 0
        if padding == "same" and stride == 1:
            sides = (kernel[0] // 2, kernel[1] // 2)
        elif padding == "same":
            kind = SameConv
        elif padding != "valid":
            sides = (padding[0][0], padding[1][0])
        groups = facts["width"] if layer.kind == "depthwise" else 1
        width_in = facts.get("width_in", facts["width"])
        return kind(width_in, facts["width"], kernel, stride, sides, groups=groups, bias=facts.get("bias", False))
    if layer.kind == "norm":
        return nn.BatchNorm2d(facts["width"], EPS)
    return nn.PReLU(facts["width"]) if layer.kind == "prelu" else None


def _step(layer: Layer, x: list[Tensor]) -> Tensor:
    """What layers without weights compute."""
    match layer.kind:
        case "concatenate":
            return torch.cat(x, 1)
        case "add":
            return x[0] + x[1]
        case "multiply":
            return x[0] * x[1]
        case "mean":
            return x[0].mean((2, 3), keepdim=True)
        case "pool":
            return functional.avg_pool2d(x[0], 2)
        case "resize":
            return functional.interpolate(x[0], x[1].shape[2:], mode="bilinear", align_corners=False)
        case "sigmoid":
            return torch.sigmoid(x[0])
        case "hard_sigmoid":
            return (x[0] * 0.2 + 0.5).clamp(0, 1)
        case "hard_sigmoid_torch":
            return functional.hardsigmoid(x[0])
    raise AssertionError(layer.kind)
