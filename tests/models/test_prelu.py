"""The rewritten PReLU is PReLU."""

import numpy as np
import onnx
import onnxruntime as ort
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from faceverify.models.prelu import without_prelu


def graph_of(slopes, shape, as_input=False):
    """x -> PRelu -> PRelu, the slopes given as constants, or as a second input."""
    value = helper.make_tensor_value_info
    inputs = [value("x", TensorProto.FLOAT, shape)]
    if as_input:
        inputs.append(value("slope", TensorProto.FLOAT, slopes.shape))
    nodes = [helper.make_node("PRelu", ["x", "slope"], ["y"]), helper.make_node("PRelu", ["y", "slope"], ["z"])]
    constants = [] if as_input else [numpy_helper.from_array(slopes, "slope")]
    graph = helper.make_graph(nodes, "g", inputs, [value("z", TensorProto.FLOAT, shape)], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), per_channel=st.booleans())
def test_same_function(seed, per_channel, tmp_path_factory):
    rng = np.random.default_rng(seed)
    slopes = rng.normal(0.25, 1, (3, 1, 1) if per_channel else (1,)).astype(np.float32)
    x = rng.normal(0, 10, (2, 3, 4, 5)).astype(np.float32)
    path = tmp_path_factory.mktemp("g") / "g.onnx"
    onnx.save(graph_of(slopes, x.shape), path)
    rewritten = without_prelu(onnx.load(path)).SerializeToString()
    assert "PRelu" not in {node.op_type for node in onnx.load_from_string(rewritten).graph.node}
    session = ort.InferenceSession(rewritten, providers=["CPUExecutionProvider"])
    y = np.where(x > 0, x, x * slopes)
    want = np.where(y > 0, y, y * slopes)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], want, rtol=1e-5, atol=1e-4)


def test_a_computed_slope_is_left_alone(tmp_path):
    path = tmp_path / "g.onnx"
    onnx.save(graph_of(np.ones((3, 1, 1), np.float32), (1, 3, 2, 2), as_input=True), path)
    assert [node.op_type for node in without_prelu(onnx.load(path)).graph.node] == ["PRelu", "PRelu"]
