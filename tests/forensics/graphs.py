"""Small forensic models in ONNX: the score is how rough a picture is, mean |pixel - its right neighbour|, weighted."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from faceverify.forensics.card import METADATA_KEY, ForensicCard

SIDE = 64


def card(**changes: object) -> ForensicCard:
    """Of `roughness`."""
    given = {
        "kind": "forensic",
        "name": "roughness",
        "input_size": (SIDE, SIDE),
        "crop": f"arcface{SIDE}:view=1.3",
        "colour": "RGB",
        "mean": (127.5,) * 3,
        "std": (127.5,) * 3,
        "output": "log_odds",
    }
    return ForensicCard(**(given | changes))  # type: ignore[arg-type]


def roughness(path: Path, of: ForensicCard, weight: float = 40.0, offset: float = -2.0, inside: bool = True) -> Path:
    """Write a graph that gives weight * roughness + offset (+ the scale, if the card has it) as the card says."""
    side = of.input_size[0]
    nodes = [
        helper.make_node("Slice", ["picture", "from1", "to", "axis"], ["right"]),
        helper.make_node("Slice", ["picture", "from0", "last", "axis"], ["left"]),
        helper.make_node("Sub", ["right", "left"], ["step"]),
        helper.make_node("Abs", ["step"], ["size"]),
        helper.make_node("ReduceMean", ["size", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "weight"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["flat"]),
        helper.make_node("Unsqueeze", ["flat", "axis1"], ["score" if not of.takes_scale else "one"]),
    ]
    if of.takes_scale:
        nodes.append(helper.make_node("Add", ["one", "scale"], ["score"]))
    last = "score"
    if of.output == "probability":
        nodes.append(helper.make_node("Sigmoid", ["score"], ["out"]))
        last = "out"
    elif of.output == "two_log_odds":
        nodes += [
            helper.make_node("Mul", ["score", "zero"], ["other"]),
            helper.make_node("Concat", ["other", "score"], ["out"], axis=1),
        ]
        last = "out"
    constants: dict[str, np.ndarray] = {
        "from1": np.array([1]),
        "from0": np.array([0]),
        "to": np.array([side]),
        "last": np.array([side - 1]),
        "axis": np.array([3]),
        "axis1": np.array([1]),
        "axes": np.array([1, 2, 3]),
        "weight": np.array(weight, np.float32),
        "offset": np.array(offset, np.float32),
        "zero": np.array(0, np.float32),
    }
    inputs = [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["N", 3, side, side])]
    if of.takes_scale:
        inputs.append(helper.make_tensor_value_info("scale", TensorProto.FLOAT, ["N", 1]))
    columns = 2 if of.output == "two_log_odds" else 1
    graph = helper.make_graph(
        nodes,
        "roughness",
        inputs,
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["N", columns])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    if inside:
        helper.set_model_props(model, {METADATA_KEY: of.to_json()})
    onnx.save(model, path)
    return path
