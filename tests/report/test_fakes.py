"""The page of a run of fakes: every generator has its row and its examples, texts are escaped."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa

from faceverify import tables
from faceverify.fakes.audit import Audit
from faceverify.fakes.photo_pool import gather
from faceverify.images import encode_png
from faceverify.report.fakes import Example, examples_of, render_fakes
from faceverify.report.page import ReportAbout

POINTS = [[40.0, 50], [80, 50], [60, 70], [45, 95], [75, 95]]


def page(audits: list[Audit], examples: dict[str, list[Example]], recogniser: str = "y1") -> str:
    about = ReportAbout(title="Deepfakes", command="fakes --photos '<i>'", created="2026-12-01", inputs={"photos": "p"})
    return render_fakes(audits, examples, about, recogniser, 0.25 if recogniser else None)


def test_a_row_for_each_generator() -> None:
    full = Audit("swap", 40, 30, 20, 0.5, 0.1, 0.25, (-1.5, 0.25, 1.0))
    new = Audit("<b>new</b>", 5, 0, None, None, None, None, None)
    text = page([full, new], {})
    told = ("66.7%", "25.0%", "+0.25", "-1.50 to +1.00", "Accepted: at 0.250")
    assert all(word in text for word in (*told, "&lt;b&gt;new&lt;/b&gt;", "&#39;&lt;i&gt;"))
    assert len(re.findall(r'<th scope="row">', text)) == 2 and "was not measured" not in text
    bare = page([new], {}, recogniser="")
    assert "was not measured" in bare and "Accepted" not in bare


def test_examples_show_source_host_and_fake_or_say_what_is_gone(tmp_path: Path) -> None:
    rows = []
    for person in ("a", "b"):
        place = tmp_path / f"{person}.png"
        place.write_bytes(encode_png(np.full((140, 120, 3), 90, np.uint8)))
        row = {"photo": f"{person}.png", "uri": str(place), "person": person, "is_fake": False, "split": "train"}
        rows.append(row | {"landmarks": np.ravel(POINTS)})
    pool = gather(pa.Table.from_pylist(rows, tables.PHOTOS), 0)
    fake = {"person": "a", "source_photo": "a.png", "target_photo": "b.png", "uri": str(tmp_path / "gone"), "how": "h<"}
    known = {"landmarks": np.ravel(POINTS).tolist(), "similarity_person": 0.5, "similarity_host": None}
    [shown] = examples_of([fake | known], pool)
    assert [face.label for face in shown.faces] == ["source", "host", "fake"]
    assert [face.image is None for face in shown.faces] == [False, False, True]
    assert shown.note == "0.50 to the person, h<"
    text = page([], {"swap": [shown]})
    assert text.count("data:image/jpeg") == 2 and "no picture" in text and "h&lt;" in text
    new = fake | {"target_photo": None, "uri": str(tmp_path / "b.png"), "landmarks": None, "similarity_person": None}
    [alone] = examples_of([new | {"similarity_host": None}], pool)
    assert [face.label for face in alone.faces] == ["source", "fake"] and alone.faces[1].image
