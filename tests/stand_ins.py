"""Small networks that stand in for published ones: a mirror that has them, and a registry that knows their sums.

In a process of its own, `install` takes the place of the registry (see `sitecustomize` in tests/e2e/test_wheel.py).
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

PHOTO = 96  # pixels; the detector knows photos of this size
DETECTOR, RECOGNISER, START = "yunet", "sface", "mobilefacenet_foamliu"
FACTS = "stand_ins.json"


def write_mirror(folder: Path) -> dict[str, Path]:
    """Write `folder/NAME/FILE` for each stand-in, and what is known of them to `folder/stand_ins.json`."""
    from faceverify.models import files, registry
    from faceverify.models.card import METADATA_KEY

    places = {name: folder / name / registry.get(name).files[0].name for name in (DETECTOR, RECOGNISER, START)}
    for place in places.values():
        place.parent.mkdir(parents=True)
    write_detector(places[DETECTOR])
    write_recognisers(places[RECOGNISER], places[START])
    facts: dict[str, dict[str, Any]] = {
        name: {"sha256": files.sha256_of(place), "size": place.stat().st_size} for name, place in places.items()
    }
    facts[RECOGNISER]["card"] = json.loads(files.onnx_metadata(places[RECOGNISER])[METADATA_KEY])
    facts[START]["card"] = facts[RECOGNISER]["card"] | {"name": START, "norm_output": False}
    (folder / FACTS).write_text(json.dumps(facts))
    return places


def entries_with(facts: Path) -> dict[str, Any]:
    """The published networks, the stand-ins in place of those whose names they have."""
    from faceverify.models import registry
    from faceverify.models.card import build

    entries = dict(registry.entries())
    for name, known in json.loads(facts.read_text()).items():
        entry = entries[name]
        file = replace(entry.files[0], sha256=known["sha256"], size=known["size"])
        card = replace(build(**known["card"]), sha256=known["sha256"]) if "card" in known else None
        entries[name] = replace(entry, files=(file,), card=card)
    return entries


def install(facts: str) -> None:
    """Have this process know the stand-ins under the names of the published networks."""
    from faceverify.models import registry

    entries = entries_with(Path(facts))
    registry.entries = lambda: entries


def write_recognisers(onnx_file: Path, torch_file: Path) -> None:
    """A small network of random weights, for ONNX Runtime and for PyTorch."""
    import torch

    from faceverify.models import card
    from faceverify.models.export import export_onnx
    from faceverify.models.iresnet import iresnet

    torch.manual_seed(0)
    network = iresnet("tiny", 32).eval()
    half = [127.5] * 3
    described = card.build(name=RECOGNISER, architecture="tiny", colour="RGB", mean=half, std=half, dim=32)
    torch.save(network.state_dict(), torch_file)
    export_onnx(network, described, onnx_file)


def write_detector(path: Path) -> None:
    """A network with YuNet's inputs and outputs that finds one face in the middle of a photo of PHOTO pixels.

    On the coarsest grid (3x3 cells) a convolution over ones with a border of zeros counts a cell's neighbours: nine in
    the middle alone.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    # Where the program draws eyes, nose and mouth corners, in cells of 32 pixels from the middle one.
    points = np.array([[38, 45.5], [58, 45.5], [48, 57.5], [39.5, 65.6], [56.5, 65.6]]) / 32 - 1
    box = [0.5, 0.55, np.log(60 / 32), np.log(70 / 32)]
    nodes, constants, outputs = [], [], []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    def branch(name: str, stride: int, source: str, bias: list[float], scale: float) -> None:
        width = len(bias)
        weight = constant(f"{name}_w", np.full((width, 1, 1, 1), scale, np.float32))
        offset = constant(f"{name}_b", np.array(bias, np.float32))
        nodes.append(helper.make_node("Conv", [source, weight, offset], [f"{name}_c"]))
        nodes.append(helper.make_node("Clip", [f"{name}_c", low, high], [f"{name}_d"]))
        nodes.append(helper.make_node("Transpose", [f"{name}_d"], [f"{name}_t"], perm=[0, 2, 3, 1]))
        shape = constant(f"{name}_s", np.array([1, -1, width], np.int64))
        nodes.append(helper.make_node("Reshape", [f"{name}_t", shape], [name]))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, f"n{stride}", width]))

    low, high = constant("low", np.float32(-10)), constant("high", np.float32(1))
    for stride in (8, 16, 32):
        cell = constant(f"cell{stride}", np.zeros((1, 3, stride, stride), np.float32))
        one = constant(f"one{stride}", np.ones(1, np.float32))
        nodes.append(helper.make_node("Conv", ["input", cell, one], [f"ones{stride}"], strides=[stride, stride]))
        around = constant(f"around{stride}", np.ones((1, 1, 3, 3), np.float32))
        nodes.append(helper.make_node("Conv", [f"ones{stride}", around], [f"count{stride}"], pads=[1] * 4))
        seen = stride == 32
        branch(f"cls_{stride}", stride, f"count{stride}", [-8.0 if seen else 0.0], 1.0 if seen else 0.0)
        branch(f"obj_{stride}", stride, f"count{stride}", [1.0], 0.0)
        branch(f"bbox_{stride}", stride, f"count{stride}", box, 0.0)
        branch(f"kps_{stride}", stride, f"count{stride}", points.ravel().tolist(), 0.0)
    order = {
        name: place for place, name in enumerate(f"{k}_{s}" for k in ("cls", "obj", "bbox", "kps") for s in (8, 16, 32))
    }
    outputs.sort(key=lambda output: order[output.name])
    picture = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, "height", "width"])
    graph = helper.make_graph(nodes, "detector", [picture], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


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
