"""Hostile and careless JSON and YAML: refused in a short sentence, within the memory that the file justifies."""

import json
import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverify import config
from faceverify.errors import UserError
from faceverify.reading import MAX_DEPTH, MalformedError, parse_json, parse_yaml, read_json, shown
from faceverify.storage import Location

ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)


@dataclass(frozen=True)
class Part:
    """A part."""

    size: int = 1
    """A number."""


@dataclass(frozen=True)
class Config:
    """A configuration."""

    name: str = ""
    """A text."""
    part: Part = field(default_factory=Part)


@pytest.mark.parametrize(
    "text, said",
    [
        ("name: a\nname: b\n", "the key 'name' stands there twice, line 2"),
        ("part:\n  size: 1\n  size: 2\n", "the key 'size' stands there twice, line 3"),
        (ALIASES + "name: *a8\n", "more than 20,000 values"),
        ("name: &n [*n]\n", "more than 20,000 values"),
        ("name: " + "[" * 100_000, f"nested deeper than {MAX_DEPTH}, line 1"),
        ("- " * 50_000 + "x", f"nested deeper than {MAX_DEPTH}"),
        ("name: " + "{a: " * 100_000, f"nested deeper than {MAX_DEPTH}"),
        ("name: 2001-99-99", "month must be in 1..12"),
        ("name: !!python/object/apply:os.system [echo]", "could not determine a constructor"),
        ("name: '" + "x" * (1 << 20) + "'", "the limit is"),
        ("name: " + "9" * 5000, "4300 digits"),
        ("name: \0", "not allowed"),
        ("name: [" + "1, " * 30_000 + "]", "more than 20,000 values"),
        ("name: " + json.dumps(["y" * 10_000] * 50), "got ['yyy"),
        ("z" * 1000 + ": 1", "unknown key 'zzz"),
        ("? [a, b]\n: 1", "unhashable"),
        ("\n".join(f"key{n}: 1" for n in range(5000)), "more."),
    ],
)
def test_a_bad_configuration_is_told_in_short(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(text)
    tracemalloc.start()
    with pytest.raises(UserError) as told:
        config.from_yaml(Config, file)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert said in str(told.value) and len(str(told.value)) < 3000, str(told.value)[:300]
    assert most < 300e6


def test_aliases_within_bounds_are_fine(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("name: &n anna\npart: &p {size: 3}\n")
    assert config.from_yaml(Config, file) == Config("anna", Part(3))
    merged = parse_yaml("a: &a {x: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b, <<: *a, x: 3}\n")
    assert merged == {"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 3}}


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "[" * 40 + "]" * 40, "{", "\udc80".encode("utf-8", "surrogatepass")]
)
def test_json_out_of_bounds(text: str | bytes) -> None:
    with pytest.raises(MalformedError) as told:
        parse_json(text)
    assert len(str(told.value)) < 200


VALUES = st.recursive(
    st.none() | st.integers() | st.text(), lambda one: st.lists(one) | st.dictionaries(st.text(), one)
)


@given(VALUES)
def test_other_json_is_read(value: object) -> None:
    assert parse_json(json.dumps(value)) == value


def test_depth_is_counted_exactly() -> None:
    assert parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(MalformedError):
        parse_json("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    file = Location(str(tmp_path / "a.json"))
    file.write_bytes(b"[1, 2, 3]")
    assert read_json(file, "list") == [1, 2, 3]
    with pytest.raises(UserError, match=r"list: '.*a.json' cannot be read as JSON \(too_many_bytes"):
        read_json(file, "list", 8)
    with pytest.raises(UserError, match=r"list: .*missing"):
        read_json(Location(str(tmp_path / "b.json")), "list")


def test_what_is_shown_of_a_value_is_short() -> None:
    deep: list = []
    for _ in range(10_000):
        deep = [deep]
    for value in (deep, "x" * 10**6, {str(n): "y" * 1000 for n in range(1000)}, 10**4000, {"a": 1}, b"z" * 1000):
        assert len(shown(value)) <= 100
    assert shown({"a": 1}) == "{'a': 1}" and shown("anna") == "'anna'"
