"""Read the tensors out of a PyTorch checkpoint without running anything that is written in it.

`faceverify.safe_pickle` carries the pickle out. A name is looked up in a list of a few that build tensors and
dictionaries; every other name becomes an inert placeholder that swallows whatever is done to it. Thus checkpoints of
training frameworks, which hold their own objects beside the tensors, can be read without trusting them.
Both containers of `torch.save` are understood: zip (since 1.6) and the older sequence of pickles. Memory: the file, and
a copy of those of its storages that tensors lie on.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from faceverify.safe_pickle import OPAQUE, Name, Opaque, Reader, Refused, load

__all__ = ["Refused", "Unpickled", "read", "read_bytes"]

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_MAX_TENSORS, _MAX_DIMENSIONS = 20_000, 8
_MAX_ENTRIES = 100_000
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
# Gives the flat tensor that lies under a key, of a type and a number of elements.
Storages = Callable[[str, torch.dtype, int], Tensor | Opaque]
# Objects without a class of their own to run, which checkpoints may hold beside the tensors; they are left out.
_HARMLESS = frozenset(
    {
        ("collections", "Counter"),
        ("collections", "defaultdict"),
        ("torch", "Size"),
        ("torch", "device"),
        *(("torch", str(dtype).removeprefix("torch.")) for dtype in _DTYPES.values()),
        *((builtins, name) for builtins in ("builtins", "__builtin__") for name in ("set", "list", "dict", "complex")),
    }
)


@dataclass(frozen=True, slots=True)
class Unpickled:
    """What a checkpoint holds: dictionaries, lists, tuples, tensors, numbers and text; and `OPAQUE` for all else."""

    content: Any
    foreign: tuple[str, ...]
    """Names of classes and functions in it that are not known, each once; nothing of theirs was run."""


class _Tensors(Reader):
    """Builds tensors over the storages that `storage` hands out, and placeholders for all else."""

    def __init__(self, storage: Storages) -> None:
        self._storage = storage
        self._count = 0
        self.foreign: dict[str, None] = {}
        rebuild = Name(self._rebuild)
        self._known: dict[tuple[str, str], object] = {
            ("collections", "OrderedDict"): Name(_dictionary),
            ("torch._utils", "_rebuild_tensor"): rebuild,
            ("torch._utils", "_rebuild_tensor_v2"): rebuild,
            ("torch._utils", "_rebuild_parameter"): Name(_parameter),
            ("torch._utils", "_rebuild_parameter_with_state"): Name(_parameter),
            **{("torch", name): dtype for name, dtype in _DTYPES.items()},
        }

    def name(self, module: str, name: str) -> object:
        """Look a name up in the list of known ones; never import anything."""
        if (module, name) in self._known:
            return self._known[module, name]
        if (module, name) not in _HARMLESS and len(self.foreign) < 100:
            self.foreign[f"{module[:60]}.{name[:60]}"] = None
        return OPAQUE

    def state(self, target: object, state: object) -> None:
        """Ignore it: nothing here has attributes."""

    def persistent(self, key: Any) -> object:
        """Resolve ('storage', storage class, key, device, number of elements, ...) to a flat tensor on the CPU."""
        if not isinstance(key, tuple) or len(key) < 5 or key[0] != "storage":
            raise Refused("it refers to something that is no tensor storage")
        _, dtype, name, _, count, *view = key
        if not isinstance(dtype, torch.dtype):
            raise Refused("it holds tensors of an unknown type")
        if not isinstance(name, str | int) or not isinstance(count, int) or count < 0:
            raise Refused("it refers to a storage without a name or size")
        if view and view[0] is not None:
            raise Refused("it holds storages that are parts of others, which PyTorch no longer writes")
        return self._storage(str(name), dtype, count)

    def _rebuild(self, storage: object, offset: int, size: object, stride: object, *_: object) -> object:
        if isinstance(storage, Opaque):
            return OPAQUE
        self._count += 1
        if self._count > _MAX_TENSORS:
            raise Refused(f"it holds more than {_MAX_TENSORS:,} tensors")
        sides, steps = _whole_numbers(size), _whole_numbers(stride)
        if not isinstance(storage, Tensor):
            raise Refused("a tensor has no storage")
        # A stride of zero could announce a tensor of any size over a few bytes.
        if torch.Size(sides).numel() > storage.numel():
            raise Refused(f"a tensor of {sides} elements lies on a storage of {storage.numel()}")
        return torch.as_strided(storage, sides, steps, offset)  # checks the bounds itself


def _whole_numbers(sides: object) -> tuple[int, ...]:
    if not isinstance(sides, tuple) or len(sides) > _MAX_DIMENSIONS or not all(type(n) is int for n in sides):
        raise Refused("a tensor has no size, or too many dimensions")
    return sides


def _dictionary(items: object = ()) -> dict[str, Any]:
    """An OrderedDict, which Python 2 calls with its items."""
    if not isinstance(items, list | tuple) or not all(isinstance(i, list | tuple) and len(i) == 2 for i in items):
        raise Refused("a dictionary is made of something else than pairs")
    return {key: value for key, value in items if type(key) is str}


def _parameter(data: object, *_: object) -> object:
    return data


def read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint: those under `state_dict` if there is one, else those at the top.

    Raises:
        Refused: the file is no checkpoint of `torch.save`, or is damaged or malicious; the text says why.
    """
    content = read_bytes(path.read_bytes()).content
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise Refused("its top level is no dictionary")
    return {key: value for key, value in content.items() if isinstance(value, Tensor)}


def read_bytes(data: bytes) -> Unpickled:
    """Everything in a checkpoint of `torch.save`.

    Raises:
        Refused: it is none, or is damaged or malicious; the text says why.
    """
    try:
        return _read_zip(data) if data[:4] == b"PK\x03\x04" else _read_legacy(data)
    except Refused:
        raise
    except Exception as error:  # a hostile or broken file can fail in any way; none of them is ours
        raise Refused(f"{type(error).__name__} while reading it") from error


def _read_zip(data: bytes) -> Unpickled:
    entries = _stored_entries(data)
    pickles = [name for name in entries if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise Refused("it is a zip file, but not one that torch.save wrote")
    root = pickles[0].removesuffix("data.pkl")
    if entries.get(f"{root}byteorder", b"little") != b"little":
        raise Refused("its numbers are big-endian")

    def bytes_of(key: str, _: int) -> memoryview:
        if f"{root}data/{key}" not in entries:
            raise Refused(f"the storage {key[:40]} is not in it")
        return entries[f"{root}data/{key}"]

    reader = _Tensors(_Storages(bytes_of))
    content = load(io.BytesIO(entries[pickles[0]]), reader)
    return Unpickled(content, tuple(reader.foreign))


def _stored_entries(data: bytes) -> Mapping[str, memoryview]:
    """The entries of a zip file whose content lies in it as it is, one behind the other; nothing is unpacked."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        listed = archive.infolist()
    if len(listed) > _MAX_ENTRIES:
        raise Refused(f"it is a zip file of more than {_MAX_ENTRIES:,} entries")
    found: dict[str, memoryview] = {}
    end, whole = 0, memoryview(data)
    for info in sorted(listed, key=lambda info: info.header_offset):
        name = info.filename
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise Refused(f"its entry {name[:60]} is compressed: it is a zip file, but not one that torch.save wrote")
        if info.header_offset < end or name in found:
            raise Refused(f"its entry {name[:60]} lies upon another one: it is no zip file that torch.save wrote")
        magic, name_size, extra_size = _LOCAL_HEADER.unpack_from(data, info.header_offset)
        start = info.header_offset + _LOCAL_HEADER.size + name_size + extra_size
        end = start + info.file_size
        if magic != b"PK\x03\x04" or end > len(data) or zlib.crc32(whole[start:end]) != info.CRC:
            raise Refused(f"its entry {name[:60]} is damaged")
        found[name] = whole[start:end]
    return found


class _Storages:
    """The storages of a file as flat tensors, each made once.

    Args:
        bytes_of: called with a key and the most bytes wanted; gives the bytes under that key.
    """

    def __init__(self, bytes_of: Callable[[str, int], memoryview]) -> None:
        self._bytes_of = bytes_of
        self._made: dict[str, Tensor] = {}

    def __call__(self, key: str, dtype: torch.dtype, count: int) -> Tensor:
        if key not in self._made:
            self._made[key] = _flat(self._bytes_of(key, count * dtype.itemsize), dtype, count)
        made = self._made[key]
        if made.dtype != dtype or made.numel() != count:
            raise Refused(f"the storage {key[:40]} is said to be of two types or sizes")
        return made


def _read_legacy(data: bytes) -> Unpickled:
    """Magic number, protocol, system, object, list of storage keys, then the storages one after another.

    The object is read twice: first to see what storages it names, then over those that the file holds.
    """
    promised: dict[str, tuple[torch.dtype, int]] = {}

    def promise(key: str, dtype: torch.dtype, count: int) -> Opaque:
        if promised.setdefault(key, (dtype, count)) != (dtype, count):
            raise Refused(f"the storage {key[:40]} is said to be of two types or sizes")
        return OPAQUE

    stream = io.BytesIO(data)
    if load(stream, Reader()) != _LEGACY_MAGIC or load(stream, Reader()) != _LEGACY_PROTOCOL:
        raise Refused("it is not a file that torch.save wrote")
    load(stream, _Tensors(promise))
    start = stream.tell()
    load(stream, _Tensors(promise))
    places = _places(stream, load(stream, Reader()), promised)

    def bytes_of(key: str, size: int) -> memoryview:
        return memoryview(data)[places[key] : places[key] + size]

    stream.seek(start)
    reader = _Tensors(_Storages(bytes_of))
    return Unpickled(load(stream, reader), tuple(reader.foreign))


def _places(stream: io.BytesIO, keys: object, promised: Mapping[str, tuple[torch.dtype, int]]) -> dict[str, int]:
    """Where each promised storage lies: they follow in the order of `keys`, each after its number of elements."""
    names = [str(key) for key in keys if isinstance(key, str | int)] if isinstance(keys, list) else []
    if len(set(names)) < len(names) or set(names) != promised.keys():
        raise Refused("it promises other storages than it holds")
    size, places = stream.getbuffer().nbytes, {}
    for key in names:
        dtype, count = promised[key]
        (held,) = struct.unpack("<q", stream.read(8))
        places[key] = stream.tell()
        if held != count or stream.seek(count * dtype.itemsize, io.SEEK_CUR) > size:
            raise Refused(f"it promises {count:,} elements of the storage {key[:40]} and holds fewer, or others")
    return places


def _flat(data: memoryview, dtype: torch.dtype, count: int) -> Tensor:
    if len(data) != count * dtype.itemsize:
        raise Refused(f"a storage holds {len(data)} bytes, {count * dtype.itemsize} were announced")
    return torch.frombuffer(bytearray(data), dtype=dtype) if count else torch.empty(0, dtype=dtype)
