"""The map of embeddings as SVG: a dot for a real photo, a ring for a fake, a colour and a number for a person."""

import csv
import io

import numpy as np
from markupsafe import Markup

from faceverify.evaluation.embedding_map import EmbeddingMap, Layout
from faceverify.report import svg
from faceverify.spreadsheet import escaped_cell

_SIZE, _MARGIN = 500, 22
_COLOURS = ("fake0", "genuine", "fake1", "fake2", "impostor", "fake3", "fake6", "fake4", "fake5", "fake7")


def colour(person: int) -> str:
    """The CSS class of a person; after ten people colours come again, and numbers tell people apart."""
    return _COLOURS[person % len(_COLOURS)]


def map_chart(found: EmbeddingMap, layout: Layout) -> Markup:
    """One picture, equally scaled in both directions."""
    low, high = layout.xy.min(axis=0), layout.xy.max(axis=0)
    scale = (_SIZE - 2 * _MARGIN) / max(float((high - low).max()), 1e-12)
    places = (layout.xy - (low + high) / 2) * scale + _SIZE / 2
    parts = [svg.element("rect", x=1, y=1, width=_SIZE - 2, height=_SIZE - 2, rx=8, class_="frame")]
    order = sorted(range(len(found.photos)), key=lambda at: not found.photos[at].is_fake)
    for at in order:  # fakes first, real photos above them
        one = found.photos[at]
        what = f"fake by {one.generator}" if one.generator else "fake"
        title = svg.element("title", f"{found.people[one.person]}, {what if one.is_fake else 'real'}")
        place = {"cx": float(places[at, 0]), "cy": float(places[at, 1])}
        shape = {"r": 4.2, "class_": f"ring thin {colour(one.person)}"} if one.is_fake else {"r": 4.4}
        shape = shape if one.is_fake else shape | {"class_": f"dot {colour(one.person)}"}
        parts.append(svg.element("circle", title, **place, **shape))
    for person in range(len(found.people)):
        own = [at for at, one in enumerate(found.photos) if one.person == person and not one.is_fake]
        x, y = np.median(places[own], axis=0).tolist()
        parts.append(svg.text(x, y + 5, str(person + 1), f"name label {colour(person)}", "middle"))
    return svg.drawing(_SIZE, _SIZE, parts, f"Map of embeddings, {layout.name}")


def map_csv(found: EmbeddingMap) -> str:
    """Data of all pictures."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("picture", "photo", "person", "is_fake", "generator", "x", "y"))
    for layout in found.layouts:
        for one, (x, y) in zip(found.photos, layout.xy.tolist(), strict=True):
            row = (layout.name, one.photo, found.people[one.person], int(one.is_fake), one.generator, x, y)
            writer.writerow(map(escaped_cell, row))
    return text.getvalue()
