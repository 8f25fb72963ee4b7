"""Reading ONNX files that cannot be trusted, within bounds, before anything else looks at them.

Protocol buffers make objects of a hundred bytes out of two, and tensors are promised by numbers. So the messages of a
file are counted first, without making any; and each tensor must hold what its dimensions promise. Tensors that lie in
other files are refused: such a file could be anywhere, and no SHA-256 of the graph covers it.
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
    """Parse an ONNX file.

    Raises:
        UserError: it is none, is damaged or hostile, or keeps tensors in other files.
    """
    try:
        return parse(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path} is damaged or no ONNX file ({error}); fetch or export it again.") from error


def parse(data: bytes) -> "ModelProto":
    """Parse the bytes of an ONNX file.

    Raises:
        ValueError: they are none, are damaged or hostile, or keep tensors in other files.
    """
    import onnx
    from google.protobuf.message import DecodeError

    _count(data)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ValueError("it cannot be parsed") from error
    for tensor in _tensors(model):
        _check(tensor)
    return model


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
    if tensor.external_data or tensor.data_location:
        raise ValueError(
            f"its tensor {name} lies in another file, which its SHA-256 does not cover: write all into one file with "
            "onnx.save(onnx.load(FILE), OTHER)"
        )
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
