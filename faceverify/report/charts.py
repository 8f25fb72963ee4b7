"""The drawings of the evaluation report as SVG. Each has a function that gives its data as CSV."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from scipy.special import ndtri

from faceverify.evaluation.result import Curve, Evaluation, Histogram
from faceverify.report import numbers, svg
from faceverify.report.svg import Scale
from faceverify.spreadsheet import escaped_cell

_DET = 560  # pixels of a side
_SERIES = 8  # colours for generators in the style sheet
_TICKS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99)


def series(evaluation: Evaluation, kind: str, generator: str) -> str:
    """The CSS class that colours this group in every drawing."""
    if kind != "deepfake":
        return kind
    return f"fake{list(evaluation.by_generator).index(generator) % _SERIES}"


def score_chart(evaluation: Evaluation) -> Markup:
    """One row per group over a common score axis; what lies right of the threshold is accepted and drawn solid."""
    if not evaluation.histograms:
        return Markup("")
    row, top, left, right, width = 70, 34, 150, 110, 1000
    edges = evaluation.histograms[0].edges
    scale = Scale(float(edges[0]), float(edges[-1]), left, width - right)
    bottom = top + row * len(evaluation.histograms)
    parts = [*_score_axis(scale, top, bottom)]
    for index, histogram in enumerate(evaluation.histograms):
        parts += _ridge(evaluation, histogram, scale, top + row * (index + 1), row - 12)
    parts += _threshold_line(evaluation, scale, top, bottom)
    return svg.drawing(width, bottom + 46, parts, "Similarity scores of every kind of pair, with the threshold")


def _score_axis(scale: Scale, top: float, bottom: float) -> Iterable[Markup]:
    span = scale.high - scale.low
    step = 0.25 if span > 1.2 else 0.1 if span > 0.4 else 0.05
    for tick in np.arange(np.ceil(scale.low / step - 1e-6), np.floor(scale.high / step + 1e-6) + 1) * step:
        x = scale.px(float(tick))
        yield svg.element("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid")
        yield svg.text(x, bottom + 18, f"{tick + 0.0:.2f}".replace("-", "−"), "tick", "middle")  # noqa: RUF001
    yield svg.text((scale.start + scale.end) / 2, bottom + 40, "cosine similarity", "axis", "middle")


def _ridge(evaluation: Evaluation, histogram: Histogram, scale: Scale, base: float, height: float) -> Iterable[Markup]:
    colour = series(evaluation, histogram.kind, histogram.generator)
    name = histogram.generator or histogram.kind
    heights = histogram.counts / histogram.counts.max()
    yield from _area(scale, histogram.edges, heights, base, height, evaluation.threshold, colour)
    yield svg.element("line", x1=scale.start, x2=scale.end, y1=base, y2=base, class_="base")
    yield svg.text(scale.start - 14, base - 22, _shorten(name), f"name {colour}", "end")
    yield svg.text(scale.start - 14, base - 6, f"{histogram.counts.sum():,} pairs", "tick", "end")
    accepted = _accepted(evaluation, histogram.kind, histogram.generator)
    if accepted is not None:
        yield svg.text(scale.end + 14, base - 22, numbers.percent(accepted), "value")
        yield svg.text(scale.end + 14, base - 6, "accepted", "tick")


def _area(
    scale: Scale,
    edges: np.ndarray,
    heights: np.ndarray,
    base: float,
    height: float,
    threshold: float | None,
    colour: str,
) -> Iterable[Markup]:
    """The outline of bars at `edges` [B + 1], `heights` [B] in [0, 1], cut at the threshold into light and solid."""
    cut = scale.high if threshold is None else min(max(threshold, scale.low), scale.high)
    fine = np.union1d(edges, [cut])
    fine_heights = heights[np.searchsorted(edges, fine[:-1], side="right") - 1]
    for side, inside in (("rejected", fine[:-1] < cut), ("accepted", fine[:-1] >= cut)):
        if inside.any():
            corners = np.stack([fine[:-1][inside], fine[1:][inside]], axis=1).ravel()
            x = np.concatenate([corners[:1], corners, corners[-1:]])
            y = np.concatenate([[0], np.repeat(fine_heights[inside], 2), [0]])
            line = svg.path(scale(x), base - height * y, close=True)
            yield svg.element("path", d=line, class_=f"area {side} {colour}")


def _threshold_line(evaluation: Evaluation, scale: Scale, top: float, bottom: float) -> Iterable[Markup]:
    if evaluation.threshold is None or not scale.low <= evaluation.threshold <= scale.high:
        return
    x = scale.px(evaluation.threshold)
    yield svg.element("line", x1=x, x2=x, y1=top - 8, y2=bottom, class_="threshold")
    yield svg.text(x, top - 16, f"threshold {numbers.score(evaluation.threshold)}", "value", "middle")


def _accepted(evaluation: Evaluation, kind: str, generator: str) -> float | None:
    if kind == "deepfake":
        return evaluation.by_generator[generator].accept_rate
    result = evaluation.by_kind[kind]
    return None if result.accepted is None else result.accepted / result.pairs


def det_chart(evaluation: Evaluation) -> Markup:
    """FNMR over accept rate, one curve per attack, on normal-deviate axes (Martin et al., Eurospeech 1997)."""
    if not evaluation.curves:
        return Markup("")
    low, high = _det_range(evaluation.curves)
    x_scale, y_scale, parts = _det_frame(low, high, "det-frame")
    for curve in evaluation.curves:
        colour = series(evaluation, curve.kind, curve.generator)
        parts.append(_det_curve(curve.generator or curve.kind, colour, curve, x_scale, y_scale, low, "det-frame"))
        parts += _operating_mark(evaluation, curve, x_scale, y_scale, low, high, colour)
    return svg.drawing(_DET, _DET, parts, "DET curves: rejected genuine pairs over accepted negatives")


class NamedCurve(NamedTuple):
    """FNMR over FMR of one network: its name, the class that colours it, both rates at some thresholds [K]."""

    name: str
    colour: str
    fmr: np.ndarray
    fnmr: np.ndarray


def overlaid_det_chart(curves: Sequence[NamedCurve], name: str) -> Markup:
    """FNMR over FMR of several networks on one set, on the axes of `det_chart`; `name` is unique on the page."""
    drawn = [curve for curve in curves if len(curve.fmr)]
    if not drawn:
        return Markup("")
    low, high = _det_range(drawn)
    x_scale, y_scale, parts = _det_frame(low, high, f"det-{name}")
    parts += [_det_curve(one.name, one.colour, one, x_scale, y_scale, low, f"det-{name}") for one in drawn]
    return svg.drawing(
        _DET, _DET, parts, f"DET curves of {len(drawn)} networks: rejected genuine pairs over accepted ones"
    )


def _det_frame(low: float, high: float, name: str) -> tuple[Scale, Scale, list[Markup]]:
    left, top, bottom = 64, 14, 54
    x_scale = Scale(ndtri(low), ndtri(high), left, _DET - 14)
    y_scale = Scale(ndtri(low), ndtri(high), _DET - bottom, top)
    frame = {"x": left, "y": top, "width": _DET - 14 - left, "height": _DET - bottom - top}
    clip = svg.element("defs", svg.element("clipPath", svg.element("rect", **frame), id=name))
    parts = [clip, *_det_axes(x_scale, y_scale, low, high), svg.element("rect", **frame, class_="frame")]
    return x_scale, y_scale, [*parts, _line(x_scale, y_scale, (low, high), (low, high), "diagonal")]


def _det_curve(
    name: str, colour: str, curve: Curve | NamedCurve, x_scale: Scale, y_scale: Scale, low: float, frame: str
) -> Markup:
    line = svg.path(x_scale(_deviate(curve.fmr, low)), y_scale(_deviate(curve.fnmr, low)))
    title = svg.element("title", name)
    return svg.element("path", title, d=line, class_=f"curve {colour}", clip_path=f"url(#{frame})")


def _det_range(curves: Sequence[Curve | NamedCurve]) -> tuple[float, float]:
    """Ticks that frame the curves: down to the smallest rate seen, up to 50 % or as far as the worst curve needs."""
    rates = np.concatenate([rate for curve in curves for rate in (curve.fmr, curve.fnmr)])
    smallest = float(rates[rates > 0].min()) if (rates > 0).any() else 0.01
    worst = max(float(np.minimum(curve.fmr, curve.fnmr).max()) for curve in curves)
    low = max([tick for tick in _TICKS if tick <= smallest] or [_TICKS[0]])
    return min(low, 0.01), 0.5 if worst < 0.3 else 0.8 if worst < 0.7 else 0.99


def _deviate(rate: np.ndarray, low: float) -> np.ndarray:
    """Normal deviates; rates of 0 and 1, which have none, go just outside the frame."""
    return ndtri(np.clip(rate, low / 10, 0.9999))


def _det_axes(x_scale: Scale, y_scale: Scale, low: float, high: float) -> Iterable[Markup]:
    for tick in (tick for tick in _TICKS if low <= tick <= high):
        x, y = x_scale.px(ndtri(tick)), y_scale.px(ndtri(tick))
        yield svg.element("line", x1=x, x2=x, y1=y_scale.start, y2=y_scale.end, class_="grid")
        yield svg.element("line", x1=x_scale.start, x2=x_scale.end, y1=y, y2=y, class_="grid")
        yield svg.text(x, y_scale.start + 18, f"{100 * tick:g}%", "tick", "middle")
        yield svg.text(x_scale.start - 8, y + 4, f"{100 * tick:g}%", "tick", "end")
    yield svg.text((x_scale.start + x_scale.end) / 2, y_scale.start + 42, "negatives accepted", "axis", "middle")
    middle = (y_scale.start + y_scale.end) / 2
    label = svg.text(0, 0, "genuine rejected (FNMR)", "axis", "middle")
    yield svg.element("g", label, transform=f"translate(14 {middle:.0f}) rotate(-90)")


def _line(x_scale: Scale, y_scale: Scale, x: tuple[float, float], y: tuple[float, float], class_: str) -> Markup:
    (x1, x2), (y1, y2) = x_scale(ndtri(np.array(x))), y_scale(ndtri(np.array(y)))
    return svg.element("line", x1=x1, x2=x2, y1=y1, y2=y2, class_=class_)


def _operating_mark(
    evaluation: Evaluation, curve: Curve, x_scale: Scale, y_scale: Scale, low: float, high: float, colour: str
) -> Iterable[Markup]:
    """A dot where the operating threshold puts this attack, if that is inside the frame."""
    accepted, rejected = _accepted(evaluation, curve.kind, curve.generator), evaluation.by_kind["genuine"].error_rate
    if accepted is None or rejected is None or not (low <= accepted <= high and low <= rejected <= high):
        return
    x, y = x_scale.px(ndtri(accepted)), y_scale.px(ndtri(rejected))
    yield svg.element("circle", cx=x, cy=y, r=5, class_=f"mark {colour}")


def rate_bar(rate: float | None, interval: Sequence[float] | None, colour: str) -> Markup:
    """A rate in [0, 1] as a small bar with its interval, for table cells."""
    if rate is None:
        return Markup("")
    scale = Scale(0, 1, 1, 159)
    parts = [
        svg.element("rect", x=1, y=5, width=158, height=8, rx=4, class_="track"),
        svg.element("rect", x=1, y=5, width=max(scale.px(rate) - 1, 0.0), height=8, rx=4, class_=f"bar {colour}"),
    ]
    if interval is not None:
        low, high = scale.px(interval[0]), scale.px(interval[1])
        parts.append(svg.element("line", x1=low, x2=high, y1=9, y2=9, class_="whisker"))
        parts += [svg.element("line", x1=x, x2=x, y1=5, y2=13, class_="whisker") for x in (low, high)]
    return svg.drawing(160, 18, parts, numbers.percent(rate), "inline")


def change_bar(before: float | None, after: float | None, colour: str) -> Markup:
    """Two rates in [0, 1] on one track: a ring where it was, a dot where it is, for table cells."""
    if before is None or after is None:
        return Markup("")
    scale = Scale(0, 1, 7, 153)
    old, new = scale.px(before), scale.px(after)
    parts = [
        svg.element("rect", x=1, y=7, width=158, height=4, rx=2, class_="track"),
        svg.element("line", x1=old, x2=new, y1=9, y2=9, class_=f"moved {colour}"),
        svg.element("circle", cx=old, cy=9, r=4.5, class_=f"ring {colour}"),
        svg.element("circle", cx=new, cy=9, r=5.5, class_=f"mark {colour}"),
    ]
    return svg.drawing(160, 18, parts, f"{numbers.percent(before)}, now {numbers.percent(after)}", "inline")


def score_csv(evaluation: Evaluation) -> str:
    """Data of `score_chart`."""
    rows = [
        (h.kind, h.generator, low, high, pairs)
        for h in evaluation.histograms
        for low, high, pairs in zip(h.edges[:-1].tolist(), h.edges[1:].tolist(), h.counts.tolist(), strict=True)
    ]
    return _csv(("kind", "generator", "score_from", "score_to", "pairs"), rows)


def det_csv(evaluation: Evaluation) -> str:
    """Data of `det_chart`."""
    rows = [
        (curve.kind, curve.generator, threshold, fmr, fnmr)
        for curve in evaluation.curves
        for threshold, fmr, fnmr in zip(curve.threshold.tolist(), curve.fmr.tolist(), curve.fnmr.tolist(), strict=True)
    ]
    return _csv(("kind", "generator", "threshold", "accepted", "fnmr"), rows)


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(map(escaped_cell, row) for row in rows)
    return text.getvalue()


def _shorten(name: str, length: int = 18) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
