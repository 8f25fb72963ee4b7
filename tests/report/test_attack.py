"""The page of an attack: all points are in it, texts are escaped, examples are shown."""

import re

import numpy as np
import pytest

from faceverify.attacks.curves import Curves, Point
from faceverify.report.attack import Example, Shown, render_attack
from faceverify.report.page import ReportAbout
from faceverify.report.thumbnails import thumbnail


def point(attack: str, strength: float | None, eer: float, iapar: float | None = None) -> Point:
    rates = dict.fromkeys(Point.__dataclass_fields__)
    rates |= {"attack": attack, "strength": strength, "scored": 90, "failed": 10, "eer": eer, "eer_real": eer}
    rates |= {"eer_real_low": eer / 2, "eer_real_high": 2 * eer, "fnmr": eer, "fmr": 0.01, "iapar": iapar}
    return Point(**rates)


def page(iapar: float | None = None, examples: list[Example] | None = None) -> str:
    points = [point("none", None, 0.01, iapar), point("blur", 1, 0.02, iapar), point("blur", 2, 0.123, iapar)]
    points.append(point("pgd", 4, 0.9, iapar))
    about = ReportAbout(title="<b>A</b>", command="attack --photos '<i>'", created="2026-12-01")
    return render_attack(Curves(0.25, "eer", points, ("a <note>",)), examples or [], about, {"seed": 0})


def test_every_attack_has_its_curves_and_every_point_its_row() -> None:
    text = page()
    assert re.findall(r'role="img" aria-label="([^"]+)"', text) == [
        f"{attack}: {name}"
        for attack in ("Blur", "PGD")
        for name in ("Equal error rate", "At the threshold of the photos as they are")
    ]
    assert "12.3%" in text and "0.250" in text and "IAPAR</th>" not in text
    assert len(re.findall(r'<th scope="row">', text)) == 4
    assert "white box" in text and "What it looks like" not in text
    assert page() == text


def test_fakes_add_their_acceptance() -> None:
    text = page(iapar=0.77)
    assert "IAPAR</th>" in text and "77.0%" in text and "fakes accepted (IAPAR)" in text


def test_names_are_escaped() -> None:
    text = page()
    assert "<b>A" not in text and "<i>" not in text and "<note>" not in text


@pytest.mark.parametrize("wrong", [True, False])
def test_examples_show_faces_and_where_there_is_none(wrong: bool) -> None:
    image = thumbnail(np.full((112, 112, 3), 90, np.uint8))
    strip = [Shown(image, "as it is", 0.5, False), Shown(image, "1", 0.1, wrong), Shown(None, "2")]
    text = page(examples=[Example("genuine", Shown(image, "enrolled"), {"blur": strip})])
    assert text.count("<img ") == 3 and text.count("no face</span>") == 1
    assert ("0.100 wrong" in text) is wrong
