"""Reads pickles of lists, bytes, numbers and numpy arrays without running anything of theirs.

No name of a pickle is ever looked up. The few names that arrays need are answered with objects of this module that only
collect what they are called with; every other name is refused, so `os.system` and its kind never exist here.
"""

import codecs
import io
import pickle
import struct
from collections.abc import Callable

import numpy as np

_DTYPES = frozenset({"u1", "|u1", "uint8", "b1", "|b1", "bool", "i4", "<i4", "i8", "<i8", "int32", "int64"})
_ERRORS = (
    *(pickle.UnpicklingError, EOFError, AttributeError, ValueError, IndexError, KeyError, TypeError),
    *(ImportError, OverflowError, MemoryError, UnicodeError, struct.error, RecursionError),
)


def load_arrays(data: bytes) -> object:
    """The content of a pickle made of lists, tuples, bytes, str, numbers and numpy arrays of integers or booleans.

    Python 2 pickles are read too (their `str` become bytes).

    Raises:
        ValueError: anything else, above all any other name; nothing of the pickle has been run.
    """
    try:
        return _finished(_Unpickler(io.BytesIO(data), encoding="bytes").load())
    except _ERRORS as error:
        raise ValueError(str(error) or type(error).__name__) from None


class _Refuser:
    """Refuses BUILD, with which a pickle could change the attributes of an object."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("state for an object that has none")


class _Name(_Refuser):
    """Stands for a name of the pickle; calling it collects."""

    __slots__ = ("_make",)
    _make: Callable[..., object]

    def __init__(self, make: Callable[..., object]) -> None:
        object.__setattr__(self, "_make", make)

    def __setattr__(self, name: str, value: object) -> None:
        raise pickle.UnpicklingError("a name cannot be changed")

    def __call__(self, *arguments: object) -> object:
        return self._make(*arguments)


class _Dtype:
    """A numpy dtype of one of the few kinds; its state (byte order, no fields) is accepted and checked."""

    __slots__ = ("kind",)

    def __init__(self, code: object, *_: object) -> None:
        text = code.decode() if isinstance(code, bytes) else str(code)
        if text not in _DTYPES:
            raise pickle.UnpicklingError(f"an array of type {text[:40]!r}")
        self.kind = np.dtype(text)

    def __setstate__(self, state: object) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("|", "<", "=", b"|", b"<", b"="):
            raise pickle.UnpicklingError(f"an array of byte order {order!r}")


class _Array:
    """An array in the making: empty until its state arrives."""

    __slots__ = ("value",)

    def __init__(self, *_: object) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("an array without content")
        _, shape, dtype, fortran, content = state
        self.value = _array(content, dtype, shape, "F" if fortran else "C")


def _array(content: object, dtype: object, shape: object, order: object) -> np.ndarray:
    if not isinstance(content, bytes | bytearray) or not isinstance(dtype, _Dtype):
        raise pickle.UnpicklingError("an array whose content is not bytes")
    if not isinstance(shape, tuple) or not all(isinstance(side, int) and side >= 0 for side in shape):
        raise pickle.UnpicklingError("an array without a shape")
    return np.frombuffer(content, dtype.kind).reshape(shape, order="F" if order == "F" else "C")


def _scalar(dtype: object, content: object) -> object:
    return _array(content, dtype, (), "C").item()


def _encode(text: object, encoding: object) -> bytes:
    """Protocol 2 has no bytes: Python 3 writes them as `_codecs.encode(text, "latin1")`."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError("text of another encoding than latin1")
    return codecs.latin_1_encode(text)[0]


def _bytes(*arguments: object) -> bytes:
    if arguments:  # bytes(10**12) would be a bomb; pickles write only the empty one so
        raise pickle.UnpicklingError("bytes made of something")
    return b""


_NAMES: dict[tuple[str, str], _Name] = {
    ("numpy", "ndarray"): _Name(_Array),
    ("numpy", "dtype"): _Name(_Dtype),
    ("_codecs", "encode"): _Name(_encode),
    ("__builtin__", "bytes"): _Name(_bytes),
    ("builtins", "bytes"): _Name(_bytes),
    **{(f"{core}.multiarray", "_reconstruct"): _Name(_Array) for core in ("numpy.core", "numpy._core")},
    **{(f"{core}.multiarray", "scalar"): _Name(_scalar) for core in ("numpy.core", "numpy._core")},
    **{(f"{core}.numeric", "_frombuffer"): _Name(_array) for core in ("numpy.core", "numpy._core")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> object:
        if (module_name, global_name) not in _NAMES:
            raise pickle.UnpicklingError(f"it asks for {module_name[:40]}.{global_name[:40]}, which no such file needs")
        return _NAMES[module_name, global_name]


def _finished(value: object) -> object:
    """`value` with arrays in place of arrays in the making, two levels deep: that is as deep as such files go."""
    if isinstance(value, list | tuple):
        return [[_done(item) for item in part] if isinstance(part, list | tuple) else _done(part) for part in value]
    return _done(value)


def _done(value: object) -> object:
    return value.value if isinstance(value, _Array) else value
