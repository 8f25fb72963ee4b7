"""The drawings: coordinates inside the frame, text escaped, areas cut where the threshold is."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from faceverify.report import charts, numbers, svg


def test_text_is_escaped_and_markup_is_not() -> None:
    inner = svg.element("b", "a < b & c")
    assert inner == "<b>a &lt; b &amp; c</b>"
    assert svg.element("g", inner) == f"<g>{inner}</g>"
    assert svg.element("line", x1=1.0, y1=2.346, class_='"><script>') == (
        '<line x1="1" y1="2.35" class="&#34;&gt;&lt;script&gt;"/>'
    )


def test_a_scale_maps_its_ends() -> None:
    scale = svg.Scale(-1, 1, 100, 300)
    assert (scale.px(-1), scale.px(0), scale.px(1)) == (100, 200, 300)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_bars_stay_inside_their_track(rate: float, low: float, high: float) -> None:
    bar = charts.rate_bar(rate, (min(low, high), max(low, high)), "genuine")
    xs = [float(x) for x in re.findall(r'x[12]="([^"]+)"', bar)]
    assert all(0 <= x <= 160 for x in xs)
    width = float(re.findall(r'width="([^"]+)" height="8" rx="4" class="bar', bar)[0])
    assert 0 <= width <= 158
    assert charts.rate_bar(None, None, "genuine") == Markup("")


@pytest.mark.parametrize("threshold", [-0.5, 0.0, 0.21, 0.5, 1.0, 1.7, None])
def test_the_two_parts_of_an_area_make_up_the_whole(threshold: float | None) -> None:
    edges, heights = np.linspace(0, 1, 5), np.array([0.2, 1.0, 0.5, 0.1])
    parts = list(charts._area(svg.Scale(0, 1, 0, 100), edges, heights, 50, 40, threshold, "genuine"))
    total = 0.0
    for part in parts:
        data = re.findall(r' d="M([^"Z]+)Z"', part)[0]
        points = np.array([[float(n) for n in point.split()] for point in data.split("L")])
        nxt = np.roll(points, -1, axis=0)
        total += abs(np.sum(points[:, 0] * nxt[:, 1] - nxt[:, 0] * points[:, 1])) / 2
    assert total == pytest.approx(40 * 25 * (0.2 + 1.0 + 0.5 + 0.1), rel=1e-3)
    if threshold is not None and 0 < threshold < 1:
        assert len(parts) == 2


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (None, "\N{EN DASH}"),
        (0.0, "0%"),
        (1.0, "100%"),
        (0.4123, "41.2%"),
        (0.0412, "4.12%"),
        (0.00412, "0.41%"),
        (0.0000312, "0.0031%"),
        (0.99975, "99.975%"),
    ],
)
def test_rates_keep_their_telling_digits(rate: float | None, text: str) -> None:
    assert numbers.percent(rate) == text


def test_other_numbers() -> None:
    assert numbers.interval((0.001, 0.02)) == "0.10 to 2.00%"
    assert numbers.interval(None) == ""
    assert numbers.count(1234567) == "1,234,567"
    assert numbers.score(-0.2) == "\N{MINUS SIGN}0.200"
    assert numbers.score(-0.00001) == "0.000"
    assert numbers.plain(1e-6) == "0.000001"
    assert numbers.plain(10.0) == "10"
