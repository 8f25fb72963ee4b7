"""Page, style and script: our own files, the same for the served page and for the one that is mailed."""

import base64
import functools
import hashlib
import json
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

# One scope for all, in the order in which they build on each other.
SCRIPTS = ("dom.js", "store.js", "drawing.js", "case.js", "overview.js", "keys.js", "main.js")


@functools.cache
def script() -> str:
    """The whole script; it defines no global name."""
    parts = [files("faceverify.review").joinpath("web", name).read_text(encoding="utf-8") for name in SCRIPTS]
    return "(() => {\n'use strict';\n" + "\n".join(parts) + "})();"


@functools.cache
def style() -> str:
    """The report's style, whose colours and type the page shares, and the page's own."""
    parts = (("faceverify.report", "style.css"), ("faceverify.review", "web/review.css"))
    return "\n".join(files(package).joinpath(name).read_text(encoding="utf-8").strip() for package, name in parts)


def page(embedded: dict[str, Any] | None = None) -> str:
    """The HTML page: served (style and script by reference), or with all data embedded.

    Args:
        embedded: JSON-like; what the page would ask a server for.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("faceverify.review", "web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    if embedded is None:
        return environment.get_template("page.html.j2").render(embedded=None, version=_hash(script() + style())[:8])
    return environment.get_template("page.html.j2").render(
        embedded=Markup(_as_data(embedded)),  # no character of it can end the element
        script=Markup(script()),
        style=Markup(style()),
        script_hash=_hash(script()),
        style_hash=_hash(style()),
    )


def _as_data(value: dict[str, Any]) -> str:
    """JSON for a <script type="application/json">: `<` as an escape, so that nothing in it looks like a tag."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _hash(text: str) -> str:
    """SHA-256 as a Content-Security-Policy has it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
