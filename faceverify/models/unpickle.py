"""Read the tensors out of a PyTorch checkpoint without running anything that is written in it.

A pickle names functions and classes to call. Here a name is looked up in a list of a few that build tensors and
dictionaries; every other name becomes an inert placeholder that swallows whatever is done to it. Thus checkpoints of
training frameworks, which hold their own objects beside the tensors, can be read without trusting them.
Both containers of `torch.save` are understood: zip (since 1.6) and the older sequence of pickles.
"""

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class Refused(Exception):
    """The file is not a checkpoint that can be read this way; the text says why."""


class _Inert(type):
    """Class of the classes a pickle may see: setting state on them does nothing."""

    def __setstate__(cls, state: object) -> None:
        """Ignore the state that a pickle wants to set on the class itself."""


class _Placeholder(metaclass=_Inert):
    """Stands for any object of an unknown class; takes every operation a pickle has, and does nothing."""

    def __new__(cls, *args: object, **kwargs: object) -> "_Placeholder":
        return object.__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, value: object) -> None:
        """Ignore an item of a list subclass."""

    def extend(self, values: object) -> None:
        """Ignore items of a list subclass."""

    def add(self, value: object) -> None:
        """Ignore an item of a set subclass."""


class _Mapping(dict, metaclass=_Inert):
    """Stands for OrderedDict, without attributes to set."""

    def __setstate__(self, state: object) -> None:
        pass


class _Rebuild:
    """A function that a pickle may call, wrapped so that the pickle cannot set attributes on it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: object) -> None:
        pass


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    # A stride of zero could announce a tensor of any size over a few bytes.
    if torch.Size(size).numel() > storage.numel():
        raise Refused(f"a tensor of {tuple(size)} elements lies on a storage of {storage.numel()}")
    return torch.as_strided(storage, size, stride, offset)  # checks the bounds itself


def _parameter(data: Tensor, *_: object) -> Tensor:
    return data


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Mapping,
    ("torch._utils", "_rebuild_tensor"): _Rebuild(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Rebuild(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Rebuild(_parameter),
}


class _Unpickler(pickle.Unpickler):
    """Builds tensors over the storages that `storage` hands out, and placeholders for all else."""

    def __init__(self, stream: BinaryIO, storage: Callable[[str, torch.dtype, int], Tensor]) -> None:
        super().__init__(stream, encoding="utf-8")
        self._storage = storage

    def find_class(self, module: str, name: str, /) -> Any:
        """Look a name up in the list of allowed ones; never import anything."""
        if module == "torch" and name in _DTYPES:
            return type(name, (_Placeholder,), {"dtype": _DTYPES[name]})
        return _ALLOWED.get((module, name), _Placeholder)

    def persistent_load(self, pid: Any, /) -> Tensor:
        """Resolve ('storage', storage class, key, device, number of elements, ...) to a flat tensor on the CPU."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise Refused("it refers to something that is no tensor storage")
        dtype = getattr(pid[1], "dtype", None)
        if not isinstance(dtype, torch.dtype):
            raise Refused("it holds tensors of an unknown type")
        return self._storage(str(pid[2]), dtype, int(pid[4]))


def read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint: those under `state_dict` if there is one, else those at the top.

    Raises:
        Refused: the file is no checkpoint of `torch.save`, or is damaged or malicious; the text says why.
    """
    try:
        content = _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
    except Refused:
        raise
    except Exception as error:  # a hostile or broken pickle can fail in any way; none of them is ours
        raise Refused(f"{type(error).__name__} while reading it") from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise Refused("its top level is no dictionary")
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def _read_zip(path: Path) -> Any:
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        pickles = [name for name in entries if name.endswith("/data.pkl")]
        if len(pickles) != 1 or sum(info.file_size for info in entries.values()) > size:
            raise Refused("it is a zip file, but not one that torch.save wrote")
        root = pickles[0].removesuffix("data.pkl")
        if entries.get(f"{root}byteorder") and archive.read(f"{root}byteorder") != b"little":
            raise Refused("its numbers are big-endian")
        cache: dict[str, Tensor] = {}

        def storage(key: str, dtype: torch.dtype, count: int) -> Tensor:
            if key not in cache:
                cache[key] = _flat(archive.read(f"{root}data/{key}"), dtype, count)
            return cache[key]

        return _Unpickler(io.BytesIO(archive.read(pickles[0])), storage).load()


def _read_legacy(path: Path) -> Any:
    """Magic number, protocol, system, object, list of storage keys, then the storages one after another."""
    size = path.stat().st_size
    promised: dict[str, Tensor] = {}

    def storage(key: str, dtype: torch.dtype, count: int) -> Tensor:
        if key not in promised:
            if count * dtype.itemsize > size:
                raise Refused("it announces more data than the file holds")
            promised[key] = torch.empty(count, dtype=dtype)
        return promised[key]

    with path.open("rb") as stream:
        magic, protocol, _ = (_Unpickler(stream, storage).load() for _ in range(3))
        if magic != _LEGACY_MAGIC or protocol != _LEGACY_PROTOCOL:
            raise Refused("it is not a file that torch.save wrote")
        content = _Unpickler(stream, storage).load()
        for key in _Unpickler(stream, storage).load():
            (count,) = struct.unpack("<q", stream.read(8))
            held = promised[key]
            held.copy_(_flat(stream.read(held.nbytes), held.dtype, count))
    return content


def _flat(data: bytes, dtype: torch.dtype, count: int) -> Tensor:
    if len(data) != count * dtype.itemsize:
        raise Refused(f"a storage holds {len(data)} bytes, {count * dtype.itemsize} were announced")
    return torch.frombuffer(bytearray(data), dtype=dtype) if count else torch.empty(0, dtype=dtype)
