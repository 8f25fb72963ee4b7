"""From the description of a Keras model (`model_config`, of functional models of Keras 2) to a graph of layers.

Layers that do nothing to the numbers (Flatten, Dropout, a linear Activation) are left out, and explicit padding becomes
a setting of the convolution after it. A kind that is not known is kept under its Keras name, and fits nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from faceverify.models.layer_graph import Layer

_PASSING = frozenset({"Dropout", "SpatialDropout2D", "Flatten", "Reshape"})
_PASSING_FUNCTIONS = frozenset({"compat.v1.shape", "shape"})
_KINDS = {
    "InputLayer": "input",
    "Add": "add",
    "Multiply": "multiply",
    "Concatenate": "concatenate",
    "BatchNormalization": "norm",
    "PReLU": "prelu",
    "GlobalAveragePooling2D": "mean",
}
_PADDED = "padded"
_MAX_LAYERS = 5000


@dataclass(frozen=True, slots=True)
class KerasGraph:
    """A described network."""

    layers: Mapping[str, Layer]
    output: str
    """The layer that gives the output."""
    settings: Mapping[str, Mapping[str, Any]]
    """What the description says of each layer."""


def parse(text: bytes, version: str) -> KerasGraph:
    """Read a description.

    Args:
        text: the JSON.
        version: of Keras that wrote it; functions of one name compute different things in 2 and 3.

    Raises:
        ValueError: it is none of a functional model of one input and one output.
    """
    try:
        return _graph(json.loads(text)["config"], version)
    except (KeyError, IndexError, TypeError, AttributeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"its model_config is none that Keras 2 writes: {type(error).__name__}") from None


def _graph(config: Mapping[str, Any], version: str) -> KerasGraph:
    described = config["layers"]
    if len(described) > _MAX_LAYERS:
        raise ValueError(f"its model_config has more than {_MAX_LAYERS:,} layers")
    raw: dict[str, Layer] = {}
    settings = {}
    for one in described:
        name = one["name"] if "name" in one else one["config"]["name"]
        if name in raw or len(one["inbound_nodes"]) > 1:
            raise ValueError(f"its layer {str(name)[:80]!r} is used more than once")
        settings[name] = one["config"]
        inputs, options = _inputs(one["inbound_nodes"])
        kind, facts = _kind(one["class_name"], one["config"], options, version)
        raw[name] = Layer(kind, inputs, facts)
    [[output, *_]] = config["output_layers"]
    layers = {name: _without_passing(layer, raw) for name, layer in raw.items() if layer.kind not in ("", _PADDED)}
    return KerasGraph(layers, _source(output, raw), settings)


def _inputs(nodes: list[Any]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The layers that one takes, also those among its options; and its options."""
    if not nodes:
        return (), {}
    entries = [nodes[0]] if isinstance(nodes[0][0], str) else nodes[0]
    names, options = [entry[0] for entry in entries], {}
    for entry in entries:
        options |= entry[3] if len(entry) > 3 else {}
    for value in options.values():
        if isinstance(value, list) and len(value) == 3 and isinstance(value[0], str):
            names.append(value[0])
    return tuple(names), options


def _kind(name: str, config: Mapping[str, Any], options: Mapping[str, Any], version: str) -> tuple[str, Any]:
    """Kind and facts as our graphs have them; an empty kind for a layer that passes its input on."""
    if name in ("Conv2D", "DepthwiseConv2D"):
        return _convolution(name, config)
    if name == "AveragePooling2D":
        plain = config["pool_size"] == config["strides"] == [2, 2] and config["padding"] == "valid"
        return "pool" if plain else name, {}
    if name == "ZeroPadding2D":
        return _PADDED, {"padding": tuple(map(tuple, config["padding"]))}
    if name in ("Activation", "TFOpLambda", "SlicingOpLambda"):
        return (_activation(config, version) if name == "Activation" else _function(config, options)), {}
    if name == "PReLU" and config["shared_axes"] != [1, 2]:
        return "PReLU of every pixel", {}
    return "" if name in _PASSING else _KINDS.get(name, name[:40]), {}


def _convolution(name: str, config: Mapping[str, Any]) -> tuple[str, Any]:
    odd = [
        f"{key} {config[key]!s:.40}"
        for key, plain in (
            ("dilation_rate", [1, 1]),
            ("groups", 1),
            ("depth_multiplier", 1),
            ("activation", "linear"),
            ("data_format", "channels_last"),
        )
        if config.get(key, plain) != plain
    ]
    [stride, other] = config["strides"]
    if odd or stride != other:
        return f"{name} with {', '.join(odd) or 'two strides'}", {}
    kernel = tuple(config["kernel_size"])
    facts = {"kernel": kernel, "stride": stride, "padding": "valid" if kernel == (1, 1) else config["padding"]}
    return ("conv", facts | {"width": config["filters"]}) if name == "Conv2D" else ("depthwise", facts)


def _activation(config: Mapping[str, Any], version: str) -> str:
    given = config["activation"]
    name = given if isinstance(given, str) else str(given.get("config") or given["class_name"])
    name = name.rpartition(">")[2]  # what stands before it is the package that registered it
    if name == "hard_sigmoid" and not version.startswith("2."):
        return "hard_sigmoid_torch" if version.startswith("3.") else f"hard_sigmoid of Keras {version[:20] or '?'}"
    return "" if name == "linear" else name[:40]


def _function(config: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    function = config.get("function", "")
    if function in _PASSING_FUNCTIONS or "slice_spec" in options:
        return ""
    if function == "math.reduce_mean" and options.get("axis") == [1, 2]:
        return "mean"
    if function == "image.resize" and options.get("method", "bilinear") == "bilinear":
        return "resize"
    return str(function)[:40]


def _without_passing(layer: Layer, raw: Mapping[str, Layer]) -> Layer:
    inputs = [_source(name, raw) for name in layer.inputs]
    facts = dict(layer.facts)
    if layer.kind in ("conv", "depthwise") and raw[inputs[0]].kind == _PADDED and facts["padding"] == "valid":
        facts["padding"] = raw[inputs[0]].facts["padding"]
        inputs[0] = _source(raw[inputs[0]].inputs[0], raw)
    return Layer(layer.kind, tuple(inputs), facts)


def _source(name: str, raw: Mapping[str, Layer]) -> str:
    """The layer whose numbers arrive under a name."""
    for _ in raw:
        if raw[name].kind:
            break
        name = raw[name].inputs[0]
    return name
