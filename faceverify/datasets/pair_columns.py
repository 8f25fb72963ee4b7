"""The columns of one piece of a pair list -> the columns of `tables.PAIRS`, further ones, and `fault`."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from faceverify.datasets.paths import normalise_paths
from faceverify.errors import Reason, UserError
from faceverify.tables import PAIRS

_OTHER_NAMES = {"pathA": "photo_a", "pathB": "photo_b", "pair_id": "pair"}
_RESERVED = frozenset(
    {"fault", "similarity", "accepted", "status", "a", "b"}
)  # these are added behind a pair's columns
_READ = frozenset({*PAIRS.names, "deepfake_a", "deepfake_b"})
_KINDS = pa.array(["genuine", "impostor", "deepfake"])
_WORDS = pa.array(["0", "1"])  # the position is the label
_TRUTHS = pa.array(["1", "true", "True", "TRUE"])


@dataclass(frozen=True)
class PairSource:
    """What a list is called in messages, and what is taken off its paths (see `normalise_paths`)."""

    name: str
    strip_prefix: str = ""
    roots: tuple[str, ...] = ()


def normalise(piece: pa.RecordBatch, first_row: int, source: PairSource) -> pa.RecordBatch:
    """One piece in the form of the module docstring; `first_row` is the number of its first row in the list, from 0.

    Raises:
        UserError: missing or reserved columns, or a value that is not allowed.
    """
    columns = _plain(_named(piece, source), source)
    count = len(piece)
    photo_a, bad_a = normalise_paths(_text(columns["photo_a"]), source.strip_prefix, source.roots)
    photo_b, bad_b = normalise_paths(_text(columns["photo_b"]), source.strip_prefix, source.roots)
    label = _label(columns["label"], first_row, source) if "label" in columns else pa.nulls(count, pa.int8())
    known = {
        "pair": _pair(columns.get("pair"), first_row, count, source),
        "photo_a": photo_a,
        "photo_b": photo_b,
        "label": label,
        "kind": _kind(columns, label, first_row, source),
    }
    for name in ("generator", "split", "person_a", "person_b"):
        known[name] = _text(columns[name]) if name in columns else pa.nulls(count, pa.string())
    known |= {name: column for name, column in columns.items() if name not in known}
    outside = pa.scalar(Reason.OUTSIDE_ROOT.value)
    known["fault"] = pc.if_else(pc.or_(bad_a, bad_b), outside, pa.scalar(None, pa.string()))
    fields = [
        PAIRS.field(name) if name in PAIRS.names else pa.field(name, column.type) for name, column in known.items()
    ]
    return pa.RecordBatch.from_arrays(list(known.values()), schema=pa.schema(fields))


def _named(piece: pa.RecordBatch, source: PairSource) -> dict[str, pa.Array]:
    """The columns under this project's names."""
    found = piece.schema.names
    names = [_OTHER_NAMES.get(name, name) for name in found]
    if not {"photo_a", "photo_b"} <= set(names):
        have = ", ".join(found)
        raise UserError(
            f"pairs: '{source.name}' has the columns {have}; it needs photo_a and photo_b (or pathA, pathB)."
        )
    if len(set(names)) < len(names):
        raise UserError(f"pairs: '{source.name}' has a column twice among {', '.join(found)}; keep one of each.")
    if taken := _RESERVED & set(names):
        raise UserError(f"pairs: '{source.name}' has the column {min(taken)}, which scoring adds; rename or drop it.")
    return dict(zip(names, piece.columns, strict=True))


def _plain(columns: dict[str, pa.Array], source: PairSource) -> dict[str, pa.Array]:
    """The same with the columns that scoring reads as plain values, whatever way they are stored in.

    Raises:
        UserError: one of them holds lists or other things that are no text.
    """
    plain = dict(columns)
    for name in _READ & columns.keys():
        column = columns[name]
        while isinstance(column, pa.ExtensionArray | pa.DictionaryArray):
            column = column.storage if isinstance(column, pa.ExtensionArray) else column.dictionary_decode()
        if pa.types.is_decimal(column.type):
            column = column.cast(pa.float64())
        try:
            column.slice(0, 0).cast(pa.string())
        except pa.ArrowNotImplementedError:
            raise UserError(
                f"pairs: '{source.name}' has the column {name} of the type {column.type}, which cannot be read as text."
            ) from None
        plain[name] = column
    return plain


def _text(column: pa.Array) -> pa.Array:
    return column.cast(pa.string())


def _pair(column: pa.Array | None, first_row: int, count: int, source: PairSource) -> pa.Array:
    if column is None:
        return pa.array(range(first_row, first_row + count), pa.int64()).cast(pa.string())
    text = _text(column)
    _refuse(pc.fill_null(pc.equal(text, ""), True), text, first_row, source, "pair", "give every pair a name")
    return text


def _label(column: pa.Array, first_row: int, source: PairSource) -> pa.Array:
    text = _words(column)
    label = pc.index_in(text, _WORDS)
    bad = pc.and_(pc.is_null(label), pc.fill_null(pc.not_equal(text, ""), False))
    _refuse(bad, text, first_row, source, "label", "write 1 (same person), 0, or nothing")
    return label.cast(pa.int8())


def _words(column: pa.Array) -> pa.Array:
    """Labels and flags as strings, whatever type Parquet gave them."""
    if pa.types.is_boolean(column.type) or pa.types.is_floating(column.type):
        whole = column.cast(pa.int8(), safe=False)
        same = pc.equal(whole.cast(pa.float64()), column.cast(pa.float64()))
        return pc.if_else(same, whole.cast(pa.string()), column.cast(pa.string()))
    return _text(column)


def _kind(columns: dict[str, pa.Array], label: pa.Array, first_row: int, source: PairSource) -> pa.Array:
    derived = _kind_of_label(columns, label)
    if "kind" not in columns:
        return derived
    kind = pc.if_else(pc.equal(_text(columns["kind"]), ""), pa.scalar(None, pa.string()), _text(columns["kind"]))
    bad = pc.and_(pc.is_valid(kind), pc.invert(pc.is_in(kind, _KINDS)))
    _refuse(bad, kind, first_row, source, "kind", "write genuine, impostor, deepfake, or nothing")
    return pc.coalesce(kind, derived)


def _kind_of_label(columns: dict[str, pa.Array], label: pa.Array) -> pa.Array:
    fake = pa.repeat(pa.scalar(False), len(label))
    for name in ("deepfake_a", "deepfake_b"):
        if name in columns:
            fake = pc.or_(fake, pc.is_in(_words(columns[name]), _TRUTHS))
    if "generator" in columns:
        fake = pc.or_(fake, pc.fill_null(pc.not_equal(_text(columns["generator"]), ""), False))
    of_zero = pc.if_else(fake, "deepfake", "impostor")
    return pc.if_else(pc.equal(label, 1), "genuine", of_zero)


def _refuse(bad: pa.Array, column: pa.Array, first_row: int, source: PairSource, field: str, remedy: str) -> None:
    if not pc.any(bad).as_py():
        return
    row = pc.index(bad, True).as_py()
    value = column[row].as_py()
    raise UserError(f"pairs: '{source.name}' row {first_row + row} (the first is 0) has {field} '{value}'; {remedy}.")
