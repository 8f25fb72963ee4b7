"""Finding a network's tensors in what a weights file holds, whatever was put around them.

Training programs keep weights under a key (`model`, `state_dict`, ...), behind a prefix (`module.`, `backbone.`, ...),
in the wrappers of DDP and torch.compile, and beside a classifier head. All of that is taken off, and said. What decides
is the network itself: every tensor of it must be there, in its shape, and what is left over must clearly be a
classifier head. Two sets of tensors that fit are a question to the user, never a choice.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
_COUNTER = "num_batches_tracked"
_HEADS = frozenset(
    (
        *("head", "heads", "fc", "classifier", "classification_head", "cls", "cls_head", "logits", "class_vectors"),
        *("arcface", "cosface", "adaface", "margin", "arc_margin", "product", "metric", "metric_fc", "partial_fc"),
        *("loss", "loss_fn", "criterion"),
    )
)
_DEPTH = 3  # keys below one another under which weights are looked for
_NAME, _PARTS = 200, 20  # characters, and parts between dots; longer names belong to no network
Shape = tuple[int, ...]


class Misfit(ValueError):
    """No set of tensors of the file is the network's; the text names the first keys that do not fit."""


class Ambiguous(ValueError):
    """Several sets of tensors of the file are the network's; the text names them."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The tensors of a network, as found in a file."""

    tensors: Mapping[str, "Tensor"]
    """Exactly the network's, under its names."""
    place: str
    """Where they lay: keys and prefix, joined by '/'."""
    prefix: str
    """What stood before the names, without the wrappers of DDP and torch.compile."""
    wrapped: bool
    """Whether there were such wrappers."""
    taken_off: str
    """What was taken off, for people; empty if nothing was."""
    heads: tuple[str, ...] = ()
    """Names of the tensors beside them, of a classifier."""


@dataclass(frozen=True, slots=True)
class _Set:
    """Tensors that lie under one key: by the names without wrappers, and the names as they are."""

    keys: tuple[str, ...]
    tensors: Mapping[str, "Tensor"]
    wrappers: tuple[str, ...]


def sets_of_tensors(content: object) -> dict[str, dict[str, "Tensor"]]:
    """All dictionaries in `content`, to a depth of three keys, that hold tensors: by their keys, joined by '/'."""
    return {"/".join(keys): found for keys, found in _sets(content)}


def _sets(content: object) -> Iterator[tuple[tuple[str, ...], dict[str, "Tensor"]]]:
    """Each dictionary once, by the first keys that lead to it."""
    from torch import Tensor

    waiting: list[tuple[tuple[str, ...], object]] = [((), content)]
    seen: set[int] = set()
    while waiting:
        keys, found = waiting.pop(0)
        if not isinstance(found, Mapping) or id(found) in seen:
            continue
        seen.add(id(found))
        named = {name: value for name, value in found.items() if isinstance(name, str)}
        if tensors := {name: value for name, value in named.items() if isinstance(value, Tensor)}:
            yield keys, tensors
        if len(keys) < _DEPTH:
            waiting += [((*keys, name), value) for name, value in named.items() if isinstance(value, Mapping)]


def tensors_at(content: object, place: str) -> dict[str, "Tensor"]:
    """The tensors at a place as `Fit.place` gives it, without its prefix and wrappers; empty if there are none."""
    for one in (_unwrapped(*found) for found in _sets(content)):
        keys = "".join(f"{key}/" for key in one.keys)
        if f"{place}/" == keys or place.startswith(keys):
            prefix = place.removeprefix(keys) if place.startswith(keys) else ""
            found = {n.removeprefix(prefix): v for n, v in one.tensors.items() if n.startswith(prefix)}
            if found:
                return found
    return {}


def bare(content: object) -> dict[str, "Tensor"]:
    """The only set of tensors in `content`, without wrappers and what stands before all of its names.

    For networks that are identified by their tensors. What was taken off is logged once.

    Raises:
        Ambiguous: there are several sets of tensors.
        Misfit: there are none.
    """
    sets = [_unwrapped(*found) for found in _sets(content)]
    if not sets:
        raise Misfit("it holds no tensors")
    if len(sets) > 1:
        raise Ambiguous(f"it holds tensors at {few(['/'.join(one.keys) or 'the top' for one in sets])}")
    [one] = sets
    parts = [name.split(".")[:-1] for name in one.tensors]
    shared = next((at for at, same in enumerate(zip(*parts, strict=False)) if len(set(same)) > 1), min(map(len, parts)))
    prefix = "".join(f"{part}." for part in parts[0][:shared]) if len(parts) > 1 else ""
    say(_taken_off(one, prefix, ()))
    return {name.removeprefix(prefix): value for name, value in one.tensors.items()}


@cache
def say(taken_off: str) -> None:
    """Tell the user once, on the standard error, what was taken off."""
    if taken_off:
        logging.getLogger("faceverify").warning("Weights: taken off: %s", taken_off)


def fit(content: object, want: Mapping[str, Shape], dim: int | None) -> Fit:
    """Find the tensors of a network.

    Args:
        content: what a weights file holds, as dictionaries and tensors.
        want: names and shapes of the network's tensors.
        dim: length of its embedding, by which a classifier head is known; None if it can have none.

    Raises:
        Misfit: none fits.
        Ambiguous: several fit, and they are not equal.
    """
    needed = {name for name in want if not name.endswith(_COUNTER)}
    sets = [_unwrapped(*found) for found in _sets(content)]
    found = [(one, prefix) for one in sets for prefix in _prefixes(one, want, needed)]
    if not found:
        raise Misfit(_nearest(sets, want, needed))
    if len(found) == 1:
        return _checked(*found[0], want, dim)
    fits = [_fitted(*pair, want, ()) for pair in found]
    if all(_equal(other.tensors, fits[0].tensors) for other in fits[1:]):
        return fits[0]
    raise Ambiguous(f"it holds {len(found)} networks that fit: {few([one.place or 'the top' for one in fits])}")


def _unwrapped(keys: tuple[str, ...], tensors: Mapping[str, "Tensor"]) -> _Set:
    """Leave wrappers out of the names, wherever they stand in them."""
    names: dict[str, str] = {}
    seen: dict[str, None] = {}
    for name in tensors:
        parts = name.split(".") if len(name) <= _NAME else [name]
        names[name] = ".".join(part for part in parts if part not in _WRAPPERS)
        seen |= dict.fromkeys(part for part in parts if part in _WRAPPERS)
    if len(set(names.values())) < len(names):  # they tell two tensors apart
        return _Set(keys, tensors, ())
    return _Set(keys, {names[name]: value for name, value in tensors.items()}, tuple(seen))


def _hits(one: _Set, want: Mapping[str, Shape]) -> Counter[str]:
    """How many names of the network stand behind each prefix."""
    hits: Counter[str] = Counter()
    for name in one.tensors:
        if len(name) > _NAME:
            continue
        parts = name.split(".")
        for start in range(len(parts) if len(parts) <= _PARTS else 0):
            if (rest := ".".join(parts[start:])) in want:
                hits[name.removesuffix(rest)] += 1
    return hits


def _prefixes(one: _Set, want: Mapping[str, Shape], needed: set[str]) -> list[str]:
    """The prefixes behind which all needed tensors are, in their shapes."""
    return [
        prefix
        for prefix, count in _hits(one, want).items()
        if count >= len(needed) and all(_shape(one.tensors.get(prefix + name)) == want[name] for name in needed)
    ]


def _checked(one: _Set, prefix: str, want: Mapping[str, Shape], dim: int | None) -> Fit:
    """The only set that fits, if what is beside it is a classifier head.

    Raises:
        Misfit: it is something else.
    """
    beside = {name: value for name, value in one.tensors.items() if not _is_in(name, prefix, want)}
    strangers = _no_head(beside, dim)
    if strangers:
        raise Misfit(f"unexpected: {few(strangers)}")
    return _fitted(one, prefix, want, tuple(beside))


def _is_in(name: str, prefix: str, want: Mapping[str, Shape]) -> bool:
    return name.startswith(prefix) and name.removeprefix(prefix) in want


def _no_head(beside: Mapping[str, "Tensor"], dim: int | None) -> list[str]:
    """The names that are clearly no part of a classifier head.

    A head is a matrix of classes by `dim` (or turned) under a name that classifiers have, with one number per class,
    or numbers for all of them, beside it.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    for name, value in beside.items():
        parts = name.split(".")
        at = next((number for number, part in enumerate(parts[:-1]) if part in _HEADS), -1)
        groups.setdefault(".".join(parts[: at + 1]), {})[name] = value
    strangers = list(groups.pop("", {}))
    for group in groups.values():
        matrices = [_shape(value) or () for value in group.values() if value.dim() == 2]
        classes = [sum(shape) - dim for shape in matrices if dim in shape] if dim is not None else []
        ours = len(matrices) == 1 and len(classes) == 1
        if not ours or any(
            value.dim() > 2 or (value.dim() < 2 and value.numel() not in (1, *classes)) for value in group.values()
        ):
            strangers += group
    return strangers


def _fitted(one: _Set, prefix: str, want: Mapping[str, Shape], heads: tuple[str, ...]) -> Fit:
    import torch

    # The counters only matter to training, and there only where averages are to be plain means: 0 takes nothing away.
    there = {name: one.tensors[prefix + name] for name in want if _shape(one.tensors.get(prefix + name)) == want[name]}
    tensors = {name: there[name] if name in there else torch.zeros((), dtype=torch.int64) for name in want}
    return Fit(tensors, _place(one, prefix), prefix, bool(one.wrappers), _taken_off(one, prefix, heads), heads)


def _taken_off(one: _Set, prefix: str, heads: tuple[str, ...]) -> str:
    said = [f"key '{few([key])}'" for key in one.keys]
    said += [f"prefix '{name}.'" for name in one.wrappers]
    said += [f"prefix '{few([prefix])}'"] if prefix else []
    said += [f"{len(heads)} classifier tensor{'s' if len(heads) > 1 else ''} ({few(list(heads))})"] if heads else []
    return ", ".join(said)


def _place(one: _Set, prefix: str) -> str:
    return "/".join((*one.keys, prefix) if prefix else one.keys)


def _equal(one: Mapping[str, "Tensor"], other: Mapping[str, "Tensor"]) -> bool:
    return all(value.dtype == other[name].dtype and value.equal(other[name]) for name, value in one.items())


def _nearest(sets: list[_Set], want: Mapping[str, Shape], needed: set[str]) -> str:
    """What is wrong with the set and prefix that come nearest to the network."""
    best, prefix, most = _Set((), {}, ()), "", -1
    for one in sets:
        for candidate, count in _hits(one, want).most_common(1) or [("", 0)]:
            if count > most:
                best, prefix, most = one, candidate, count
    have = {name.removeprefix(prefix): value for name, value in best.tensors.items() if name.startswith(prefix)}
    faults = {
        "missing": [name for name in want if name in needed and name not in have],
        "unexpected": [name for name in have if name not in want],
        "of another shape": [
            f"{name} {_shape(have[name])}, not {want[name]}"
            for name in want
            if name in have and _shape(have[name]) != want[name]
        ],
    }
    return "; ".join(f"{what}: {few(names)}" for what, names in faults.items() if names)


def _shape(value: "Tensor | None") -> Shape | None:
    return None if value is None else tuple(value.shape)


def few(names: list[str]) -> str:
    """The first three of some names, each in a length and in characters that a terminal takes."""
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(name[:80].encode("unicode_escape").decode() for name in names[:3]) + rest


def as_floats(found: Fit) -> dict[str, "Tensor"]:
    """The tensors as float32, counters as they are.

    Raises:
        Misfit: a tensor holds whole numbers, as those of quantised networks do.
    """
    whole = [name for name, value in found.tensors.items() if not value.is_floating_point()]
    if quantised := [name for name in whole if not name.endswith(_COUNTER)]:
        raise Misfit(f"of whole numbers, not floating point: {few(quantised)}")
    return {name: value if name in whole else value.float() for name, value in found.tensors.items()}
