"""The page of a comparison: networks by sets, curves laid over each other, speed, fakes accepted, what is real."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from faceverify.align.crops import Crop
from faceverify.evaluation.networks import ComparedNetworks, Difference, Figure, NetworkResult, ProtocolResult
from faceverify.models.card import ModelCard
from faceverify.report import charts
from faceverify.report.page import render

_COLOURS = ("genuine", *(f"fake{number}" for number in range(8)))
_SMALLER_IS_BETTER = ("EER", "fakes accepted")


class ComparedNetwork(NamedTuple):
    """What the page says of a network: photos per second are those of one worker, NaN where nothing was measured."""

    name: str
    card: ModelCard
    size: int  # bytes of its file
    speed: float
    crop: Crop
    colour: str = ""


@dataclass(frozen=True)
class Cell:
    """One figure of one network on one set, and whether none is better."""

    value: float | None
    bounds: tuple[float, float] | None
    is_best: bool


@dataclass(frozen=True)
class Row:
    """One figure on one set: a cell for each network."""

    set_name: str
    figure: str
    pairs: int | None
    cells: tuple[Cell, ...]


def render_networks(
    results: Sequence[NetworkResult | ProtocolResult],
    compared: ComparedNetworks,
    networks: list[ComparedNetwork],
    command: str,
    reference: str,
    rule: str,
) -> str:
    """The page as text.

    Args:
        results: each network on each set.
        compared: the differences.
        networks: that are compared.
        command: that makes it again.
        reference: the list on which each network's threshold was found; empty without one.
        rule: where it was put there, "eer" or a false match rate.
    """
    sets = list(dict.fromkeys(one.set_name for one in results))
    networks = [one._replace(colour=_COLOURS[i % len(_COLOURS)]) for i, one in enumerate(networks)]
    colours = {one.name: one.colour for one in networks}
    drawings = []
    for number, name in enumerate(sets):
        curves = [charts.NamedCurve(r.network, colours[r.network], *r.curve()) for r in results if r.set_name == name]
        if drawing := charts.overlaid_det_chart(curves, str(number)):
            drawings.append((name, drawing))
    rows = [row for name in sets for row in _rows(results, list(colours), name)]
    return render(
        "networks.html.j2",
        title="Networks compared",
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        summary=compared.summary,
        drawn=compared.drawn,
        networks=networks,
        rows=[row for row in rows if not row.figure.startswith("fakes")],
        fakes=[row for row in rows if row.figure.startswith("fakes")],
        drawings=drawings,
        protocols=sorted({one.set_name for one in results if isinstance(one, ProtocolResult)}),
        differences=sorted(compared.differences, key=_order),
        reference=reference,
        rule="of the EER" if rule == "eer" else f"of FMR {100 * float(rule):g} %",
        command=command,
    )


def _order(one: Difference) -> tuple[str, bool, float]:
    return one.set_name, not one.is_real, -one.difference


def _rows(results: Sequence[NetworkResult | ProtocolResult], networks: list[str], set_name: str) -> list[Row]:
    """A row for each figure that some network has on a set."""
    found: dict[str, dict[tuple[str, str], Figure]] = {}
    for one in results:
        if one.set_name == set_name:
            found[one.network] = {figure[:2]: figure for figure in one.figures}
    rows = []
    for key in dict.fromkeys(key for values in found.values() for key in values):
        values = [found[name].get(key) for name in networks]
        there = [one[2] for one in values if one is not None and one[2] is not None]
        best = (min if key[0] in _SMALLER_IS_BETTER else max)(there)
        cells = tuple(
            Cell(None, None, False) if one is None else Cell(one[2], one[3], one[2] == best and len(set(there)) > 1)
            for one in values
        )
        pairs = max((one[4] for one in values if one is not None and one[4] is not None), default=None)
        rows.append(Row(set_name, " ".join(key).strip(), pairs, cells))
    return rows
