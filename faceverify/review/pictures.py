"""Thumbnails of photos, made when they are looked at; a photo that cannot be read becomes a picture that says why."""

import functools
import textwrap
from typing import NamedTuple

from markupsafe import Markup

from faceverify.errors import BadData
from faceverify.images import ImageLimits, decode
from faceverify.report import svg
from faceverify.report.thumbnails import thumbnail
from faceverify.storage import Location

KEPT_IN_MEMORY = 1024  # about 8 kB each, 40 kB for large ones


class Thumbnail(NamedTuple):
    """An encoded picture; `failed` if it stands for a photo that could not be read."""

    media_type: str
    data: bytes
    failed: bool = False


class Thumbnails:
    """Makes thumbnails and remembers the last ones.

    Args:
        limits: what a photo may be at most; checked before it is unpacked.
    """

    def __init__(self, limits: ImageLimits) -> None:
        self._limits = limits
        self._made = functools.lru_cache(KEPT_IN_MEMORY)(self._make)

    def get(self, uri: str, side: int) -> Thumbnail:
        """The photo at `uri`, its longer side at most `side` pixels: a JPEG, or an SVG with the reason for its lack."""
        try:
            return self._made(uri, side)
        except BadData as error:  # not remembered: the storage may be back at the next look
            return Thumbnail("image/svg+xml", _placeholder(error), failed=True)

    def _make(self, uri: str, side: int) -> Thumbnail:
        data = Location(uri or "").read_bytes(self._limits.max_bytes)
        return Thumbnail("image/jpeg", thumbnail(decode(data, self._limits), side))


def _placeholder(error: BadData) -> bytes:
    """Grey square with the reason in words and the detail below."""
    readable = "".join(c if c.isprintable() else " " for c in error.detail)  # XML holds no control characters
    lines = textwrap.wrap(readable, 26)
    if len(lines) > 5:  # of a path the end says more, of a sentence the beginning
        lines = [*lines[:2], "…", *lines[-2:]]
    texts = [_line(62, error.reason.replace("_", " "), 15, "#5c646d")]
    texts += [_line(86 + 15 * row, line, 10, "#8b929a") for row, line in enumerate(lines)]
    ground = svg.element("rect", width=160, height=160, fill="#f2f0eb")
    picture = svg.element("svg", Markup("").join([ground, *texts]), viewBox="0 0 160 160", xmlns=_SVG)
    return picture.encode()


_SVG = "http://www.w3.org/2000/svg"


def _line(y: int, content: str, size: int, colour: str) -> Markup:
    family = "system-ui, sans-serif"
    return svg.element(
        "text", content, x=80, y=y, fill=colour, font_family=family, font_size=size, text_anchor="middle"
    )
