"""The drawings of a search's page as SVG: parallel coordinates, bars, and two goals against each other."""

from collections.abc import Iterable, Sequence

import numpy as np
from markupsafe import Markup

from faceverify.report import svg
from faceverify.report.curves import round_ticks
from faceverify.report.numbers import percent
from faceverify.report.svg import Scale
from faceverify.tuning.space import Dimension, shown
from faceverify.tuning.trials import Trial, ranked

_WIDTH = 1000
_LONGEST = 16  # letters of a label


def parallel(trials: Sequence[Trial], dimensions: Sequence[Dimension], goal: str, names: Sequence[str]) -> Markup:
    """One axis per field and one for the goal, one line per trial: the best thick, the better ones darker, those that
    were stopped early or diverged grey.
    """
    order = ranked(trials, goal)
    if not order:
        return Markup("")
    top, bottom, height = 46, 300, 356
    places = np.linspace(90, _WIDTH - 110, len(dimensions) + 1)
    scores = [trial.score(goal) for trial in order]
    low, high = min(scores), max(scores)
    high = high if high > low else low + 1e-6
    goal_scale, share = Scale(low, high, bottom, top), Scale(0, 1, bottom, top)
    parts: list[Markup] = []
    ranks = {trial.number: place for place, trial in enumerate(order)}
    for trial in sorted(trials, key=lambda t: (t.state == "finished", -ranks.get(t.number, len(trials)))):
        heights = [one.share(trial.values[one.name]) for one in dimensions]
        y = [share.px(h) for h in heights if h is not None]
        x = [float(place) for place, h in zip(places, heights, strict=False) if h is not None]
        if trial.best is not None:
            x, y = [*x, float(places[-1])], [*y, goal_scale.px(trial.score(goal))]
        if len(x) > 1:
            parts.append(_thread(trial, x, y, ranks.get(trial.number), len(order), goal))
    for place, one, name in zip(places[:-1], dimensions, names, strict=True):
        parts += _axis(float(place), top, bottom, name, _ends(one))
    shown_goal = "EER" if goal == "eer" else goal
    parts += _axis(float(places[-1]), top, bottom, shown_goal, [(0.0, percent(low)), (1.0, percent(high))])
    parts.append(svg.text(float(places[-1]), bottom + 46, "lower is better", "tick", "middle"))
    return svg.drawing(_WIDTH, height, parts, "Values of every trial and what it reached")


def _thread(trial: Trial, x: list[float], y: list[float], rank: int | None, count: int, goal: str) -> Markup:
    title = svg.element("title", f"trial {trial.number}, {trial.state}: {goal} {percent(trial.score(goal))}")
    line = _eased(x, y)
    if rank == 0:
        return svg.element("path", title, d=line, class_="curve thread genuine")
    if trial.state != "finished" or rank is None:
        return svg.element("path", title, d=line, class_="curve thread pruned", stroke_width=1)
    strength = 0.9 - 0.6 * rank / max(count - 1, 1)
    return svg.element("path", title, d=line, class_="curve thread impostor", stroke_width=1.4, stroke_opacity=strength)


def _eased(x: Sequence[float], y: Sequence[float]) -> str:
    """A line that leaves and enters each axis level, so that lines through one point can be distinguished."""
    parts = [f"M{x[0]:.1f} {y[0]:.1f}"]
    for a, b, c, d in zip(x[:-1], y[:-1], x[1:], y[1:], strict=True):
        reach = 0.42 * (c - a)
        parts.append(f"C{a + reach:.1f} {b:.1f} {c - reach:.1f} {d:.1f} {c:.1f} {d:.1f}")
    return "".join(parts)


def _ends(one: Dimension) -> list[tuple[float, str]]:
    """What is written beside an axis: place from 0 to 1, text."""
    if one.kind == "choice":
        return [(one.share(value) or 0.0, shown(value)) for value in one.choices]
    return [(0.0, shown(float(one.low))), (1.0, shown(float(one.high)))]


def _axis(x: float, top: float, bottom: float, name: str, marks: list[tuple[float, str]]) -> Iterable[Markup]:
    yield svg.element("line", x1=x, x2=x, y1=top, y2=bottom, class_="base")
    yield svg.text(x, top - 26, _cut(name), "name plain", "middle")
    for share, mark in marks:
        y = bottom + (top - bottom) * share
        if share in (0.0, 1.0):
            yield svg.text(x, top - 8 if share else bottom + 18, _cut(mark), "tick", "middle")
        else:
            yield svg.text(x + 8, y + 4, _cut(mark), "tick")


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def bars(shares: Sequence[tuple[str, float]]) -> Markup:
    """A bar per field, its share written at the end."""
    if not shares:
        return Markup("")
    row, left, right, width = 34, 170, 70, 520
    scale = Scale(0, max(max(share for _, share in shares), 1e-9), left, width - right)
    parts = []
    for place, (name, share) in enumerate(shares):
        y = 8 + row * place
        end = scale.px(share)
        parts.append(svg.text(left - 12, y + 16, _cut(name), "name plain", "end"))
        parts.append(svg.element("rect", x=left, y=y + 2, width=width - right - left, height=20, rx=3, class_="track"))
        box = {"x": left, "y": y + 2, "width": max(end - left, 1.0), "height": 20, "rx": 3}
        parts.append(svg.element("rect", **box, class_="bar genuine"))
        parts.append(svg.text(width - right + 10, y + 17, f"{share:.0%}", "value"))
    return svg.drawing(width, 12 + row * len(shares), parts, "Share of each field in what trials reached")


def scatter(trials: Sequence[Trial], front: Sequence[Trial], best: Trial) -> Markup:
    """EER of real people against deepfakes accepted, with the front; empty where nothing is known of deepfakes."""
    known = [trial for trial in trials if trial.best and trial.best.get("deepfake_accepted") is not None]
    known = [trial for trial in known if trial.best and trial.best.get("eer_real") is not None]
    if not known:
        return Markup("")
    size, left, bottom, top, right = 520, 62, 52, 16, 18
    points = {t.number: (t.score("eer_real"), t.score("deepfake_accepted")) for t in known}
    bounds = [_bounds([point[side] for point in points.values()]) for side in (0, 1)]
    x_scale, y_scale = Scale(*bounds[0], left, size - right), Scale(*bounds[1], size - 120 - bottom, top)
    height = size - 120
    parts = list(_scatter_axes(x_scale, y_scale, height - bottom))
    corners = [points[trial.number] for trial in front]
    if len(corners) > 1:
        x, y = (np.array([corner[side] for corner in corners]) for side in (0, 1))
        stairs = svg.path(x_scale(np.repeat(x, 2)[1:]), y_scale(np.repeat(y, 2)[:-1]))
        parts.append(svg.element("path", d=stairs, class_="curve deepfake thin-line"))
    for trial in sorted(known, key=lambda one: (one in front, one is best)):
        parts.append(_point(trial, x_scale, y_scale, points[trial.number], trial in front, trial is best))
    return svg.drawing(size, height, parts, "EER of real people against deepfakes accepted")


def _point(trial: Trial, x: Scale, y: Scale, at: tuple[float, float], in_front: bool, is_best: bool) -> Markup:
    text = f"trial {trial.number}: EER of real people {percent(at[0])}, deepfakes accepted {percent(at[1])}"
    colour = "genuine" if is_best else "deepfake" if in_front else "pruned" if trial.state != "finished" else "impostor"
    radius = 8 if is_best else 6 if in_front else 4.5
    place = {"cx": x.px(at[0]), "cy": y.px(at[1])}
    return svg.element("circle", svg.element("title", text), **place, r=radius, class_=f"mark {colour}")


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    spare = 0.08 * (max(values) - min(values)) or 0.05
    return max(min(values) - spare, -0.004), max(values) + spare


def _scatter_axes(x_scale: Scale, y_scale: Scale, bottom: float) -> Iterable[Markup]:
    for tick in round_ticks(y_scale.low, y_scale.high):
        y = y_scale.px(tick)
        yield svg.element("line", x1=x_scale.start, x2=x_scale.end, y1=y, y2=y, class_="grid")
        yield svg.text(x_scale.start - 8, y + 4, f"{100 * tick:g}%", "tick", "end")
    for tick in round_ticks(x_scale.low, x_scale.high):
        x = x_scale.px(tick)
        yield svg.element("line", x1=x, x2=x, y1=y_scale.end, y2=bottom, class_="grid")
        yield svg.text(x, bottom + 18, f"{100 * tick:g}%", "tick", "middle")
    yield svg.text((x_scale.start + x_scale.end) / 2, bottom + 42, "EER, real people", "axis", "middle")
