"""The child process of `faceverify.models.keras_file`: takes the arrays out of one HDF5 file, within limits.

It writes them as safetensors: an array `LAYER\\nWEIGHT` each, and the model's description as bytes. The HDF5 library is
no place for files that cannot be trusted, so it is used here alone.
"""

import sys
from collections.abc import Iterator

import h5py
import numpy as np
from safetensors.numpy import save

from faceverify.models.keras_file import CONFIG, VERSION
from faceverify.models.trial import limit_this_process

_MAX_LAYERS, _MAX_NAME, _MAX_CONFIG = 5000, 200, 8 << 20
_SECONDS = 30  # of computing: in damaged files the library may go round in circles


def arrays(data: bytes) -> dict[str, np.ndarray]:
    """The description and all weights of a Keras model in an HDF5 file.

    Raises:
        ValueError: it holds none, or does so in a way that Keras does not write. (The library raises others too.)
    """
    try:
        opened = h5py.h5f.open_file_image(data)
    except ValueError:
        raise ValueError("it is no HDF5 file, or is cut off") from None
    with h5py.File(opened, "r") as file:
        if CONFIG not in file.attrs or "model_weights" not in file:
            raise ValueError("it holds no Keras model: there is no model_config, or no model_weights")
        found = {CONFIG: _text(file, CONFIG), VERSION: _text(file, VERSION) if VERSION in file.attrs else _bytes(b"")}
        weights = _group(file, "model_weights")
        promised = 0
        for layer in _names(weights, "layer_names"):
            group = _group(weights, layer)
            for name in _names(group, "weight_names"):
                dataset = _numbers(group, name)
                promised += dataset.nbytes
                if promised > len(data):
                    raise ValueError("its weights promise more numbers than it holds")
                key = f"{layer}\n{name.rpartition('/')[2].partition(':')[0]}"
                if key in found:
                    raise ValueError(f"its layer {layer[:60]!r} has two weights of one name")
                found[key] = np.ascontiguousarray(dataset[()], np.float32)
        return found


def _at(group: h5py.Group, path: str) -> object:
    """What lies at a path, if it lies in this file itself."""
    at: object = group
    for part in path.split("/"):
        if not isinstance(at, h5py.Group) or not isinstance(at.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"there is no {path[:60]!r} in it, or it lies elsewhere")
        at = at[part]
    return at


def _group(group: h5py.Group, path: str) -> h5py.Group:
    if isinstance(found := _at(group, path), h5py.Group):
        return found
    raise ValueError(f"its {path[:60]!r} is no group")


def _numbers(group: h5py.Group, path: str) -> h5py.Dataset:
    """An array that lies in the file as it is."""
    found = _at(group, path)
    if not isinstance(found, h5py.Dataset) or found.dtype.kind != "f":
        raise ValueError(f"its {path[:60]!r} is no array of floating point numbers")
    if found.external or found.is_virtual or found.id.get_create_plist().get_nfilters():
        raise ValueError(f"its {path[:60]!r} is compressed or lies elsewhere, which Keras does not do")
    return found


def _names(group: h5py.Group, attribute: str) -> Iterator[str]:
    """Names in an attribute, which Keras splits into several where they are many."""
    parts = [attribute] if attribute in group.attrs else []
    while (more := f"{attribute}{len(parts)}") in group.attrs and len(parts) < _MAX_LAYERS and attribute not in parts:
        parts.append(more)
    for part in parts:
        values = np.asarray(group.attrs[part]).ravel()
        if len(values) > _MAX_LAYERS:
            raise ValueError(f"it names more than {_MAX_LAYERS:,} layers or weights")
        for value in values:
            name = value.decode() if isinstance(value, bytes) else str(value)
            if not 0 < len(name) <= _MAX_NAME or "\n" in name:
                raise ValueError("it has a name that is empty or too long")
            yield name


def _text(file: h5py.File, attribute: str) -> np.ndarray:
    value = file.attrs[attribute]
    if not isinstance(value, str | bytes) or len(value) > _MAX_CONFIG:
        raise ValueError(f"its {attribute} is no text, or one of more than {_MAX_CONFIG >> 20} MB")
    return _bytes(value.encode() if isinstance(value, str) else value)


def _bytes(value: bytes) -> np.ndarray:
    return np.frombuffer(value, np.uint8)


def _main() -> int:
    limit_this_process(int(sys.argv[1]), _SECONDS)
    try:
        sys.stdout.buffer.write(save(arrays(sys.stdin.buffer.read())))
    except Exception as error:
        print(" ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
