"""The drawn map: each photo once, inside the frame, real and fake told apart by shape, names escaped."""

import csv
import io
import re

import numpy as np

from faceverify.evaluation.embedding_map import Drawn, EmbeddingMap, Layout
from faceverify.report.map_chart import colour, map_chart, map_csv


def example(people: int = 3) -> EmbeddingMap:
    names = ["<b>", *(f"person {number}" for number in range(1, people))]
    photos = [Drawn(f"{p}/{n}.jpg", p, n > 2, "=swap" if n > 2 else "") for p in range(people) for n in range(5)]
    random = np.random.default_rng(0)
    layouts = [Layout(name, 50 * random.normal(size=(len(photos), 2)), 0.5, 0.4, 0.0) for name in ("before", "after")]
    return EmbeddingMap(names, photos, layouts, "Rule.", "Method.")


def test_every_photo_is_drawn_once_inside_the_frame() -> None:
    found = example()
    for layout in found.layouts:
        text = map_chart(found, layout)
        circles = re.findall(r'<circle cx="([^"]+)" cy="([^"]+)" r="[^"]+" class="([^"]+)">', text)
        assert len(circles) == 15 and all(0 < float(x) < 500 and 0 < float(y) < 500 for x, y, _ in circles)
        assert sum(kind.startswith("dot ") for *_, kind in circles) == 9
        assert sum(kind.startswith("ring ") for *_, kind in circles) == 6
        assert f'aria-label="Map of embeddings, {layout.name}"' in text
        assert "<b>" not in text and "&lt;b&gt;, fake by =swap" in text


def test_distances_are_kept_alike_in_both_directions() -> None:
    found = example()
    text = map_chart(found, found.layouts[0])
    drawn = {(float(x), float(y)) for x, y in re.findall(r'cx="([^"]+)" cy="([^"]+)"', text)}
    xy = found.layouts[0].xy
    scale = 456 / (xy.max(axis=0) - xy.min(axis=0)).max()
    wanted = (xy - (xy.max(axis=0) + xy.min(axis=0)) / 2) * scale + 250
    assert all(min(np.hypot(x - a, y - b) for a, b in drawn) < 0.02 for x, y in wanted)


def test_equal_points_and_many_people_are_drawn() -> None:
    found = example(12)
    still = Layout("one", np.zeros((60, 2)), None, None, None)
    assert map_chart(found, still).count("<circle") == 60
    assert len({colour(person) for person in range(10)}) == 10


def test_the_data_holds_all_pictures_and_runs_nothing() -> None:
    rows = list(csv.DictReader(io.StringIO(map_csv(example()))))
    assert len(rows) == 30 and {row["picture"] for row in rows} == {"before", "after"}
    assert {row["generator"] for row in rows} == {"", "'=swap"}
