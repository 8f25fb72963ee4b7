"""The page of a training: what it reached, curves of everything it measured, all validations."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from faceverify.report.curves import Series, chart, smoothed
from faceverify.report.numbers import percent
from faceverify.report.page import ReportAbout, Table, render

Line = dict[str, Any]
_SMOOTH = 20  # noted steps
_SHOWN = 12  # validations in the table


@dataclass(frozen=True)
class Figure:
    """A chart with its title, legend and caption."""

    title: str
    chart: Markup
    series: Sequence[Series]
    caption: str


@dataclass(frozen=True)
class Card:
    """A headline number, with what it was before."""

    label: str
    value: str
    before: str
    meaning: str


def render_training(lines: Sequence[Line], about: ReportAbout, config: dict[str, Any], forensic: bool = False) -> str:
    """The page as text, the same for the same input.

    Args:
        lines: of metrics.jsonl.
        about: title, origin.
        config: of the run.
        forensic: of a network that tells manipulated photos from real ones, not people apart.
    """
    steps, judged = [line for line in lines if "loss" in line], [line for line in lines if "eer" in line]
    return render(
        "training.html.j2",
        about=about,
        cards=_cards(judged, _FORENSIC if forensic else _RECOGNISER),
        figures=[figure for figure in _figures(steps, judged, forensic) if figure.chart],
        leaderboard=_leaderboard(judged, _FORENSIC_COLUMNS if forensic else _COLUMNS),
        config=json.dumps(config, indent=1, default=str),
        metrics="".join(json.dumps(line) + "\n" for line in lines),
    )


def best_of(judged: Sequence[Line]) -> Line:
    """The validation of the lowest EER, the first of equals."""
    return min(judged, key=lambda line: (line["eer"], line["step"]))


_RECOGNISER = (
    ("EER, all negatives", "eer", "Both error rates where they are equal. Lower is better."),
    ("EER, real people", "eer_real", "The same against impostors alone."),
    ("Deepfakes accepted", "deepfake_accepted", "At the threshold of that EER of real people. Lower is better."),
    ("Genuine rejected", "genuine_rejected", "At the same threshold. Lower is better."),
)
_FORENSIC = (
    ("EER", "eer", "Real photos refused and fakes passed where both shares are equal. Lower is better."),
    ("AUC", "auc", "Share of pairs of a fake and a real photo in which the fake has the higher score."),
    ("Fakes passed", "deepfake_accepted", "Where 5 % of real photos are refused. Lower is better."),
)
_COLUMNS = {
    "EER": "eer",
    "EER, real people": "eer_real",
    "accuracy": "accuracy",
    "genuine rejected": "genuine_rejected",
    "impostors accepted": "impostor_accepted",
    "fakes accepted": "deepfake_accepted",
}
_FORENSIC_COLUMNS = {"EER": "eer", "AUC": "auc", "accuracy": "accuracy", "fakes passed": "deepfake_accepted"}


def _cards(judged: Sequence[Line], shown: Sequence[tuple[str, str, str]]) -> list[Card]:
    first, best = judged[0], best_of(judged)
    return [Card(label, percent(best[key]), f"{percent(first[key])} before", meaning) for label, key, meaning in shown]


def _figures(steps: Sequence[Line], judged: Sequence[Line], forensic: bool) -> list[Figure]:
    at = np.array([line["step"] for line in steps], float)
    loss = np.array([line["loss"] for line in steps], float)
    thin = Series("each noted step", "impostor thin", at, loss)
    thick = Series("running mean", "genuine", at, smoothed(loss, _SMOOTH))
    waits = np.array([line["wait"] / max(line["seconds"], 1e-9) for line in steps], float)
    eer = _series(judged, "EER" if forensic else "EER, all negatives", "deepfake", "eer", interval=True)
    where = "where 5 % of real photos are refused" if forensic else "at the threshold of the EER of real people"
    figures = [
        _figure("Loss", [thin, thick], "What is minimised; its parts are in metrics.jsonl."),
        _figure("Equal error rate", [eer, _series(judged, "real people", "genuine", "eer_real")], "", True),
        _figure("Errors by kind", _by_kind(judged), f"Measured {where}.", True),
        _figure("Accuracy", [_series(judged, "accuracy", "genuine", "accuracy")], "At the recipe's threshold.", True),
        _figure("Learning rate", [Series("lr", "impostor", at, np.array([line["lr"] for line in steps], float))], ""),
        _figure("Waiting for data", [Series("wait", "impostor", at, waits)], "Share of each step.", True),
    ]
    return figures


def _figure(title: str, series: list[Series], caption: str, share: bool = False) -> Figure:
    return Figure(title, chart(series, f"{title} over the steps", share), series, caption)


def _series(judged: Sequence[Line], name: str, colour: str, key: str, interval: bool = False) -> Series:
    x = np.array([line["step"] for line in judged], float)

    def column(of: str) -> np.ndarray:
        return np.array([np.nan if line.get(of) is None else line[of] for line in judged], float)

    if interval:
        return Series(name, colour, x, column(key), column(f"{key}_low"), column(f"{key}_high"))
    return Series(name, colour, x, column(key))


def _by_kind(judged: Sequence[Line]) -> list[Series]:
    generators = sorted({name for line in judged for name in line.get("accepted_by_generator", {})})
    flat = [line | {f"fake {k}": v for k, v in line.get("accepted_by_generator", {}).items()} for line in judged]
    return [
        _series(judged, "genuine rejected", "genuine", "genuine_rejected"),
        _series(judged, "impostors accepted", "impostor", "impostor_accepted"),
        *(_series(flat, f"{g} accepted", f"fake{n % 8}", f"fake {g}") for n, g in enumerate(generators)),
    ]


def _leaderboard(judged: Sequence[Line], columns: dict[str, str]) -> Table:
    rows = sorted(judged, key=lambda line: (line["eer"], line["step"]))[:_SHOWN]
    cells = tuple((row["step"], *(percent(row.get(name)) for name in columns.values())) for row in rows)
    return Table(columns=("step", *columns), rows=cells)
