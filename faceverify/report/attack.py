"""The page of an attack: error rates over strength, attack by attack, and what attacked faces look like."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from faceverify.attacks.curves import Curves, Point, as_csv
from faceverify.attacks.options import ATTACKS, ON_GRADIENTS, UNITS
from faceverify.report import numbers
from faceverify.report.curves import Series, chart
from faceverify.report.numbers import percent
from faceverify.report.page import ReportAbout, render
from faceverify.report.training import Card, Figure

TITLES = {
    "noise": "Noise",
    "blur": "Blur",
    "jpeg": "JPEG",
    "low_resolution": "Low resolution",
    "fgsm": "FGSM",
    "pgd": "PGD",
}
_SIZE = (480, 260)


@dataclass(frozen=True)
class Shown:
    """A face of an example.

    Args:
        image: JPEG or PNG; None where no face was found.
        label: what it is: "as it is", "noise 16".
        similarity: with the enrolled photo; None where there is none.
        wrong: whether the decision at the threshold is wrong; None where there is no threshold.
    """

    image: bytes | None
    label: str
    similarity: float | None = None
    wrong: bool | None = None


@dataclass(frozen=True)
class Example:
    """A pair under all attacks.

    Args:
        kind: genuine, impostor or deepfake.
        enrolled: the photo that stays.
        strips: for each attack the attacked photo, as it is and at each strength.
    """

    kind: str
    enrolled: Shown
    strips: dict[str, list[Shown]]


def render_attack(curves: Curves, examples: Sequence[Example], about: ReportAbout, config: dict[str, Any]) -> str:
    """The page as text, the same for the same input.

    Args:
        curves: what was measured.
        examples: pairs to look at.
        about: title, origin.
        config: of the run.
    """
    attacks = [attack for attack in ATTACKS if any(point.attack == attack for point in curves.points)]
    clean = curves.points[0]
    figures = [(TITLES[attack], _figures(attack, curves.of(attack), clean.iapar is not None)) for attack in attacks]
    return render(
        "attack.html.j2",
        about=about,
        curves=curves,
        cards=_cards(curves),
        figures=figures,
        rows=[(TITLES.get(point.attack, "as they are"), _strength(point), point) for point in curves.points],
        has_fakes=clean.iapar is not None or any(point.iapar is not None for point in curves.points),
        on_gradients=any(attack in ON_GRADIENTS for attack in attacks),
        examples=examples,
        titles=TITLES,
        units=UNITS,
        config=json.dumps(config, indent=1, default=str),
        csv=as_csv(curves),
    )


def _strength(point: Point) -> str:
    return "" if point.strength is None else f"{point.strength:g}"


def _cards(curves: Curves) -> list[Card]:
    """EER as the photos are, and under each attack at its strongest."""
    clean, cards = curves.points[0], []
    low_high = numbers.interval(_bounds(clean.eer_real_low, clean.eer_real_high))
    cards.append(Card("As they are: EER", percent(_eer(clean)), low_high, f"{clean.scored:,} pairs."))
    for attack in ATTACKS:
        if points := curves.of(attack)[1:]:
            last = points[-1]
            text = f"at {_strength(last)}: {UNITS[attack]}"
            cards.append(Card(f"{TITLES[attack]}: EER", percent(_eer(last)), text, ""))
    return cards


def _eer(point: Point) -> float | None:
    return point.eer if point.eer_real is None else point.eer_real


def _bounds(low: float | None, high: float | None) -> tuple[float, float] | None:
    return None if low is None or high is None else (low, high)


def _figures(attack: str, points: Sequence[Point], fakes: bool) -> list[Figure]:
    """Two charts: the EER, and the rates at the threshold found on the photos as they are."""
    ticks = ["as it is", *(_strength(point) for point in points[1:])]
    real = any(point.eer_real is not None for point in points)
    eer = [_series(points, "EER, real people", "genuine", "eer_real" if real else "eer")]
    if fakes and real:
        eer.append(_series(points, "EER, all negatives", "deepfake", "eer"))
    rates = [
        _series(points, "genuine rejected (FNMR)", "genuine", "fnmr"),
        _series(points, "impostors accepted (FMR)", "impostor", "fmr"),
    ]
    if fakes:
        rates.append(_series(points, "fakes accepted (IAPAR)", "deepfake", "iapar"))
    title = TITLES[attack]
    drawn = {"Equal error rate": eer, "At the threshold of the photos as they are": rates}
    return [
        Figure(name, chart(series, f"{title}: {name}", True, _SIZE, UNITS[attack], ticks), series, "")
        for name, series in drawn.items()
    ]


def _series(points: Sequence[Point], name: str, colour: str, key: str) -> Series:
    def column(of: str) -> np.ndarray:
        values = [getattr(point, of) for point in points]
        return np.array([np.nan if value is None else value for value in values], float)

    x = np.arange(len(points), dtype=float)
    return Series(name, colour, x, column(key), column(f"{key}_low"), column(f"{key}_high"))
