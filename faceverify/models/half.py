"""ONNX graphs that compute in float16, and what shows on a CPU how they will behave where float16 is real.

ONNX Runtime has hardly any float16 kernels for CPUs: it computes in float32 there and leaves out the roundings between
the steps. A graph whose numbers overflow (float16 ends at 65,504) gives good embeddings on the CPU and NaN on a GPU.
"""

import copy
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from faceverify.models.card import ModelCard
from faceverify.models.engine_config import EngineConfig
from faceverify.models.engine_onnx import OnnxEngine

INPUT, EMBEDDING = "input", "embedding"


def to_half(model: ModelProto) -> ModelProto:
    """The same graph in float16: weights, and every step from `input` to `embedding`.

    Input and outputs stay float32, so that it is fed like the original; what follows `embedding` (its norm, whose
    squares would overflow) is computed in float32. A BatchNorm that the exporter could not fold into a convolution
    becomes x * k + d with k = weight / sqrt(variance + epsilon) and d = bias - mean * k in float64, rounded once: a
    variance itself may be too large or too small for float16. The score of the branch `detail` is computed in float32
    too: near its threshold, a rounding would turn a photo away or not.

    Args:
        model: as `export_onnx` writes them; it is left as it is, and its metadata are not taken over.
    """
    steps, last = list(model.graph.node), _last_step(model.graph)
    floats = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    exact = _exact(steps[: last + 1])
    plain = [
        (step.output[0] in exact, node)
        for step in steps[: last + 1]
        for node in ([step] if step.output[0] in exact else map(copy.deepcopy, _without_batch_norm(step, floats)))
    ]
    names = {name: f"{name}/half" for name in (INPUT, EMBEDDING, *floats, *exact)}
    nodes = [_cast(INPUT, names[INPUT], TensorProto.FLOAT16)]
    for stays, node in plain:
        if stays:
            nodes += [node, _cast(node.output[0], names[node.output[0]], TensorProto.FLOAT16)]
            continue
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        nodes.append(node)
    nodes += [_cast(names[EMBEDDING], EMBEDDING, TensorProto.FLOAT), *steps[last + 1 :]]
    used = {name for node in nodes for name in node.input}
    nodes = [node for node in nodes if node.op_type != "Cast" or node.output[0] in used or node.output[0] == EMBEDDING]
    constants = [tensor for tensor in model.graph.initializer if tensor.name in used]
    constants += [_half(value, names[name]) for name, value in floats.items() if names[name] in used]
    return _model_of(model, nodes, constants)


def _exact(steps: list[NodeProto]) -> set[str]:
    """What the steps produce that lead to the score of the branch, and how far that lies from d0; none without it."""
    made = {out: step for step in steps for out in step.output}
    compared = [step.output[0] for step in steps if any(name.endswith("detail.threshold") for name in step.input)]
    found, todo = set[str](), [out for step in steps if {*step.input} & {*compared} for out in step.output]
    while todo:
        name = todo.pop()
        if name in made and name not in found:
            found.add(name)
            todo += made[name].input
    return found


def _last_step(graph: GraphProto) -> int:
    return next(i for i, node in enumerate(graph.node) if EMBEDDING in node.output)


def _without_batch_norm(node: NodeProto, floats: dict[str, np.ndarray]) -> list[NodeProto]:
    """The node, or what stands for it if it is a BatchNorm; new constants are added to `floats`."""
    if node.op_type != "BatchNormalization":
        return [node]
    weight, bias, mean, variance = (floats[name].astype(np.float64) for name in node.input[1:])
    out, epsilon = node.output[0], next(a.f for a in node.attribute if a.name == "epsilon")
    scale = weight / np.sqrt(variance + epsilon)
    floats[f"{out}/scale"] = scale[:, None, None]
    floats[f"{out}/shift"] = (bias - mean * scale)[:, None, None]
    return [
        helper.make_node("Mul", [node.input[0], f"{out}/scale"], [f"{out}/scaled"]),
        helper.make_node("Add", [f"{out}/scaled", f"{out}/shift"], [out]),
    ]


def _half(value: np.ndarray, name: str) -> TensorProto:
    with np.errstate(over="ignore"):  # infinite weights show in the embeddings, which are compared
        return numpy_helper.from_array(value.astype(np.float16), name)


def _cast(source: str, target: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], to=kind)


def _model_of(model: ModelProto, nodes: Iterable[NodeProto], constants: Iterable[TensorProto]) -> ModelProto:
    """A model of other steps between the same input and outputs."""
    graph = helper.make_graph(
        list(nodes), model.graph.name, model.graph.input, model.graph.output, initializer=list(constants)
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def stepwise(path: Path, card: ModelCard, config: EngineConfig) -> OnnxEngine:
    """Load a file that `to_half` made so that a CPU rounds to float16 after every step, as a GPU does.

    Sums inside a step stay float32, as on GPUs. It takes about twice the time of the float32 file.
    """
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / path.name
        onnx.save(_rounding(onnx.load(path)), copied)
        return OnnxEngine(copied, card, config, optimise=False)


def _rounding(model: ModelProto) -> ModelProto:
    """The same graph with two operators that do nothing behind every float16 step.

    Both have float16 kernels on CPUs, and between them the runtime must hold the number as float16. One alone it takes
    for a lonely one and turns it to float32 with its neighbours.
    """
    steps, last = list(model.graph.node), _last_step(model.graph)
    nodes: list[NodeProto] = []
    for step in steps[:last]:
        (out,) = step.output
        exact = copy.deepcopy(step)
        exact.output[:] = [f"{out}/exact"]
        nodes += [exact, helper.make_node("Identity", [f"{out}/exact"], [f"{out}/rounded"])]
        nodes.append(helper.make_node("Identity", [f"{out}/rounded"], [out]))
    return _model_of(model, [*nodes, *steps[last:]], model.graph.initializer)
