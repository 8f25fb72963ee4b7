"""Reads pickles that cannot be trusted: a small machine for the pickle language in which nothing can run.

A pickle is a program. The interpreter's own reader runs it as it comes: names are imported and called, a hash of
nested tuples never ends, nine bytes ask for gigabytes. Here each operation is one of a short list, every name is
answered by the caller's `Reader` from a list of its own, and the work is bounded before it is done:

- at most `MAX_STEPS` operations (some 5 s and 150 MB, whatever they are), and no operation takes more memory than the
  bytes of the file that it stands for, or a small constant;
- only text is a key of a dictionary, so that nothing nested is ever hashed; pairs with other keys are left out;
- nothing walks through what was built: containers that hold themselves, or each other a million times, stay so.
"""

import io
import pickletools
import re
import struct
from collections.abc import Callable, Iterable
from typing import Any, Literal

MAX_STEPS = 1_000_000
_ROOM = 1 << 20  # bytes that calls may take beside four times the size of the pickle
_PER_ITEM = 64  # bytes that a call is assumed to take for each item of a container it is given
_FAULTS = (ValueError, KeyError, IndexError, TypeError, OverflowError, EOFError, struct.error)


class Refused(ValueError):
    """The pickle is damaged, hostile, or not of the kind that was asked for; the text says which."""


class Opaque:
    """Stands for any object of a class that is not known; takes every operation of a pickle, and does nothing."""

    __slots__ = ()


OPAQUE = Opaque()


class Name:
    """What a name of a pickle stands for: a function of the reader, the only thing that a pickle can call."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[..., object]) -> None:
        self.make = make


class Reader:
    """What a pickle may name, set and refer to; here: nothing."""

    def name(self, module: str, name: str) -> object:
        """The `Name`, `OPAQUE` or value that stands for a global name.

        Raises:
            Refused: no such name is needed.
        """
        raise Refused(f"it asks for {module[:40]}.{name[:40]}, which no such file needs")

    def state(self, target: object, state: object) -> None:
        """Take the state that the pickle sets on an object.

        Raises:
            Refused: the object has none.
        """
        raise Refused("it sets the state of an object that has none")

    def persistent(self, key: object) -> object:
        """The object that lies outside the pickle under `key`.

        Raises:
            Refused: nothing does.
        """
        raise Refused("it refers to something outside itself")


def load(stream: io.BytesIO, reader: Reader, text: Literal["utf-8", "bytes"] = "utf-8") -> Any:
    """Read one pickle from `stream`, which stands behind it afterwards.

    Args:
        stream: all bytes there are.
        reader: answers names, states and references.
        text: what the strings of Python 2 become.

    Returns:
        Lists, tuples, dictionaries with text keys, numbers, text, bytes, None, `OPAQUE`, and what `reader` made. Sets
        become lists.

    Raises:
        Refused: it is damaged or hostile, or asks for more than is allowed.
    """
    try:
        return _Machine(stream, reader, text).run()
    except Refused:
        raise
    except _FAULTS as error:  # operations in an order that no writer makes, or cut off
        raise Refused(f"damaged ({type(error).__name__}: {str(error)[:80]})") from None


class _Machine:
    """A stack, the stacks below open marks, and the memo."""

    def __init__(self, stream: io.BytesIO, reader: Reader, text: str) -> None:
        self._stream, self._reader, self._text = stream, reader, text
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._steps = 0
        self._room = 4 * stream.getbuffer().nbytes + _ROOM

    def run(self) -> Any:
        """Carry out operations up to the end of the pickle; return what lies on top."""
        while True:
            code = self._stream.read(1)
            if code not in _TABLE:
                raise Refused(_unknown(code))
            self._steps += 1
            if self._steps > MAX_STEPS:
                raise Refused(f"it has more than {MAX_STEPS:,} operations")
            read, act = _TABLE[code]
            argument = read(self._stream) if read else None
            if act is None:
                return self._stack.pop()
            act(self, argument)

    def constant(self, value: object) -> None:
        """Push a value that is there already."""
        self._stack.append(value)

    def string(self, value: str | bytes) -> None:
        """A string of Python 2, which pickletools gives as Latin-1."""
        raw = value.encode("latin-1") if isinstance(value, str) else value
        self._stack.append(raw.decode("utf-8") if self._text == "utf-8" else raw)

    def mark(self, _: object = None) -> None:
        self._below.append(self._stack)
        self._stack = []

    def marked(self) -> list[Any]:
        """Take what lies above the last mark."""
        items, self._stack = self._stack, self._below.pop()
        return items

    def pop(self, _: object = None) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self.marked()

    def discard(self, _: object) -> None:
        self.marked()

    def duplicate(self, _: object) -> None:
        self._stack.append(self._stack[-1])

    def tuple_of(self, count: int) -> None:
        """A tuple of the last items."""
        items = self._stack[-count:]
        if len(items) != count:
            raise Refused("it takes more items than there are")
        self._stack[-count:] = [tuple(items)]

    def extend(self, items: Iterable[Any]) -> None:
        """Add items to the list (or set) on top."""
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Opaque):
            raise Refused("it adds items to something that is no list")

    def append(self, _: object) -> None:
        item = self._stack.pop()
        self.extend((item,))

    def set_items(self, items: list[Any]) -> None:
        """Set pairs of the dictionary on top."""
        target = self._stack[-1]
        if isinstance(target, dict):
            target.update(_pairs(items))
        elif not isinstance(target, Opaque):
            raise Refused("it sets items of something that is no dictionary")

    def set_item(self, _: object) -> None:
        pair = self._stack[-2:]
        del self._stack[-2:]
        self.set_items(pair)

    def remember(self, index: int) -> None:
        """Put what lies on top into the memo. Writers count up: an index never exceeds the operations so far."""
        if not 0 <= index <= self._steps:
            raise Refused(f"it remembers {index!r} things, and has made {self._steps:,}")
        self._memo[index] = self._stack[-1]

    def recall(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def name(self, module: object, name: object) -> None:
        """Push what a global name stands for."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise Refused("it gives a name that is no text")
        self._stack.append(self._reader.name(module, name))

    def call(self, function: object, arguments: object) -> None:
        """Push what a name makes of arguments."""
        if isinstance(function, Opaque):
            self._stack.append(OPAQUE)
            return
        if not isinstance(function, Name) or not isinstance(arguments, tuple | list):
            raise Refused("it calls something that cannot be called")
        self._room -= sum(_size(argument) for argument in arguments)
        if self._room < 0:
            raise Refused("it makes far more of its content than there is")
        self._stack.append(function.make(*arguments))

    def reduce(self, _: object) -> None:
        arguments = self._stack.pop()
        self.call(self._stack.pop(), arguments)

    def new_object(self, with_words: bool) -> None:
        """`class.__new__(class, *arguments)`, of newer protocols with keyword arguments."""
        if with_words and self._stack.pop():
            self._stack[-1] = ()  # only foreign classes take such; those swallow them
        self.reduce(None)

    def marked_object(self, _: object) -> None:
        function, *arguments = self.marked()
        self.call(function, arguments)

    def instance(self, name: tuple[str, str]) -> None:
        """A class of Python 2 called with what lies above the mark."""
        arguments = self.marked()
        self.name(*name)
        self.call(self._stack.pop(), arguments)

    def build(self, _: object) -> None:
        state = self._stack.pop()
        self._reader.state(self._stack[-1], state)

    def named_by_stack(self, _: object) -> None:
        name = self._stack.pop()
        self.name(self._stack.pop(), name)

    def persistent(self, _: object) -> None:
        self._stack.append(self._reader.persistent(self._stack.pop()))

    def memoise(self, _: object) -> None:
        self.remember(len(self._memo))


def _pairs(items: list[Any]) -> dict[str, Any]:
    """Keys and values in turn. Text alone is kept as a key: any other could take for ever to be hashed or compared."""
    if len(items) % 2:
        raise Refused("it holds a key without a value")
    return {key: value for key, value in zip(items[::2], items[1::2], strict=True) if type(key) is str}


def _size(argument: object) -> int:
    """Bytes that a call may take for an argument."""
    if isinstance(argument, str | bytes | bytearray):
        return len(argument)
    return _PER_ITEM * len(argument) if isinstance(argument, list | tuple | dict) else 0


_OPERATIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "NONE": lambda machine, _: machine.constant(None),
    "NEWTRUE": lambda machine, _: machine.constant(True),
    "NEWFALSE": lambda machine, _: machine.constant(False),
    "STRING": _Machine.string,
    "BINSTRING": _Machine.string,
    "SHORT_BINSTRING": _Machine.string,
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.discard,
    "DUP": _Machine.duplicate,
    "EMPTY_TUPLE": lambda machine, _: machine.constant(()),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "TUPLE": lambda machine, _: machine.constant(tuple(machine.marked())),
    "EMPTY_LIST": lambda machine, _: machine.constant([]),
    "EMPTY_SET": lambda machine, _: machine.constant([]),
    "LIST": lambda machine, _: machine.constant(machine.marked()),
    "FROZENSET": lambda machine, _: machine.constant(machine.marked()),
    "APPEND": _Machine.append,
    "APPENDS": lambda machine, _: machine.extend(machine.marked()),
    "ADDITEMS": lambda machine, _: machine.extend(machine.marked()),
    "EMPTY_DICT": lambda machine, _: machine.constant({}),
    "DICT": lambda machine, _: machine.constant(_pairs(machine.marked())),
    "SETITEM": _Machine.set_item,
    "SETITEMS": lambda machine, _: machine.set_items(machine.marked()),
    "PUT": _Machine.remember,
    "BINPUT": _Machine.remember,
    "LONG_BINPUT": _Machine.remember,
    "MEMOIZE": _Machine.memoise,
    "GET": _Machine.recall,
    "BINGET": _Machine.recall,
    "LONG_BINGET": _Machine.recall,
    "GLOBAL": lambda machine, name: machine.name(*name),
    "STACK_GLOBAL": _Machine.named_by_stack,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": lambda machine, _: machine.new_object(False),
    "NEWOBJ_EX": lambda machine, _: machine.new_object(True),
    "OBJ": _Machine.marked_object,
    "INST": _Machine.instance,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent,
}


# Operations whose argument is the value to be pushed.
_VALUES = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT", "UNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)


# What follows a backslash in a string of Python 2.
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPED = {b"\\": b"\\", b"'": b"'", b'"': b'"', b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def _string_of_protocol_0(stream: Any) -> bytes:
    """Of Python 2, in quotes with escapes; the reader of pickletools takes ASCII alone."""

    def plain(found: re.Match[bytes]) -> bytes:
        escape = found[1]
        return bytes.fromhex(escape[1:].decode()) if len(escape) == 3 else _ESCAPED[escape]

    return _ESCAPE.sub(plain, stream.readline().strip()[1:-1])


def _two_lines(stream: Any) -> tuple[str, str]:
    """Module and name; the reader of pickletools looks for escapes in them."""
    module, name = (stream.readline().removesuffix(b"\n").decode() for _ in range(2))
    return module, name


def _table() -> dict[bytes, tuple[Callable[[Any], Any] | None, Callable[[_Machine, Any], None] | None]]:
    """By the byte of an operation: what reads its argument, and what it does (nothing for STOP)."""
    known = _OPERATIONS | dict.fromkeys(_VALUES, _Machine.constant) | {"STOP": None}
    of = {operation.name: operation for operation in pickletools.opcodes}
    arguments = {name: of[name].arg for name in known}
    readers = {name: argument.reader if argument else None for name, argument in arguments.items()}
    readers |= {"STRING": _string_of_protocol_0, "GLOBAL": _two_lines, "INST": _two_lines}
    return {of[name].code.encode("latin-1"): (readers[name], act) for name, act in known.items()}


_TABLE = _table()


def _unknown(code: bytes) -> str:
    if not code:
        return "it is cut off"
    names = [operation.name for operation in pickletools.opcodes if operation.code.encode("latin-1") == code]
    return f"it uses the operation {names[0]}, which no such file needs" if names else "it is no pickle"
