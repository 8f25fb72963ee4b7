"""Networks as graphs of layers: how one of ours is found in another program's description, whatever names that gives.

Names of layers depend on the run of the program that made them, and orders on how it sorted them. What decides is the
graph: both are walked from the output to the input at once, and each layer must be of the same kind, have the same
settings, and take the same layers in the same order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

INPUT = "input"


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: what it does, of which layers' outputs, and how."""

    kind: str
    """conv, depthwise, norm, prelu, concatenate, add, multiply, mean, pool, resize, an activation, or input."""
    inputs: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Settings: width, kernel, stride and padding of convolutions; width of others."""


class Mismatch(ValueError):
    """Two graphs differ.

    Attributes:
        alike: how many layers were the same before the first that is not, which the text names.
    """

    def __init__(self, where: str, found: str, wanted: str, alike: int) -> None:
        super().__init__(f"its layer {where[:80]!r} is {found} and not {wanted}")
        self.alike = alike


def match(ours: Mapping[str, Layer], theirs: Mapping[str, Layer], output: str) -> dict[str, str]:
    """Find for each layer of a graph the one that it is in another graph.

    Args:
        ours: layers in an order in which they can be computed; the last one gives the output.
        theirs: the other graph, in any order, of which only settings that it gives are compared.
        output: the layer there that gives the output.

    Returns:
        Their names by ours.

    Raises:
        Mismatch: the graphs differ.
    """
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    waiting = [(list(ours)[-1], output)]
    while waiting:
        mine, other = waiting.pop()
        if found.get(mine) == other:
            continue
        want, have = ours[mine], theirs.get(other, Layer("no layer of the network"))
        if mine in found or other in taken:
            raise Mismatch(other, "used once more", "elsewhere", len(found))
        same = all(want.facts.get(name) == value for name, value in have.facts.items())
        if want.kind != have.kind or len(want.inputs) != len(have.inputs) or not same:
            raise Mismatch(other, _said(have, have), _said(want, have), len(found))
        found[mine], taken[other] = other, mine
        waiting += zip(want.inputs, have.inputs, strict=True)
    return found


def _said(layer: Layer, like: Layer) -> str:
    facts = [f"{name} {layer.facts[name]}" for name in like.facts if name in layer.facts]
    return " ".join([layer.kind, f"of {len(layer.inputs)}", *facts])
