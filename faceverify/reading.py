"""JSON and YAML from untrusted files: bounded in size and depth, refused in one short sentence."""

import json
import reprlib
from typing import TYPE_CHECKING, Any

from faceverify.errors import BadData, UserError

if TYPE_CHECKING:
    from faceverify.storage import Location

MAX_DEPTH = 32  # lists and objects within each other; the deepest of our own files has 6
MAX_BYTES = 1 << 26  # of JSON, where a caller says nothing else; all of it is in memory, up to some 20 times that
MAX_YAML_BYTES = 1 << 20  # of a configuration
MAX_YAML_NODES = 20_000  # with every alias written out
SHOWN = 100  # characters of a value in a message


class MalformedError(ValueError):
    """Why a text is not read, in a few words."""


def shown(value: Any) -> str:
    """A value for a message: its `repr`, at most 100 characters, made without writing all of it out."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = SHOWN
    short.maxlevel, short.maxdict, short.maxlist, short.maxtuple = 2, 4, 4, 4
    text = short.repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def parse_json(data: bytes | str) -> Any:
    """The value of a JSON text.

    Raises:
        MalformedError: it is not JSON, not UTF-8, or nested deeper than `MAX_DEPTH`.
    """
    try:
        value = json.loads(data)
    except RecursionError:
        raise MalformedError(f"it is nested deeper than {MAX_DEPTH}") from None
    except ValueError as error:
        raise MalformedError(str(error)[:SHOWN]) from None
    _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        inner = (one for outer in level for one in (outer.values() if isinstance(outer, dict) else outer))
        level = [one for one in inner if isinstance(one, dict | list)]
        if not level:
            return
    raise MalformedError(f"it is nested deeper than {MAX_DEPTH}")


def read_json(location: "Location", field: str, max_bytes: int = MAX_BYTES) -> Any:
    """The value of a JSON file.

    Args:
        location: the file.
        field: what it was named as, for the message.
        max_bytes: of a larger file nothing is read.

    Raises:
        UserError: it is missing, unreadable, too large, damaged, or nested too deeply.
    """
    try:
        return parse_json(location.read_bytes(max_bytes))
    except (MalformedError, BadData) as error:
        raise UserError(f"{field}: '{location}' cannot be read as JSON ({error}).") from None


def parse_yaml(text: str) -> Any:
    """The value of a YAML text, of plain values, lists and mappings.

    Raises:
        MalformedError: it is not YAML, too long, nested too deeply, has a key twice, or aliases that make it large.
    """
    import yaml

    if len(text) > MAX_YAML_BYTES:
        raise MalformedError(f"it has {len(text):,} characters, the limit is {MAX_YAML_BYTES:,}")
    try:
        return _loader(text).get_single_data()
    except yaml.YAMLError as error:
        raise MalformedError(" ".join(str(error).split())[:300]) from None
    except (ValueError, OverflowError, RecursionError) as error:  # of a date or number that there is not
        raise MalformedError(str(error)[:SHOWN]) from None


def _loader(text: str) -> Any:
    """A safe loader that refuses what is out of bounds before it makes anything of it."""
    import yaml

    class Bounded(yaml.SafeLoader):
        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise _fault(f"nested deeper than {MAX_DEPTH}", self.peek_event().start_mark)
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def get_single_node(self) -> Any:
            node = super().get_single_node()
            if node is not None and _size(node, {}) > MAX_YAML_NODES:
                raise yaml.YAMLError(f"it holds more than {MAX_YAML_NODES:,} values, aliases written out")
            return node

        def compose_mapping_node(self, anchor: Any) -> Any:
            node = super().compose_mapping_node(anchor)
            seen: set[str] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in seen and key.value != "<<":
                        raise _fault(f"the key {shown(key.value)} stands there twice", key.start_mark)
                    seen.add(key.value)
            return node

    return Bounded(text)


def _fault(problem: str, mark: Any) -> Exception:
    import yaml

    return yaml.MarkedYAMLError(problem=f"{problem}, line {mark.line + 1}")


def _size(node: Any, known: dict[int, int]) -> int:
    """Values below a node, each alias counted as what it stands for; one that holds itself is endless."""
    import yaml

    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = MAX_YAML_NODES + 1  # while it is being counted
        inner = node.value if isinstance(node, yaml.SequenceNode) else [one for pair in node.value for one in pair]
        known[id(node)] = 1 + sum(_size(one, known) for one in inner)
    return known[id(node)]
