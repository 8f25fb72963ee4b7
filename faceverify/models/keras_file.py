"""Reading a Keras model file (.h5) without TensorFlow: its weights under the names that our network has for them.

A child process takes the arrays out (`keras_child.py`); here the file's own description of the network is compared with
the graphs of the networks we have, and the arrays are turned to PyTorch's axes. What a description may say otherwise
without making another network is taken over: an epsilon other than ours goes into the variance, a BatchNorm without
scale has ones, a convolution without bias zeros.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceverify.errors import UserError
from faceverify.models import keras_config, trial
from faceverify.models.keras_config import KerasGraph
from faceverify.models.layer_graph import Layer, Mismatch, match
from faceverify.models.safetensors_file import load_safetensors

if TYPE_CHECKING:
    from torch import Tensor

CONFIG, VERSION = "model_config", "keras_version"
PLACE = "model_weights"
"""Where in such a file the weights lie."""


def read(path: Path) -> dict[str, dict[str, "Tensor"]]:
    """Read the weights of a network that we have.

    Returns:
        The tensors by the names and in the order that `faceverify.models.ghostfacenet` gives them, under `PLACE`.

    Raises:
        UserError: the file is damaged, hostile or no Keras model, or one of another network.
    """
    try:
        arrays = load_safetensors(trial.in_child("keras_child", path.read_bytes()))
    except ValueError as error:
        raise UserError(f"{path} is damaged or no Keras model ({error}); fetch it again.") from None
    try:
        return {PLACE: _named(arrays)}
    except ValueError as error:
        raise UserError(f"{path} holds no network that is known here ({error}); give a GhostFaceNet's .h5.") from None


def _named(arrays: dict[str, "Tensor"]) -> dict[str, "Tensor"]:
    """The arrays by our names for them."""
    from faceverify.models.ghostfacenet import GHOSTFACENETS, plan

    text, version = (bytes(arrays.pop(name).tolist()) for name in (CONFIG, VERSION))
    theirs = keras_config.parse(text, version.decode(errors="replace"))
    values: dict[str, dict[str, Tensor]] = {}
    for key, value in arrays.items():
        layer, _, name = key.partition("\n")
        values.setdefault(layer, {})[name] = value
    dim = len(values.get(theirs.output, {}).get("beta", ()))
    nearest: Mismatch | None = None
    for architecture in GHOSTFACENETS:
        ours = plan(architecture, dim)
        try:
            names = match(ours, theirs.layers, theirs.output)
        except Mismatch as mismatch:
            nearest = mismatch if nearest is None or mismatch.alike > nearest.alike else nearest
            continue
        if unused := sorted(set(values) - set(names.values())):
            raise ValueError(f"it has weights outside of the network: {unused[0][:80]!r}")
        found: dict[str, Tensor] = {}
        for name, other in names.items():
            found |= {f"{name}.{key}": value for key, value in _weights(ours[name], other, theirs, values).items()}
        order = {name: number for number, name in enumerate(ours)}
        return dict(sorted(found.items(), key=lambda pair: order[pair[0].partition(".")[0]]))
    raise nearest or ValueError("no network is known")


def _weights(
    layer: Layer, name: str, theirs: KerasGraph, values: Mapping[str, dict[str, "Tensor"]]
) -> dict[str, "Tensor"]:
    """The tensors of a layer as PyTorch has them.

    Raises:
        ValueError: the file has other ones for it.
    """
    import torch

    given, settings = dict(values.get(name, {})), theirs.settings[name]
    try:
        match layer.kind:
            case "conv":
                made = {"weight": given.pop("kernel").permute(3, 2, 0, 1).contiguous()}
                if layer.facts.get("bias"):
                    made["bias"] = given.pop("bias") if settings["use_bias"] else torch.zeros(layer.facts["width"])
            case "depthwise":
                made = {"weight": given.pop("depthwise_kernel").permute(2, 3, 0, 1).contiguous()}
            case "prelu":
                made = {"weight": given.pop("alpha").flatten()}
            case "norm":
                made = _norm(given, settings)
            case _:
                made = {}
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"its layer {name[:80]!r} has no weights as a {layer.kind}: {error!s:.80}") from None
    if given:
        raise ValueError(f"its layer {name[:80]!r} has weights of no use: {', '.join(given)[:80]}")
    return made


def _norm(given: dict[str, "Tensor"], settings: Mapping[str, Any]) -> dict[str, "Tensor"]:
    import torch

    from faceverify.models.ghostfacenet import EPS

    mean, variance, more = given.pop("moving_mean"), given.pop("moving_variance"), float(settings["epsilon"]) - EPS
    made = {
        "weight": given.pop("gamma") if settings["scale"] else torch.ones_like(mean),
        "bias": given.pop("beta") if settings["center"] else torch.zeros_like(mean),
        "running_mean": mean,
        "running_var": (variance.double() + more).float() if more else variance,
        "num_batches_tracked": torch.tensor(0),
    }
    if (made["running_var"] < 0).any():
        raise KeyError(f"epsilon {settings['epsilon']} and variances below it")
    return made
