"""Keras model files as Keras 2 writes them, made of the golden description of GhostFaceNet with the golden weights."""

import hashlib
import json
from pathlib import Path

import h5py
import numpy as np

_SETTINGS = {
    "Conv2D": {"dilation_rate": [1, 1], "groups": 1, "data_format": "channels_last", "kernel_regularizer": None},
    "DepthwiseConv2D": {"dilation_rate": [1, 1], "groups": 1, "data_format": "channels_last"},
    "BatchNormalization": {"momentum": 0.9, "center": True},
    "AveragePooling2D": {"data_format": "channels_last"},
}
_FUNCTIONS = {"tf.compat.v1.shape": "compat.v1.shape", "tf.math.reduce_mean": "math.reduce_mean"}
_FUNCTIONS |= {"tf.image.resize": "image.resize"}
_FACTS = ("filters", "kernel_size", "strides", "padding", "use_bias", "activation", "depth_multiplier", "epsilon")
_FACTS += ("axis", "scale", "shared_axes", "pool_size", "keepdims", "target_shape")


def weights(layers: list[dict]) -> dict[str, np.ndarray]:
    """The golden weights, by the rule of the golden set's README."""
    made = {}
    for key, shape in (pair for layer in layers for pair in layer["weights"]):
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big"))
        last = key.rpartition("/")[2]
        if last == "moving_variance":
            value = 1 + 0.5 * rng.random(shape)
        else:
            value = rng.standard_normal(shape)
            fan_in = np.prod(shape[:3] if last == "kernel" else shape[:2])
            center, scale = {"gamma": (1, 0.1), "alpha": (0.25, 0.05)}.get(last, (0, 0.1))
            value = value / np.sqrt(fan_in) if "kernel" in last else center + scale * value
        made[key] = value.astype(np.float32)
    return made


def config(layers: list[dict], epsilon: float | None = None) -> dict:
    """The description of a functional model."""
    described = []
    for layer in layers:
        name, kind = layer["name"], layer["class"]
        settings = {"name": name, "trainable": True, "dtype": "float32"} | _SETTINGS.get(kind, {})
        settings |= {key: layer[key] for key in _FACTS if key in layer}
        if kind == "BatchNormalization" and epsilon is not None:
            settings["epsilon"] = epsilon
        nodes: list = [[[source, 0, 0, {}] for source in layer["inputs"]]] if layer["inputs"] else []
        if kind in ("TFOpLambda", "SlicingOpLambda"):  # written without the inner list, and with their arguments
            function = next((f for prefix, f in _FUNCTIONS.items() if name.startswith(prefix)), "__operators__.getitem")
            settings["function"] = function
            first, *rest = layer["inputs"]
            options = {
                "compat.v1.shape": {},
                "__operators__.getitem": {"slice_spec": {"start": 1, "stop": -1, "step": None}},
                "math.reduce_mean": {"axis": [1, 2], "keepdims": True},
                "image.resize": {"size": [*rest, 0, 0], "antialias": False, "method": "bilinear"},
            }[function]
            nodes = [[first, 0, 0, options]]
        described.append({"class_name": kind, "config": settings, "name": name, "inbound_nodes": nodes})
    ends = {"input_layers": [[layers[0]["name"], 0, 0]], "output_layers": [[layers[-1]["name"], 0, 0]]}
    return {"class_name": "Functional", "config": {"name": "model", "layers": described} | ends}


def write(
    path: Path, layers: list[dict], described: dict, arrays: dict[str, np.ndarray], version: str = "2.15.0"
) -> Path:
    """An .h5 as Keras 2 saves it: attributes of names, and a group for each layer."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = version, "tensorflow"
        file.attrs["model_config"] = json.dumps(described).encode()
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = [layer["name"].encode() for layer in layers]
        for layer in layers:
            group = root.create_group(layer["name"])
            names = [f"{key}:0" for key, _ in layer["weights"]]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name in names:
                group.create_dataset(name, data=arrays[name.removesuffix(":0")])
    return path
