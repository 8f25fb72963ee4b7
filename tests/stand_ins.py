"""Networks and pictures that stand in for published weights and photos: made in a moment, without PyTorch."""

from pathlib import Path

import numpy as np


def write_embedder(path: Path, dim: int = 64, seed: int = 0) -> Path:
    """An ONNX network [N, 3, 112, 112] -> [N, dim] of random weights, with its card: a convolution over 28x28 pixels.

    A black picture has an embedding of zeros.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from faceverify.models import card
    from faceverify.models.card import METADATA_KEY

    assert dim % 16 == 0, "16 places, dim / 16 filters"
    weights = np.random.default_rng(seed).normal(0, 0.01, (dim // 16, 3, 28, 28)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["data", "weights"], ["places"], strides=[28, 28]),
        helper.make_node("Flatten", ["places"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "embedder",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, 112, 112])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", dim])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    described = card.build(name="stand_in", architecture="onnx", colour="RGB", mean=[0.0] * 3, std=[1.0] * 3, dim=dim)
    helper.set_model_props(model, {METADATA_KEY: described.to_json()})
    onnx.save(model, path)
    return path


def draw(person: int, photo: int, side: int = 112) -> np.ndarray:
    """RGB uint8 [side, side, 3]: a coarse pattern of the person's own, and a little that is the photo's own."""
    own, other = (np.random.default_rng([person, number]) for number in (0, photo + 1))
    coarse = own.integers(0, 200, (7, 7, 3)) + other.integers(0, 56, (7, 7, 3))
    return np.kron(coarse, np.ones((-(-side // 7), -(-side // 7), 1)))[:side, :side].astype(np.uint8)


def write_photos(folder: Path, persons: int = 2, photos: int = 2, side: int = 112) -> list[Path]:
    """`<folder>/<person>_<photo>.png` of each, in order."""
    from faceverify.images import encode_png

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for person, photo in np.ndindex(persons, photos):
        paths.append(folder / f"{person}_{photo}.png")
        paths[-1].write_bytes(encode_png(draw(person, photo, side)))
    return paths
