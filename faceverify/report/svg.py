"""A few lines of SVG: elements with escaped attributes, and axes. Colours come from the page's style sheet by class."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape


def element(name: str, content: Markup | str = "", **attributes: object) -> Markup:
    """One element; `class_` becomes class, underscores become hyphens, numbers get at most two decimals.

    Text given as str is escaped; Markup is taken as it is.
    """
    parts = [
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _number(value))
        for key, value in attributes.items()
        if value is not None
    ]
    opening = Markup("").join(parts)
    if not content:
        return Markup("<{}{}/>").format(Markup(name), opening)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), opening, escape(content))


def drawing(width: float, height: float, content: Iterable[Markup], label: str, class_: str = "chart") -> Markup:
    """The outer element; `label` is read out by screen readers."""
    return element(
        "svg",
        Markup("").join(content),
        viewBox=f"0 0 {_number(width)} {_number(height)}",
        width=width,
        height=height,
        role="img",
        aria_label=label,
        class_=class_,
    )


def path(x: np.ndarray, y: np.ndarray, close: bool = False) -> str:
    """Path data through the points, [N] each, in pixels."""
    points = "L".join(f"{_number(a)} {_number(b)}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
    return f"M{points}{'Z' if close else ''}"


def text(x: float, y: float, content: str, class_: str = "", anchor: str = "start") -> Markup:
    """A line of text, `y` its baseline."""
    return element("text", content, x=x, y=y, class_=class_ or None, text_anchor=anchor)


class Scale(NamedTuple):
    """A linear map of [low, high] to pixels [start, end]."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: np.ndarray | float) -> np.ndarray:
        """Pixels of `value`."""
        return self.start + (np.asarray(value) - self.low) / (self.high - self.low) * (self.end - self.start)

    def px(self, value: float) -> float:
        """Pixel of one value."""
        return float(self(value))


def _number(value: object) -> str:
    if isinstance(value, float | np.floating):
        return f"{float(value):.2f}".rstrip("0").rstrip(".")
    return str(value)
