"""Small ONNX graphs with the inputs and outputs of published networks: what they give tells what they were fed."""

import hashlib
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from faceverify.fakes.swapper_table import SWAPPERS, Swapper


def _value(name: str, shape: list[int | str], kind: int) -> object:
    return helper.make_tensor_value_info(name, kind, shape)


def _model(nodes: list, inputs: list, outputs: list, constants: dict[str, np.ndarray]) -> ModelProto:
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "stand-in", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def swapper(
    row: Swapper,
    *,
    batch: int | str = 1,
    names: tuple[str, str] = ("target", "source"),
    kind: int = TensorProto.FLOAT,
    table: np.ndarray | None = None,
) -> ModelProto:
    """Gives the target with its channels shifted by a tenth of the first three of `source` (of a picture: of its mean).

    A second output follows, as in hyperswap. With `table` that is the last constant, which no step uses.
    """
    target, source = row.signature.inputs["target"], row.signature.inputs["source"]
    number = np.float32 if kind == TensorProto.FLOAT else np.float16
    constants = {"tenth": np.array(0.1, number), "three": np.array([0, 1, 2], np.int64)}
    constants["sides"] = np.array([-1, 3, 1, 1], np.int64)
    a, b = names
    if len(source) == 1:
        nodes = [helper.make_node("Gather", [b, "three"], ["first"], axis=1)]
    else:
        nodes = [helper.make_node("ReduceMean", [b], ["first"], axes=[2, 3], keepdims=0)]
    nodes += [
        helper.make_node("Reshape", ["first", "sides"], ["shaped"]),
        helper.make_node("Mul", ["shaped", "tenth"], ["shift"]),
        helper.make_node("Add", [a, "shift"], ["picture"]),
        helper.make_node("ReduceMean", [a], ["mask"], axes=[1], keepdims=1),
    ]
    inputs = [_value(a, [batch, *target], kind), _value(b, [batch, *source], kind)]
    outputs = [_value("picture", [batch, *target], kind), _value("mask", [batch, 1, *target[1:]], kind)]
    return _model(nodes, inputs, outputs, constants | ({} if table is None else {"buff2fs": table.astype(number)}))


def converter() -> ModelProto:
    """Gives the vector turned back to front, three times as long."""
    constants = {"order": np.arange(511, -1, -1, dtype=np.int64), "three": np.array(3, np.float32)}
    nodes = [helper.make_node("Gather", ["input", "order"], ["back"], axis=1)]
    nodes += [helper.make_node("Mul", ["back", "three"], ["output"])]
    values = [_value(name, [1, 512], TensorProto.FLOAT) for name in ("input", "output")]
    return _model(nodes, values[:1], values[1:], constants)


def points_106() -> ModelProto:
    """Gives points around the middle of the picture; they move a little with its colours."""
    angle = np.linspace(0, 2 * np.pi, 106, endpoint=False)
    oval = np.stack([0.35 * np.cos(angle), 0.42 * np.sin(angle) + 0.05], axis=1).astype(np.float32).reshape(1, 212)
    pull = np.random.default_rng(0).normal(0, 0.03, (3, 212)).astype(np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["data"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Div", ["mean", "bright"], ["share"]),
        helper.make_node("MatMul", ["share", "pull"], ["moved"]),
        helper.make_node("Add", ["moved", "oval"], ["fc1"]),
    ]
    inputs = [_value("data", ["N", 3, 192, 192], TensorProto.FLOAT)]
    outputs = [_value("fc1", ["N", 212], TensorProto.FLOAT)]
    return _model(nodes, inputs, outputs, {"bright": np.array(255, np.float32), "pull": pull, "oval": oval})


def table() -> np.ndarray:
    """A table [512, 512] of identities."""
    return np.random.default_rng(7).standard_normal((512, 512)).astype(np.float32)


def published(name: str) -> ModelProto:
    """The stand-in of a published ONNX file, by its name in the registry."""
    if name == "2d106det":
        return points_106()
    if name.startswith("crossface"):
        return converter()
    row = next(row for row in SWAPPERS.values() if row.weights == name)
    kind = TensorProto.FLOAT16 if name.endswith("fp16") else TensorProto.FLOAT
    return swapper(row, kind=kind, table=table() if row.identity == "table" else None)


def write(model: ModelProto, path: Path) -> str:
    """Write a graph; returns its SHA-256."""
    data = model.SerializeToString()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()
