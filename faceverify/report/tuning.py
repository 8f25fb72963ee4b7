"""The page of a search: the best trials, what mattered, curves of all trials, the two goals against each other."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from markupsafe import Markup

from faceverify.report import tuning_charts as charts
from faceverify.report.curves import Series, chart
from faceverify.report.numbers import percent
from faceverify.report.page import ReportAbout, render
from faceverify.report.training import Card
from faceverify.tuning import results
from faceverify.tuning.importance import importances
from faceverify.tuning.options import SearchConfig
from faceverify.tuning.space import Dimension, Values, shown
from faceverify.tuning.trials import Line, Trial, pareto, ranked

_SHOWN = 12  # trials in the table
METHODS = {"random": "random search", "grid": "a grid", "optuna": "Optuna (TPE)"}
SCHEDULERS = {
    "none": "",
    "asha": ", ASHA stopping the poor ones early",
    "median": ", the median stopping rule",
    "pbt": ", population-based training",
}


@dataclass(frozen=True)
class TrialRow:
    """A trial in the table of the best."""

    trial: Trial
    best: Line
    rank: int
    bounds: tuple[float, float] | None
    values: tuple[str, ...]
    in_front: bool


def render_tuning(
    trials: Sequence[Trial],
    dimensions: Sequence[Dimension],
    search: SearchConfig,
    about: ReportAbout,
    config: dict[str, Any],
    base: Values,
) -> str:
    """The page as text, the same for the same input.

    Args:
        trials: all, at least one of them of use.
        dimensions: what was searched.
        search: how.
        about: title, origin; its summary is written here.
        config: of the run.
        base: the values without a search, with which the best is compared if a trial has them.
    """
    order = ranked(trials, search.goal)
    front = pareto(trials)
    table = results.trials_table(trials, dimensions, search.goal)
    shares = importances(trials, dimensions, search.goal)
    return render(
        "tuning.html.j2",
        about=replace(about, summary=_summary(trials, dimensions, search)),
        cards=_cards(trials, order[0], base),
        names=[short(one.name, dimensions) for one in dimensions],
        rows=[_row(trial, place, dimensions, front) for place, trial in enumerate(order[:_SHOWN], 1)],
        useful=len(order),
        parallel=charts.parallel(trials, dimensions, search.goal, [short(d.name, dimensions) for d in dimensions]),
        importance=charts.bars([(short(name, dimensions), share) for name, share in shares.items()]),
        curves=_curves(trials, order[0]),
        pareto=charts.scatter(trials, front, order[0]),
        front=front,
        ill=[_ill(trial, dimensions) for trial in trials if trial.state in ("diverged", "failed")],
        pruned=sum(trial.state == "pruned" for trial in trials),
        config=json.dumps(config, indent=1, default=str),
        csv=results.to_csv(table),
    )


def short(name: str, dimensions: Sequence[Dimension]) -> str:
    """The last part of a dotted name, with the one before it where two fields would read the same."""
    last = name.rpartition(".")[2]
    if sum(one.name.rpartition(".")[2] == last for one in dimensions) < 2:
        return last
    return ".".join(name.split(".")[-2:])


def _summary(trials: Sequence[Trial], dimensions: Sequence[Dimension], search: SearchConfig) -> str:
    seconds = sum(trial.seconds for trial in trials)
    names = ", ".join(one.name for one in dimensions)
    took = f"{seconds / 3600:.1f} hours" if seconds > 5400 else f"{seconds / 60:.0f} minutes"
    took = took if seconds > 90 else f"{seconds:.0f} seconds"
    return (
        f"{len(trials)} trainings over {names}, chosen by {METHODS[search.algorithm]}{SCHEDULERS[search.scheduler]}; "
        f"{took} of training in all. Seed {search.seed}."
    )


def _cards(trials: Sequence[Trial], best: Trial, values: Values) -> list[Card]:
    base = next((trial.best for trial in trials if trial.values == values), None)
    found = best.best or {}

    def card(label: str, key: str, meaning: str) -> Card:
        before = f"{percent(base.get(key))} with the values given" if base else ""
        return Card(label, percent(found.get(key)), before, meaning)

    counts = {state: sum(t.state == state for t in trials) for state in ("pruned", "diverged", "failed")}
    ends = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    finished = sum(trial.state == "finished" for trial in trials)
    return [
        card("EER, all negatives", "eer", f"Of the best trial, number {best.number}. Lower is better."),
        card("EER, real people", "eer_real", "Of the same network, against impostors alone."),
        card("Deepfakes accepted", "deepfake_accepted", "At the threshold of that EER of real people."),
        Card("Trials", str(finished), f"ran to their end of {len(trials)}", ends or "None had to be stopped."),
    ]


def _row(trial: Trial, rank: int, dimensions: Sequence[Dimension], front: Sequence[Trial]) -> TrialRow:
    values = tuple(shown(trial.values[one.name]) for one in dimensions)
    best = trial.best or {}
    low, high = best.get("eer_low"), best.get("eer_high")
    bounds = None if low is None or high is None else (low, high)
    return TrialRow(trial, best, rank, bounds, values, trial in front)


def _ill(trial: Trial, dimensions: Sequence[Dimension]) -> dict[str, Any]:
    facts = {"number": trial.number, "state": trial.state, "reason": trial.reason}
    return facts | {"shown": [shown(trial.values[one.name]) for one in dimensions]}


def _curves(trials: Sequence[Trial], best: Trial) -> Markup:
    """EER of every trial over the steps, the best on top."""
    colours = {"finished": "impostor", "pruned": "pruned", "diverged": "bad"}
    layers = ("pruned", "diverged", "finished")
    drawn = [trial for state in layers for trial in trials if trial.state == state and trial is not best]
    series = [_series(trial, f"{colours[trial.state]} trial") for trial in drawn]
    series.append(_series(best, "genuine"))
    return chart(series, "EER of every trial over the steps", percent=True, size=(1000, 380))


def _series(trial: Trial, colour: str) -> Series:
    x = np.array([line["step"] for line in trial.validations], float)
    y = np.array([line["eer"] for line in trial.validations], float)
    return Series(f"trial {trial.number}, {trial.state}", colour, x, y)
