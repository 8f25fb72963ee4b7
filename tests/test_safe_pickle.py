"""What the machine reads is what Python's own reader reads, as far as it reads it."""

import io
import os
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceverify import safe_pickle
from faceverify.safe_pickle import OPAQUE, Name, Reader, Refused, load

PLAIN = st.none() | st.booleans() | st.integers(-(2**2000), 2**2000) | st.floats(allow_nan=False) | st.text()
NESTED = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.tuples(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(NESTED, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_content_is_read_as_by_pickle(content, protocol):
    stream = io.BytesIO(pickle.dumps([content, content], protocol) + b"behind")
    assert load(stream, Reader()) == [content, content]
    assert stream.read() == b"behind"


@pytest.mark.parametrize("protocol", [4, 5])
def test_bytes_and_sets(protocol):
    content = [b"a", bytearray(b"b"), b"long" * 100, {1}, frozenset({2})]
    if protocol < 5:
        content.pop(1)  # made by a call there
    *read, some, frozen = load(io.BytesIO(pickle.dumps(content, protocol)), Reader())
    assert read == content[:-2] and (some, frozen) == ([1], [2])


def test_strings_of_python_2():
    data = b"(lp0\nS'a\\xff\\n\\'\\\\'\np1\naU\x02\xff\x00a."
    assert load(io.BytesIO(data), Reader(), text="bytes") == [b"a\xff\n'\\", b"\xff\x00"]
    assert load(io.BytesIO(b"U\x02\xc3\xa4."), Reader()) == "ä"
    for broken in (b"S'\\q'\n.", b"U\x01\xff."):
        with pytest.raises(Refused):
            load(io.BytesIO(broken), Reader())


def test_keys_that_are_no_text_are_left_out():
    content = {"a": 1, 2: 3, (4,): 5, None: 6}
    assert load(io.BytesIO(pickle.dumps(content)), Reader()) == {"a": 1}


class Counting(Reader):
    """Knows one name, and everything else as an opaque object."""

    def __init__(self):
        self.calls = []

    def name(self, module, name):
        return Name(lambda *arguments: self.calls.append(arguments)) if name == "known" else OPAQUE

    def state(self, target, state):
        self.calls.append(state)


class Foreign(dict):
    def __reduce__(self):
        return Foreign, (1,), {"state": 2}, iter([3]), iter([("key", 4)])

    def append(self, item):
        """As lists have it."""

    extend = append


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_foreign_objects_become_opaque_and_swallow_everything(protocol):
    reader = Counting()
    assert load(io.BytesIO(pickle.dumps([Foreign(), os.system], protocol)), reader) == [OPAQUE, OPAQUE]
    assert reader.calls == [{"state": 2}]


def test_a_name_is_called_with_its_arguments_and_nothing_else_is():
    reader = Counting()
    load(io.BytesIO(b"cany\nknown\n(K\1K\2tR."), reader)
    assert reader.calls == [(1, 2)]
    for called in (b"K\1", b"]", b"}", b")"):
        with pytest.raises(Refused, match="cannot be called"):
            load(io.BytesIO(called + b")R."), reader)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cut off"),
        (b"N", "cut off"),
        (b"\xff.", "no pickle"),
        (b"\x82\1.", "EXT1"),
        (b"Pid\n.", "PERSID"),
        (b"\x97.", "NEXT_BUFFER"),
        (b"\x8b\1\0\0\0\1.", "LONG4"),
        (b".", "damaged"),
        (b"h\1.", "damaged"),
        (b"N\x86.", "more items than there are"),
        (b"t.", "damaged"),
        (b"]NNs.", "no dictionary"),
        (b"}(Nu.", "without a value"),
        (b"NNa.", "no list"),
        (b"NNNs.", "no dictionary"),
        (b"K\1K\2\x93.", "no text"),
        (b"Nq\5.", "remembers 5 things"),
        (b"Np-1\n.", "remembers -1 things"),
        (b"cos\nsystem\n.", "os.system"),
        (b"NQ.", "outside itself"),
        (b"NNb.", "sets the state"),
    ],
)
def test_what_no_writer_makes_is_refused(data, said):
    with pytest.raises(Refused, match=said):
        load(io.BytesIO(data), Reader())


def test_the_number_of_operations_is_bounded(monkeypatch):
    monkeypatch.setattr(safe_pickle, "MAX_STEPS", 1000)
    load(io.BytesIO(b"N0" * 499 + b"N."), Reader())
    with pytest.raises(Refused, match="more than 1,000 operations"):
        load(io.BytesIO(b"N0" * 500 + b"N."), Reader())


def test_calls_make_no_more_than_a_small_multiple_of_the_pickle():
    reader, text = Counting(), b"X" + (1 << 20).to_bytes(4, "little") + b"a" * (1 << 20)
    head = text + b"q\0cany\nknown\nq\1" + b"0" * 2
    load(io.BytesIO(head + b"h\1h\0\x85R" * 4 + b"."), reader)
    with pytest.raises(Refused, match="far more"):
        load(io.BytesIO(head + b"h\1h\0\x85R" * 6 + b"."), reader)
