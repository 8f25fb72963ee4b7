"""Reads pickles of lists, bytes, numbers and numpy arrays without running anything of theirs.

`faceverify.safe_pickle` carries them out. The few names that arrays need are answered with functions of this module;
every other name is refused, so `os.system` and its kind never exist here. Arrays are views of the pickle's bytes.
"""

import codecs
import io

import numpy as np

from faceverify.safe_pickle import Name, Reader, Refused, load

_DTYPES = frozenset({"u1", "|u1", "uint8", "b1", "|b1", "bool", "i4", "<i4", "i8", "<i8", "int32", "int64"})


def load_arrays(data: bytes) -> object:
    """The content of a pickle made of lists, tuples, bytes, str, numbers and numpy arrays of integers or booleans.

    Python 2 pickles are read too (their `str` become bytes). Arrays are looked for two levels deep.

    Raises:
        ValueError: anything else, above all any other name; nothing of the pickle has been run.
    """
    return _finished(load(io.BytesIO(data), _Arrays(), text="bytes"))


class _Dtype:
    """A numpy dtype of one of the few kinds."""

    __slots__ = ("kind",)

    def __init__(self, code: object, *_: object) -> None:
        text = code.decode() if isinstance(code, bytes) else str(code) if isinstance(code, str) else ""
        if text not in _DTYPES:
            raise Refused(f"an array of type {text[:40]!r}")
        self.kind = np.dtype(text)


class _Array:
    """An array in the making: empty until its state arrives."""

    __slots__ = ("value",)

    def __init__(self, *_: object) -> None:
        self.value: np.ndarray | None = None


class _Arrays(Reader):
    def name(self, module: str, name: str) -> object:
        return _NAMES[module, name] if (module, name) in _NAMES else super().name(module, name)

    def state(self, target: object, state: object) -> None:
        """Fill an array, or check that a dtype has no unusual byte order."""
        if isinstance(target, _Dtype) and isinstance(state, tuple) and len(state) > 1:
            if state[1] not in ("|", "<", "=", b"|", b"<", b"="):
                raise Refused("an array of another byte order")
        elif isinstance(target, _Array) and isinstance(state, tuple) and len(state) == 5:
            _, shape, dtype, fortran, content = state
            target.value = _array(content, dtype, shape, "F" if fortran else "C")
        else:
            super().state(target, state)


def _array(content: object, dtype: object, shape: object, order: object) -> np.ndarray:
    if not isinstance(content, bytes | bytearray) or not isinstance(dtype, _Dtype):
        raise Refused("an array whose content is not bytes")
    if not isinstance(shape, tuple) or not all(isinstance(side, int) and side >= 0 for side in shape):
        raise Refused("an array without a shape")
    return np.frombuffer(content, dtype.kind).reshape(shape, order="F" if order == "F" else "C")


def _scalar(dtype: object, content: object) -> object:
    return _array(content, dtype, (), "C").item()


def _encode(text: object, encoding: object) -> bytes:
    """Protocol 2 has no bytes: Python 3 writes them as `_codecs.encode(text, "latin1")`."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise Refused("text of another encoding than latin1")
    return codecs.latin_1_encode(text)[0]


def _bytes(*arguments: object) -> bytes:
    if arguments:  # bytes(10**12) would be a bomb; pickles write only the empty one so
        raise Refused("bytes made of something")
    return b""


_NAMES: dict[tuple[str, str], Name] = {
    ("numpy", "ndarray"): Name(_Array),
    ("numpy", "dtype"): Name(_Dtype),
    ("_codecs", "encode"): Name(_encode),
    ("__builtin__", "bytes"): Name(_bytes),
    ("builtins", "bytes"): Name(_bytes),
    **{(f"{core}.multiarray", "_reconstruct"): Name(_Array) for core in ("numpy.core", "numpy._core")},
    **{(f"{core}.multiarray", "scalar"): Name(_scalar) for core in ("numpy.core", "numpy._core")},
    **{(f"{core}.numeric", "_frombuffer"): Name(_array) for core in ("numpy.core", "numpy._core")},
}


def _finished(value: object) -> object:
    """`value` with arrays in place of arrays in the making, two levels deep: that is as deep as such files go."""
    if not isinstance(value, list | tuple):
        return _done(value)
    distinct = {id(part): part for part in value}  # a part that is named often is gone through once
    parts = {
        key: [_done(item) for item in part] if isinstance(part, list | tuple) else _done(part)
        for key, part in distinct.items()
    }
    return [parts[id(part)] for part in value]


def _done(value: object) -> object:
    return value.value if isinstance(value, _Array) else value
