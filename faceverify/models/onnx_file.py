"""Reading ONNX files that cannot be trusted, within bounds, before anything else looks at them.

Protocol buffers make objects of a hundred bytes out of two, and tensors are promised by numbers. So the messages of a
file are counted first, without making any; and each tensor must hold what its dimensions promise. Tensors may lie in
other files beside the graph (ONNX's external data); they are put into it here, so that all that follows sees one file.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceverify.errors import UserError

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

MAX_FIELDS = 500_000  # of all messages; IR-101 has some 20,000
_DEPTH = 24
# Fields that are messages, by message: ModelProto, GraphProto, ... as far as graphs of embedders use them.
_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "pair", 14: "pair", 20: "training", 25: "function", 26: "leaf"},
    "training": {1: "graph", 2: "graph", 3: "pair", 4: "pair"},
    "graph": {1: "node", 5: "tensor", 14: "annotation", 15: "sparse", 16: "pair"}
    | dict.fromkeys((11, 12, 13), "value"),
    "node": {5: "attribute", 9: "pair", 10: "leaf"},
    "attribute": {
        **dict.fromkeys((5, 10), "tensor"),
        **dict.fromkeys((6, 11), "graph"),
        **dict.fromkeys((14, 15), "type"),
        **dict.fromkeys((22, 23), "sparse"),
    },
    "function": {7: "node", 9: "pair", 11: "attribute", 12: "value", 14: "pair"},
    "tensor": {3: "leaf", 13: "pair", 16: "pair"},
    "sparse": {1: "tensor", 2: "tensor"},
    "value": {2: "type", 4: "pair"},
    "annotation": {2: "pair"},
    "type": {1: "tensor_type", 4: "type", 5: "map", 8: "tensor_type", 9: "type"},
    "map": {2: "type"},
    "tensor_type": {2: "shape"},
    "shape": {1: "leaf"},
    "pair": {},
    "leaf": {},
}
_ITEM_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 14: 8, 15: 16, 16: 2}
# Where the numbers of a tensor lie that are not in `raw_data`: field, and how many of them make one element.
_FIELDS = {1: ("float_data", 1), 7: ("int64_data", 1), 8: ("string_data", 1), 11: ("double_data", 1)}
_FIELDS |= {12: ("uint64_data", 1), 13: ("uint64_data", 1), 14: ("float_data", 2), 15: ("double_data", 2)}


def read(path: Path) -> "ModelProto":
    """Parse an ONNX file, and put the tensors into it that lie in files beside it.

    Raises:
        UserError: it is none, is damaged or hostile, or such a file is not there or is elsewhere.
    """
    try:
        return parse(path.read_bytes(), path.parent)
    except ValueError as error:
        raise UserError(f"{path} is damaged or no ONNX file ({error}); fetch or export it again.") from error


def whole(path: Path) -> bytes:
    """The content of an ONNX file, with the tensors in it that lie in files beside it.

    Raises:
        UserError: as `read`.
    """
    from google.protobuf.message import EncodeError

    if not data_files(path):
        return path.read_bytes()
    try:
        return read(path).SerializeToString()
    except (EncodeError, ValueError):
        raise UserError(f"{path} has more than 2 GB of tensors, which is more than one ONNX file can hold.") from None


def parse(data: bytes, folder: Path | None = None) -> "ModelProto":
    """Parse the bytes of an ONNX file.

    Args:
        data: the bytes.
        folder: where the files lie that it keeps tensors in; none are looked for if None.

    Raises:
        ValueError: they are none, are damaged or hostile, or such a file is not there or is elsewhere.
    """
    model = _parsed(data)
    room: dict[str, int] = {}
    for tensor in _tensors(model):
        if tensor.external_data or tensor.data_location:
            _bring_in(tensor, folder, room)
        _check(tensor)
    return model


def data_files(path: Path) -> list[Path]:
    """The files beside an ONNX file that it keeps tensors in, by name; none of a file that cannot be read."""
    data = path.read_bytes()
    return [path.parent / name for name in data_names(data)]


def data_names(data: bytes) -> list[str]:
    """The names of the files that an ONNX file with this content keeps tensors in, sorted."""
    if b"location" not in data:  # the key of every such name, so most files need not be parsed
        return []
    try:
        tensors = list(_tensors(_parsed(data)))
    except ValueError:
        return []
    entries = [entry for tensor in tensors for entry in tensor.external_data if entry.key == "location"]
    return sorted({entry.value for entry in entries if _is_plain(entry.value)})


def _is_plain(name: str) -> bool:
    """Whether this is the name of a file in the same folder."""
    return 0 < len(name) <= 255 and name not in (".", "..") and not set(name) & set("/\\\0")


def _parsed(data: bytes) -> "ModelProto":
    import onnx
    from google.protobuf.message import DecodeError

    _count(data)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ValueError("it cannot be parsed") from error
    return model


def _bring_in(tensor: "TensorProto", folder: Path | None, room: dict[str, int]) -> None:
    """Put the numbers into a tensor that lie in a file beside it.

    Args:
        tensor: which says where.
        folder: of the graph.
        room: by name of such a file, how many bytes of it may still be taken; all tensors together take no more than
            it has.
    """
    name = repr(tensor.name[:60])
    said = {entry.key: entry.value for entry in tensor.external_data}
    location = said.get("location", "")
    if folder is None or not _is_plain(location):
        raise ValueError(f"its tensor {name} lies in another file ({location[:60]!r}) and not in one beside it")
    path = folder / location
    if not path.is_file():
        raise ValueError(f"its tensor {name} lies in {location[:60]!r}, and there is no such file beside it")
    size = path.stat().st_size
    try:
        offset = int(said.get("offset", "0"))
        length = int(said["length"]) if "length" in said else size - offset
    except ValueError:
        raise ValueError(f"its tensor {name} lies at no place of {location[:60]!r}") from None
    left = room.setdefault(location, size)
    if not 0 <= offset <= offset + length <= size or length > left:
        raise ValueError(f"its tensor {name} takes more of {location[:60]!r} than there is: it is cut off, or another")
    room[location] = left - length
    with path.open("rb") as stream:
        stream.seek(offset)
        tensor.raw_data = stream.read(length)
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")


def _count(data: bytes) -> None:
    """Check that there are not too many fields, nor too deep messages."""
    whole = memoryview(data)
    waiting: list[tuple[str, int, int, int]] = [("model", 0, len(data), 0)]
    fields = 0
    while waiting:
        message, at, end, depth = waiting.pop()
        if depth > _DEPTH:
            raise ValueError("its messages lie too deep in one another")
        inner = _MESSAGES[message]
        while at < end:
            fields += 1
            if fields > MAX_FIELDS:
                raise ValueError(f"it has more than {MAX_FIELDS:,} fields")
            key, at = _number(whole, at, end)
            kind = key & 7
            if kind == 0:
                _, at = _number(whole, at, end)
            elif kind in (1, 5):
                at += 8 if kind == 1 else 4
            elif kind == 2:
                size, at = _number(whole, at, end)
                if at + size > end:
                    raise ValueError("it is cut off")
                if key >> 3 in inner:
                    waiting.append((inner[key >> 3], at, at + size, depth + 1))
                at += size
            else:
                raise ValueError("it is no protocol buffer")


def _number(whole: memoryview, at: int, end: int) -> tuple[int, int]:
    """A number of up to ten bytes, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise ValueError("it is cut off")
        byte = whole[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("it is no protocol buffer")


def _tensors(message: Any) -> Iterator["TensorProto"]:
    """All tensors in a message, at any depth (which is bounded by now)."""
    from onnx import TensorProto

    if isinstance(message, TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for one in value if _is_many(value) else (value,):
            yield from _tensors(one)


def _is_many(value: object) -> bool:
    return hasattr(value, "__len__")


def _check(tensor: "TensorProto") -> None:
    """Check that a tensor holds what it promises."""
    name = repr(tensor.name[:60])
    if any(side < 0 for side in tensor.dims):
        raise ValueError(f"its tensor {name} has a negative side")
    count, kind = math.prod(tensor.dims), tensor.data_type
    if count > 1 << 40:
        raise ValueError(f"its tensor {name} promises {count:,} numbers")
    if tensor.HasField("raw_data"):
        # Of types of less than a byte two share one.
        held = len(tensor.raw_data) * 2 // (2 * _ITEM_BYTES[kind]) if kind in _ITEM_BYTES else None
    else:
        field, each = _FIELDS.get(kind, ("int32_data", 1))
        held = len(getattr(tensor, field)) // each if kind in _ITEM_BYTES or kind == 8 else None
    if held != count if held is not None else count > 2 * tensor.ByteSize():
        raise ValueError(f"its tensor {name} promises {count:,} numbers and holds {held or 'other ones'}")
