"""What the page asks for, without HTTP: cases, overview, search, decisions, pictures."""

from collections.abc import Sequence
from typing import Any

from faceverify.errors import UserError
from faceverify.provenance import versions_now
from faceverify.reading import shown
from faceverify.review.ledger import DecisionChange, Ledger
from faceverify.review.people import PersonSearch
from faceverify.review.pictures import Thumbnail, Thumbnails
from faceverify.review.table import ReviewTable
from faceverify.review.view import Link, Row, case_view

# Kind of picture -> the column of CASES that says where the photo is, and the longer side in pixels.
PICTURES = {"small": ("uri", 168), "large": ("uri", 448), "suggested": ("suggested_uri", 448)}
PICTURES_IN_A_ROW = 5


class UnknownCaseError(LookupError):
    """An address that names no case or no picture."""


class Desk:
    """Everything that one review needs.

    Args:
        table: the clean run.
        ledger: the decisions.
        pictures: makes thumbnails.
    """

    def __init__(self, table: ReviewTable, ledger: Ledger, pictures: Thumbnails) -> None:
        self.table, self.ledger, self.pictures = table, ledger, pictures
        cases = table.cases.summaries
        self.people = PersonSearch(table.out, {case.person for case in cases} | ledger.moved_to())
        self._photos = sum(len(case.to_decide) for case in cases)

    def about(self) -> dict[str, Any]:
        """What stands on every page."""
        return {
            "table": self.table.out.uri,
            "digest": self.table.digest,
            "threshold": self.table.threshold,
            "reviewer": self.ledger.reviewer,
            "file": self.ledger.file.uri,
            "progress": self.progress(),
        }

    def progress(self) -> dict[str, int]:
        """How many cases and photos there are, and how many are done."""
        decided = [self._decided(number) for number in range(len(self.table.cases))]
        done = sum(self._done(number) for number in range(len(decided)))
        return {"cases": len(decided), "cases_done": done, "photos": self._photos, "photos_decided": sum(decided)}

    def case(self, number: int) -> dict[str, Any]:
        """A case with its decisions, and the next one that is not done (None if there is none).

        Raises:
            UnknownCaseError: there is no such case.
        """
        row = self._read(number)
        decisions = [self.ledger.get(photo) for photo in row["photo"]]
        return {
            "number": number,
            **case_view(row, self.table.threshold, self._link(number)),
            "decided": [{"decision": d.decision, "to": d.to} if d else None for d in decisions],
            "next_open": self._next_open(number),
        }

    def rows(self, offset: int, limit: int, text: str = "", open_only: bool = False) -> dict[str, Any]:
        """A piece of the list of cases whose person's name holds `text`."""
        wanted = text.casefold()
        found = [
            number
            for number, case in enumerate(self.table.cases.summaries)
            if wanted in case.person.casefold() and not (open_only and self._done(number))
        ]
        return {"total": len(found), "rows": [self.row(number) for number in found[offset : offset + limit]]}

    def row(self, number: int) -> dict[str, Any]:
        """One line of the list of cases."""
        return {**overview_row(number, self._read(number), self._link(number)), "decided": self._decided(number)}

    def decide(self, entries: Sequence[Any]) -> dict[str, int]:
        """Note and save decisions `{"case", "slot", "decision", "to"}`; returns the progress.

        Raises:
            UserError: an entry makes no sense; then none is noted.
            PlatformError: they could not be saved.
        """
        changes = [self._change(entry) for entry in entries]
        self.ledger.decide(changes)
        for change in changes:
            if change.to:
                self.people.add(change.to)
        self.ledger.save()
        return self.progress()

    def picture(self, number: int, slot: int, which: str) -> Thumbnail:
        """The picture behind an address that `case` gave.

        Raises:
            UnknownCaseError: there is none.
        """
        column, side = PICTURES.get(which, ("photo", 0))
        uris = self._read(number)[column]
        if not side or not 0 <= slot < len(uris) or uris[slot] is None:
            raise UnknownCaseError(which)
        return self.pictures.get(uris[slot], side)

    def _change(self, entry: Any) -> DecisionChange:
        match entry:
            case {"case": int(number), "slot": int(slot), "decision": str() | None as decision}:
                row = self._read(number)
                to = entry.get("to")
                if 0 <= slot < len(row["photo"]) and isinstance(to, str | None):
                    version = versions_now([row["uri"][slot]], "stat", 0)[0]
                    return DecisionChange(row["photo"][slot], row["person"], decision, to, version)
        raise UserError(f"decision: {shown(entry)} names no photo of this table.")

    def _read(self, number: int) -> Row:
        if not 0 <= number < len(self.table.cases):
            raise UnknownCaseError(number)
        return self.table.cases.read(number)

    def _link(self, number: int) -> Link:
        # The digest keeps a browser from showing what another table had at this address.
        return lambda slot, which: f"/picture/{number}/{slot}/{which}?v={self.table.digest[:8]}"

    def _decided(self, number: int) -> int:
        return self.ledger.decided(self.table.cases.summaries[number].to_decide)

    def _done(self, number: int) -> bool:
        return self._decided(number) == len(self.table.cases.summaries[number].to_decide)

    def _next_open(self, number: int) -> int | None:
        total = len(self.table.cases)
        following = ((number + step) % total for step in range(1, total))
        return next((other for other in following if not self._done(other)), None)


def overview_row(number: int, row: Row, link: Link) -> dict[str, Any]:
    """A case in the list of cases: who, why, how many photos wait, some of them as pictures."""
    waiting = [slot for slot, waits in enumerate(row["open"]) if waits]
    return {
        "number": number,
        "person": row["person"],
        "headline": row["headline"] or "",
        "hardness": row["hardness"],
        "photos": row["photos_total"],
        "to_decide": len(waiting),
        "pictures": [link(slot, "small") for slot in waiting[:PICTURES_IN_A_ROW]],
    }
