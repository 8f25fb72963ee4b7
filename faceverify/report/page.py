"""The evaluation report: one HTML file with everything in it.

The page runs no script and loads nothing: its Content-Security-Policy forbids both, so even text that slipped through
the escaping could do nothing. All values are escaped by Jinja; names of people and files are data of strangers.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jinja2
from markupsafe import Markup

from faceverify.evaluation.comparison import Comparison
from faceverify.evaluation.embedding_map import EmbeddingMap
from faceverify.evaluation.result import Evaluation
from faceverify.report import charts, map_chart, numbers
from faceverify.report.glossary import GLOSSARY

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG"


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A JPEG or PNG file's bytes with a caption."""

    image: bytes
    caption: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A small table; cells are shown as given, numbers aligned right."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A section of one's own above the results: text, then pictures, then a table. Everything is escaped."""

    title: str
    paragraphs: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    table: Table | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportAbout:
    """What the numbers are about and how to make them again."""

    title: str
    command: str
    created: str
    """When, as it shall be shown; the page itself never asks the clock."""
    summary: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Name -> path or URI."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Program -> version."""
    model_card: Mapping[str, Any] = field(default_factory=dict)
    intro: Section | None = None
    """Comes first of all."""
    sections: tuple[Section, ...] = ()


def render_report(
    evaluation: Evaluation,
    about: ReportAbout,
    thumbnails: Mapping[str, bytes],
    comparison: Comparison | None = None,
    embedding_map: EmbeddingMap | None = None,
) -> str:
    """The page as text, the same for the same input.

    Args:
        evaluation: the numbers.
        about: title, origin and sections of one's own.
        thumbnails: photo -> JPEG (or PNG) bytes for `evaluation.photos` and `comparison.photos`; those missing are
            shown as an empty frame.
        comparison: with another network on the same pairs.
        embedding_map: of some people, to be drawn.
    """
    return render(
        "page.html.j2",
        e=evaluation,
        about=about,
        thumbnails=thumbnails,
        comparison=comparison,
        map=embedding_map,
        maps=map_chart,
        card_text=json.dumps(dict(about.model_card), indent=2, sort_keys=True, default=str),
        charts=charts,
        glossary=GLOSSARY,
        has_fakes=bool(evaluation.by_generator),
    )


def render(template: str, **values: Any) -> str:
    """A page of this package with our style; all values but Markup are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("faceverify.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=numbers.percent,
        interval=numbers.interval,
        count=numbers.count,
        score=numbers.score,
        plain=numbers.plain,
        image_uri=_image_uri,
        text_uri=_text_uri,
    )
    source, _, _ = environment.loader.get_source(environment, "style.css")  # pyrefly: ignore
    style = source.strip()
    style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template(template).render(style=Markup(style), style_hash=style_hash, **values)


def _image_uri(image: bytes) -> str:
    """A `data:` URI of a JPEG or PNG file.

    Raises:
        ValueError: the bytes are neither.
    """
    kind = "jpeg" if image.startswith(_JPEG) else "png" if image.startswith(_PNG) else ""
    if not kind:
        raise ValueError(f"a picture of a report must be JPEG or PNG, not {image[:4]!r}...")
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def _text_uri(text: str, media_type: str) -> str:
    """A `data:` URI under which a browser saves `text` as a file."""
    return f"data:{media_type};charset=utf-8;base64,{base64.b64encode(text.encode()).decode()}"
