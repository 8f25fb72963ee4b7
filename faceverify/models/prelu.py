"""A faster PReLU for ONNX Runtime on CPUs.

Its CPU kernel for PRelu is slow, and it breaks the chain of operators that run in a blocked memory layout. The same
function written as relu(x) * (1 - slope) + x * slope stays in that chain. Measured on one core: MobileFaceNet y1 takes
3.0 ms per face instead of 8.3, IR-18 23 instead of 30; unit embeddings differ by less than 3e-7.
"""

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper


def without_prelu(model: ModelProto) -> ModelProto:
    """Replace every PRelu of constant slope in a graph; returns the same graph."""
    slopes = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[NodeProto] = []
    added: list[TensorProto] = []
    for node in model.graph.node:
        if node.op_type == "PRelu" and len(node.input) == 2 and node.input[1] in slopes:
            more, constant = _replacement(node, slopes[node.input[1]])
            nodes += more
            added.append(constant)
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(added)
    return model


def _replacement(node: NodeProto, slope: TensorProto) -> tuple[list[NodeProto], TensorProto]:
    """The nodes relu, two products and their sum, and the constant 1 - slope (in the slope's shape and type)."""
    x, out = node.input[0], node.output[0]
    values = numpy_helper.to_array(slope)
    rest = numpy_helper.from_array(np.asarray(1 - values, values.dtype), f"{out}/rest")
    nodes = [
        helper.make_node("Relu", [x], [f"{out}/relu"]),
        helper.make_node("Mul", [f"{out}/relu", rest.name], [f"{out}/positive"]),
        helper.make_node("Mul", [x, slope.name], [f"{out}/all"]),
        helper.make_node("Add", [f"{out}/positive", f"{out}/all"], [out]),
    ]
    return nodes, rest
