"""What a search leaves: tables of trials and of validations, and the configuration of the best trial."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import yaml

from faceverify.spreadsheet import escaped_cell
from faceverify.tuning.space import Dimension, Values, shown
from faceverify.tuning.trials import Trial, pareto, ranked

METRICS = (
    "eer",
    "eer_low",
    "eer_high",
    "eer_real",
    "deepfake_accepted",
    "impostor_accepted",
    "genuine_rejected",
    "accuracy",
)
TRIALS = pa.schema(
    [
        ("trial", pa.int32()),
        ("rank", pa.int32()),  # from 1; null where there is no usable checkpoint
        ("state", pa.string()),
        ("reason", pa.string()),
        ("pareto", pa.bool_()),  # no other trial has both fewer errors on real people and fewer deepfakes accepted
        *((name, pa.float64()) for name in METRICS),
        ("steps", pa.int64()),
        ("best_step", pa.int64()),
        ("checkpoint", pa.string()),  # of the best step, below the run's folder
        ("seconds", pa.float64()),
    ]
)
VALIDATIONS = pa.schema(
    [("trial", pa.int32()), ("step", pa.int64()), ("epoch", pa.float64()), *((name, pa.float64()) for name in METRICS)]
)


def trials_table(trials: Sequence[Trial], dimensions: Sequence[Dimension], goal: str) -> pa.Table:
    """A row per trial: TRIALS, `accepted.<generator>` for each, and a column per searched field."""
    ranks = {trial.number: place for place, trial in enumerate(ranked(trials, goal), 1)}
    front = {trial.number for trial in pareto(trials)}
    rows = [_row(trial, ranks.get(trial.number), trial.number in front) for trial in trials]
    table = pa.Table.from_pylist(rows, schema=TRIALS)
    for name in sorted({name for trial in trials for name in _accepted(trial)}):
        column = pa.array([_accepted(trial).get(name) for trial in trials], pa.float64())
        table = table.append_column(f"accepted.{name}", column)
    for one in dimensions:
        table = table.append_column(one.name, _values(one, [trial.values[one.name] for trial in trials]))
    return table


def _row(trial: Trial, rank: int | None, in_front: bool) -> dict[str, Any]:
    best = trial.best or {}
    checkpoint = f"trials/{trial.number:04d}/checkpoints/step-{trial.best_step:08d}" if best else None
    return {
        **{name: best.get(name) for name in METRICS},
        "trial": trial.number,
        "rank": rank,
        "state": trial.state,
        "reason": trial.reason or None,
        "pareto": in_front,
        "steps": trial.validations[-1]["step"] if trial.validations else 0,
        "best_step": trial.best_step if best else None,
        "checkpoint": checkpoint,
        "seconds": trial.seconds,
    }


def _accepted(trial: Trial) -> dict[str, float]:
    return (trial.best or {}).get("accepted_by_generator") or {}


def _values(one: Dimension, values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in (*values, *one.choices)}
    if kinds <= {int}:
        return pa.array(values, pa.int64())
    if kinds <= {int, float}:
        return pa.array([float(value) for value in values], pa.float64())
    return pa.array([shown(value) for value in values], pa.string())


def validations_table(trials: Sequence[Trial]) -> pa.Table:
    """A row per validation of each trial."""
    names = [name for name in VALIDATIONS.names if name != "trial"]
    rows = [
        {"trial": trial.number, **{name: line.get(name) for name in names}}
        for trial in trials
        for line in trial.validations
    ]
    return pa.Table.from_pylist(rows, schema=VALIDATIONS)


def to_csv(table: pa.Table) -> str:
    """The table as CSV for spreadsheets (see `faceverify.spreadsheet`); what is not there is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows(map(escaped_cell, row.values()) for row in table.to_pylist())
    return text.getvalue()


def best_yaml(training: Any, values: Values, about: str) -> str:
    """A configuration of `train`, complete, with a comment that says where it comes from.

    Args:
        training: the configuration with the best values.
        values: those that were searched.
        about: a line for the top.
    """
    lines = [f"# {about}", *(f"#   {name}: {shown(value)}" for name, value in values.items())]
    return "\n".join(lines) + "\n" + yaml.safe_dump(asdict(training), sort_keys=False, width=120)
