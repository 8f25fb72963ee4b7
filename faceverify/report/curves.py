"""Curves over the steps of a training, or over any other axis, as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from faceverify.report import svg
from faceverify.report.svg import Scale

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 520, 260, 58, 14, 12, 40


@dataclass(frozen=True, eq=False)
class Series:
    """One line.

    x [N] steps, or places of ticks from 0; y [N]; colour is a class of the style sheet; low, high [N] an interval, or
    None.
    """

    name: str
    colour: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


def chart(
    series: Sequence[Series],
    label: str,
    percent: bool = False,
    size: tuple[int, int] = (_WIDTH, _HEIGHT),
    axis: str = "step",
    ticks: Sequence[str] = (),
) -> Markup:
    """Lines over the step, in `size` (width, height); NaN points are left out. Empty if there is nothing to draw.

    Args:
        series: the lines.
        label: read out by screen readers.
        percent: whether y are shares.
        size: (width, height).
        axis: what x is.
        ticks: names of x = 0, 1, 2, ...; empty = x are numbers.
    """
    drawn = [one for one in series if np.isfinite(one.y).any()]
    if not drawn:
        return Markup("")
    x_scale, y_scale = _scales(drawn, *size)
    parts = list(_axes(x_scale, y_scale, percent, axis, ticks))
    for one in drawn:
        parts += _line(one, x_scale, y_scale)
    return svg.drawing(*size, parts, label)


def smoothed(values: np.ndarray, reach: int) -> np.ndarray:
    """Mean of each value and up to `reach` before it."""
    total = np.cumsum(np.r_[0.0, values])
    at = np.arange(1, len(values) + 1)
    first = np.maximum(at - reach - 1, 0)
    return (total[at] - total[first]) / (at - first)


def _scales(drawn: Sequence[Series], width: int, height: int) -> tuple[Scale, Scale]:
    x = np.concatenate([one.x for one in drawn])
    bounds = [v for one in drawn for v in (one.y, one.low, one.high) if v is not None]
    y = np.concatenate(bounds)
    low, high = min(0.0, float(np.nanmin(y))), float(np.nanmax(y))
    high = high if high > low else low + 1
    last = float(x.max()) if x.max() > x.min() else float(x.min()) + 1
    return (
        Scale(float(x.min()), last, _LEFT, width - _RIGHT),
        Scale(low, high + 0.04 * (high - low), height - _BOTTOM, _TOP),
    )


def _axes(x_scale: Scale, y_scale: Scale, percent: bool, axis: str, ticks: Sequence[str]) -> list[Markup]:
    parts = []
    right, bottom = x_scale.end, y_scale.start
    for tick in round_ticks(y_scale.low, y_scale.high):
        y = y_scale.px(tick)
        parts.append(svg.element("line", x1=_LEFT, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(svg.text(_LEFT - 8, y + 4, f"{100 * tick:g}%" if percent else f"{tick:g}", "tick", "end"))
    numbers = [(tick, f"{tick:,.0f}") for tick in round_ticks(x_scale.low, x_scale.high)]
    for tick, name in enumerate(ticks) if ticks else numbers:
        # The last name would be cut off at the right edge.
        anchor = "end" if ticks and tick == len(ticks) - 1 else "middle"
        parts.append(svg.text(min(x_scale.px(tick), right), bottom + 18, name, "tick", anchor))
    parts.append(svg.text((_LEFT + right) / 2, bottom + _BOTTOM - 4, axis, "axis", "middle"))
    return parts


def round_ticks(low: float, high: float) -> list[float]:
    """Some round numbers from `low` to `high`."""
    raw = (high - low) / 4
    unit = 10 ** np.floor(np.log10(raw))
    step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= raw)
    return [round(float(k * step), 10) for k in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


def _line(one: Series, x_scale: Scale, y_scale: Scale) -> list[Markup]:
    known = np.isfinite(one.y)
    x, y = x_scale(one.x[known]), y_scale(one.y[known])
    parts = []
    if one.low is not None and one.high is not None and np.isfinite(one.low[known]).all():
        edge = np.r_[y_scale(one.high[known]), y_scale(one.low[known])[::-1]]
        parts.append(svg.element("path", d=svg.path(np.r_[x, x[::-1]], edge, close=True), class_=f"band {one.colour}"))
    if len(x) == 1:
        parts.append(svg.element("circle", cx=float(x[0]), cy=float(y[0]), r=4, class_=f"mark {one.colour}"))
        return parts
    title = svg.element("title", one.name)
    return [*parts, svg.element("path", title, d=svg.path(x, y), class_=f"curve {one.colour}")]
