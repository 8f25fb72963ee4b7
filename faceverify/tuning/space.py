"""What is searched: fields of a training's configuration by dotted name, each with a range or a list of values.

optimiser.learning_rate: {log_uniform: [1e-6, 1e-3]}      evenly in the exponent
losses.adaptive_margin.margin: {uniform: [0.1, 0.6]}      evenly
batches.size: {int_uniform: [8, 64]}                      whole numbers, both ends included
optimiser.name: {choice: [adamw, sgd]}                    one of a list; a group of fields may have a list of groups
"""

import dataclasses
import difflib
import json
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from faceverify.config import JobConfig, replaced
from faceverify.errors import UserError
from faceverify.tuning.options import SearchConfig

MOST_ON_GRID = 10_000  # more combinations than anybody trains
PBT_MAY_CHANGE = ("optimiser.", "losses.", "augment.")
# Their class vectors are learnt only by trainings that use them.
PBT_MUST_NOT = tuple(f"losses.weights.{name}" for name in ("arcface", "adaface", "center"))
KINDS = ("uniform", "log_uniform", "int_uniform", "choice")
Values = dict[str, Any]  # dotted name -> value


@dataclass(frozen=True)
class Dimension:
    """One searched field.

    Args:
        name: dotted.
        kind: of KINDS.
        low, high: bounds, both included; of a list the first and last place.
        choices: of `choice`, in the order given.
    """

    name: str
    kind: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[Any, ...] = ()

    def draw(self, rng: np.random.Generator) -> Any:
        """A key (see `key`) at random."""
        share = float(rng.random())
        if self.kind == "choice":
            return self.key(self.choices[int(share * len(self.choices))])
        if self.kind == "int_uniform":
            return int(self.low) + int(share * (self.high - self.low + 1))
        if self.kind == "log_uniform":
            return self.tidy(math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low))))
        return self.tidy(self.low + share * (self.high - self.low))

    def tidy(self, value: float) -> Any:
        """The nearest value within the bounds, whole where the field is, else of six digits: people read best.yaml."""
        if self.kind == "int_uniform":
            return round(min(max(value, self.low), self.high))
        return min(max(float(f"{value:.6g}"), self.low), self.high)

    def holds(self, value: Any) -> bool:
        """Whether a value is within the bounds, or in the list."""
        if self.kind == "choice":
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high

    def key(self, value: Any) -> Any:
        """A value as searchers are given it: a group of fields as JSON text, everything else as it is."""
        return json.dumps(value, sort_keys=True) if isinstance(value, Mapping) else value

    def value(self, key: Any) -> Any:
        """The inverse of `key` for a value of the space; numbers become tidy."""
        if self.kind == "choice":
            return next(value for value in self.choices if self.key(value) == key)
        return self.tidy(key)

    def share(self, value: Any) -> float | None:
        """The place from 0 to 1 of a value in a drawing, None if it is not in the list."""
        if self.kind == "choice":
            return self.choices.index(value) / max(len(self.choices) - 1, 1) if value in self.choices else None
        if self.kind == "log_uniform":
            span = math.log(self.high / self.low)
            return min(max(math.log(value / self.low) / span, 0.0), 1.0) if value > 0 else 0.0
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


def shown(value: Any) -> str:
    """A value as people read it; equal values give equal texts."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(part)}" for name, part in value.items() if part)
    return value if isinstance(value, str) else json.dumps(value, default=str)


def parse(space: Mapping[str, Any], base: Any, fixed: Sequence[str]) -> tuple[Dimension, ...]:
    """The searched fields in the order given, checked against the configuration they are of.

    Args:
        space: as in the module's example; nested groups (`optimiser: {learning_rate: ...}`) are the same.
        base: the configuration without a search.
        fixed: fields and groups that must not be searched.

    Raises:
        UserError: no field, an unknown one, one that is fixed, bounds or values that do not fit it.
    """
    found = tuple(_dimension(name, given, base, fixed) for name, given in _flat(space, "", base))
    if not found:
        raise UserError("space is empty: name at least one field, such as optimiser.learning_rate.")
    names = [one.name for one in found]
    for name in names:
        inner = [other for other in names if other.startswith(f"{name}.")]
        if inner or names.count(name) > 1:
            raise UserError(f"space.{(inner or [name])[0]}: it is searched twice; name it once.")
    return found


def base_values(dimensions: Sequence[Dimension], base: Any) -> Values:
    """The values without a search."""
    return {one.name: _plain(_get(base, one.name)) for one in dimensions}


def values_of(keys: Mapping[str, Any], dimensions: Sequence[Dimension], base: Values | None) -> Values:
    """The values of a trial, from what a searcher gave; those of the base as given, even outside the space."""
    if base is not None and all(keys[one.name] == one.key(base[one.name]) for one in dimensions):
        return base
    return {one.name: one.value(keys[one.name]) for one in dimensions}


def count_trials(search: SearchConfig, dimensions: Sequence[Dimension], base: Values) -> int:
    """How many trials a search consists of; checks that the space suits it.

    Raises:
        UserError: a grid of ranges or of too many combinations; a population over what cannot change meanwhile.
    """
    if search.scheduler == "pbt":
        for one in dimensions:
            numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in one.choices)
            if not one.name.startswith(PBT_MAY_CHANGE) or one.name in PBT_MUST_NOT or not numbers:
                raise UserError(
                    f"space.{one.name}: search.scheduler is pbt, which changes numbers of optimiser, losses and "
                    "augment while a training goes on; take it out, or take scheduler asha."
                )
    if search.algorithm != "grid":
        return search.trials
    ranges = [one.name for one in dimensions if one.kind != "choice"]
    if ranges:
        raise UserError(f"search.algorithm is grid, and space.{ranges[0]} is a range; give it as {{choice: [...]}}.")
    size = math.prod(len(one.choices) for one in dimensions)
    if size > MOST_ON_GRID:
        raise UserError(f"space has {size:,} combinations: leave out fields or values, or take algorithm optuna.")
    return size + int(base_of(search, dimensions, base) is not None)


def base_of(search: SearchConfig, dimensions: Sequence[Dimension], base: Values) -> Values | None:
    """The values of trial 0, or None if no trial is set aside for them: not wanted, or on the grid anyway."""
    on_grid = search.algorithm == "grid" and all(one.holds(base[one.name]) for one in dimensions)
    return base if search.base and not on_grid else None


def _flat(space: Mapping[str, Any], prefix: str, base: Any) -> list[tuple[str, Any]]:
    found = []
    for key, given in space.items():
        name = f"{prefix}{key}"
        if isinstance(given, Mapping) and given and not set(given) & set(KINDS) and _is_group(base, name):
            found += _flat(given, f"{name}.", base)
        else:
            found.append((name, given))
    return found


def _is_group(base: Any, name: str) -> bool:
    return name in _fields(base, "") and dataclasses.is_dataclass(_get(base, name))


def _fields(config: Any, prefix: str) -> list[str]:
    """All dotted names, groups among them."""
    names = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        names.append(f"{prefix}{field.name}")
        if dataclasses.is_dataclass(value):
            names += _fields(value, f"{prefix}{field.name}.")
    return names


def _get(config: Any, name: str) -> Any:
    for part in name.split("."):
        config = getattr(config, part)
    return config


def _plain(value: Any) -> Any:
    return dataclasses.asdict(typing.cast(Any, value)) if dataclasses.is_dataclass(value) else value


def _dimension(name: str, given: Any, base: Any, fixed: Sequence[str]) -> Dimension:
    known = _fields(base, "")
    where = f"space.{name}"
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "train --help lists all"
        raise UserError(f"{where}: there is no such field ({hint}).")
    run_only = {field.name for field in dataclasses.fields(JobConfig)}
    if name.split(".")[0] in {*fixed, *run_only}:
        raise UserError(f"{where}: it cannot be searched, for all trials must be judged alike; take it out.")
    if not isinstance(given, Mapping) or len(given) != 1 or not set(given) <= set(KINDS):
        raise UserError(
            f"{where} is {given!r}: give {{uniform: [low, high]}}, {{log_uniform: [low, high]}}, "
            "{int_uniform: [low, high]} or {choice: [value, ...]}."
        )
    ((kind, values),) = given.items()
    if not isinstance(values, list | tuple):
        raise UserError(f"{where}: {kind} is {values!r}; give a list in square brackets.")
    old = _get(base, name)
    if kind == "choice":
        return _choice(name, values, old, base)
    if isinstance(old, bool) or not isinstance(old, int | float):
        raise UserError(f"{where}: the field is not a number, so it takes no {kind}; give {{choice: [...]}}.")
    if isinstance(old, int) != (kind == "int_uniform"):
        better = "int_uniform" if isinstance(old, int) else "uniform or log_uniform"
        raise UserError(f"{where}: the field is {'whole' if isinstance(old, int) else 'not whole'}; give {better}.")
    return _range(name, kind, values, base)


def _choice(name: str, values: Sequence[Any], old: Any, base: Any) -> Dimension:
    if isinstance(old, float):
        values = [_number(f"space.{name}", value) for value in values]
    if dataclasses.is_dataclass(old) and not all(isinstance(value, Mapping) for value in values):
        raise UserError(f"space.{name}: it is a group of fields; name one of them, or give a list of such groups.")
    choices = tuple(_plain(_get(_tried(base, name, value), name)) for value in values)
    if len(choices) < 2 or any(value in choices[:place] for place, value in enumerate(choices)):
        raise UserError(f"space.{name}: choice is {list(values)!r}; give two or more different values.")
    return Dimension(name, "choice", 0, len(choices) - 1, choices)


def _range(name: str, kind: str, values: Sequence[Any], base: Any) -> Dimension:
    where = f"space.{name}"
    if len(values) != 2:
        raise UserError(f"{where}: {kind} is {list(values)!r}; give two numbers, the lower first.")
    low, high = (_number(where, value) for value in values)
    if not low < high:
        raise UserError(f"{where}: {kind} is {list(values)!r}; give the lower number first.")
    if kind == "log_uniform" and low <= 0:
        raise UserError(f"{where}: log_uniform begins at {low:g}; give a number above 0.")
    if kind == "int_uniform" and not (low.is_integer() and high.is_integer()):
        raise UserError(f"{where}: int_uniform is {list(values)!r}; give whole numbers.")
    for end in (low, high):
        _tried(base, name, int(end) if kind == "int_uniform" else end)
    return Dimension(name, kind, low, high)


def _tried(base: Any, name: str, value: Any) -> Any:
    """The configuration with a value of the space, which its field has to take."""
    where = f"space.{name}"
    try:
        return replaced(base, {name: value}, where)
    except UserError as error:  # of a part's own checks
        raise error if str(error).startswith(where) else UserError(f"{where}: {error}") from None


def _number(where: str, value: Any) -> float:
    """A number; YAML reads 1e-6 (without a point) as text."""
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
    except (TypeError, ValueError):
        raise UserError(f"{where}: {value!r} is not a number.") from None
    if not math.isfinite(number):
        raise UserError(f"{where}: {value!r} is not a finite number.")
    return number
