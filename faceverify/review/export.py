"""The review page as one file with everything in it, to be mailed."""

import base64
from typing import Any

from faceverify.images import ImageLimits
from faceverify.review import assets
from faceverify.review.desk import PICTURES, overview_row
from faceverify.review.people import PersonSearch
from faceverify.review.pictures import Thumbnails
from faceverify.review.table import ReviewTable, open_review
from faceverify.review.view import Row, case_view
from faceverify.storage import Location

MAX_NAMES = 50_000  # names offered while the reviewer types; about 1 MB
SIDE = PICTURES["small"][1]


def export(out: Location, file: Location, limits: ImageLimits, max_cases: int) -> str:
    """Write the hardest cases of the clean run in `out` to one HTML file; returns what was done, in a sentence.

    Raises:
        UserError: no clean run, or nothing to review.
    """
    table = open_review(out)
    album = _Album(Thumbnails(limits))
    count = min(len(table.cases), max_cases)
    data = {
        "about": _about(table, count),
        "people": _names(table, count),
        "cases": [_embedded(table, number, album) for number in range(count)],
        "pictures": album.addresses,
    }
    text = assets.page(data)
    file.write_bytes(text.encode())
    which = f"all {count:,} cases"
    if count < len(table.cases):
        which = f"the {count:,} hardest of {len(table.cases):,} cases (--html-cases sets how many)"
    return f"{file}: {len(text) / 1e6:.1f} MB with {which}"


class _Album:
    """Each picture once, however often the page shows it; an address is its number."""

    def __init__(self, pictures: Thumbnails) -> None:
        self._pictures = pictures
        self._numbers: dict[str, int] = {}
        self.addresses: list[str] = []

    def number(self, uri: str) -> str:
        if uri not in self._numbers:
            picture = self._pictures.get(uri, SIDE)  # one size: the file is to be mailed
            self._numbers[uri] = len(self.addresses)
            self.addresses.append(f"data:{picture.media_type};base64,{base64.b64encode(picture.data).decode()}")
        return str(self._numbers[uri])


def _embedded(table: ReviewTable, number: int, album: _Album) -> dict[str, Any]:
    """A case and its line in the list."""
    row = table.cases.read(number)

    def link(slot: int, which: str) -> str:
        return album.number(row[PICTURES[which][0]][slot])

    return {"row": overview_row(number, row, link), "view": case_view(row, table.threshold, link)}


def _about(table: ReviewTable, count: int) -> dict[str, Any]:
    return {
        "table": table.out.uri,
        "digest": table.digest,
        "threshold": table.threshold,
        "cases_of_table": len(table.cases),
        "cases": count,
    }


def _names(table: ReviewTable, count: int) -> list[str]:
    """All persons, or of too many those that the cases in the file speak of."""
    rows: list[Row] = [table.cases.read(number) for number in range(count)]
    near = {name for row in rows for name in (row["person"], *row["suggested_person"]) if name}
    everybody = PersonSearch(table.out, near).names()
    return everybody if len(everybody) <= MAX_NAMES else sorted(near)
