"""The reviewer's decisions: in memory while the page is open, in the decisions file before a save is confirmed."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from faceverify.cleaning.decisions_file import (
    REVIEWER_DECISIONS,
    ReviewDecision,
    is_text,
    read_decisions,
    write_decisions,
)
from faceverify.errors import PlatformError, UserError
from faceverify.reading import shown
from faceverify.redaction import first_line
from faceverify.storage import FileEntry, Location

MAX_NAME = 1000  # characters of a person's name


@dataclass(frozen=True, slots=True)
class DecisionChange:
    """The reviewer's decision about one photo (None withdraws it); a move to the person it is filed under keeps it.

    Raises:
        UserError: no such decision, a move without a person, or a text that no file can hold.
    """

    photo: str
    person: str
    decision: str | None
    to: str | None
    version: str | None = None  # of the photo that was shown (faceverify.provenance)

    def __post_init__(self) -> None:
        if not is_text(self.photo) or not is_text(self.person) or not (self.to is None or is_text(self.to)):
            raise UserError(f"decision: {shown(self.to)} is not text that UTF-8 can hold; type it again.")
        if self.to is not None and len(self.to) > MAX_NAME:
            raise UserError(
                f"decision: {shown(self.to)} has {len(self.to):,} characters; a name has {MAX_NAME} at most."
            )
        if self.decision not in (None, *REVIEWER_DECISIONS):
            raise UserError(f"decision: {shown(self.decision)} is none of {', '.join(REVIEWER_DECISIONS)}.")
        if self.decision == "moved" and not (self.to or "").strip():
            raise UserError(f"decision: '{self.photo}' is moved, but to no person; name one.")
        if self.decision == "moved" and self.to == self.person:
            object.__setattr__(self, "decision", "kept")
        if self.decision != "moved":
            object.__setattr__(self, "to", None)


class Ledger:
    """The one writer of a decisions file; of decisions about one photo, from however many pages, the last counts.

    Args:
        file: where the decisions lie, or will lie.
        reviewer: who decides.
        table: digest of the clean run.

    Raises:
        UserError: the file is damaged, or belongs to another run or another reviewer.
    """

    def __init__(self, file: Location, reviewer: str, table: str) -> None:
        if not is_text(reviewer):
            raise UserError(f"reviewer: {shown(reviewer)} is not UTF-8; give --reviewer a name that a file can hold.")
        self.file, self.reviewer, self._table = file, reviewer, table
        self._seen = _state(file)
        self._decided = {d.photo: d for d in (read_decisions([file]) if file.exists() else [])}
        _check_owner(file, next(iter(self._decided.values()), None), reviewer, table)
        self._changes = self._saved = 0
        self._in_file = len(self._decided)
        self._memory = threading.Lock()
        self._writing = threading.Lock()

    def __len__(self) -> int:
        return len(self._decided)

    @property
    def in_file(self) -> int:
        """How many decisions the file holds; more are in memory only if it could not be written."""
        return self._in_file

    @property
    def unsaved(self) -> bool:
        """Whether a decision is not in the file yet."""
        return self._saved < self._changes

    def get(self, photo: str) -> ReviewDecision | None:
        """The decision about a photo; None if there is none."""
        return self._decided.get(photo)

    def moved_to(self) -> set[str]:
        """All persons to whom photos were moved."""
        with self._memory:
            return {d.to for d in self._decided.values() if d.to}

    def decided(self, photos: Sequence[str]) -> int:
        """How many of `photos` are decided."""
        return sum(photo in self._decided for photo in photos)

    def decide(self, changes: Sequence[DecisionChange]) -> None:
        """Note decisions in memory; `save` makes them last."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._memory:
            self._changes += 1
            for change in changes:
                self._decided.pop(change.photo, None)  # the file is in the order of the decisions
                if change.decision is not None:
                    self._decided[change.photo] = ReviewDecision(
                        change.photo,
                        change.person,
                        change.decision,
                        change.to,
                        now,
                        self.reviewer,
                        self._table,
                        change.version,
                    )

    def save(self) -> None:
        """Return when everything decided before the call is in the file.

        Calls that wait for a slow storage share the next write.

        Raises:
            PlatformError: the file cannot be written, or another program has changed it.
        """
        with self._memory:
            wanted = self._changes
        with self._writing:
            if self._saved >= wanted:
                return
            with self._memory:
                changes, decisions = self._changes, list(self._decided.values())
            self._write(decisions)
            self._saved = changes

    def _write(self, decisions: list[ReviewDecision]) -> None:
        try:
            if _state(self.file) != self._seen:
                raise PlatformError(
                    f"'{self.file}' was changed by another program; keep a copy of it, and start review again."
                )
            write_decisions(self.file, self.reviewer, self._table, decisions)
            self._seen, self._in_file = _state(self.file), len(decisions)
        except OSError as error:
            raise PlatformError(f"cannot save to '{self.file}' ({first_line(error)}).") from None


def _state(file: Location) -> FileEntry | None:
    return file.stat() if file.exists() else None


def _check_owner(file: Location, one: ReviewDecision | None, reviewer: str, table: str) -> None:
    """All decisions of a file have the same reviewer and table."""
    if one is None:
        return
    if one.table != table:
        raise UserError(
            f"decisions: '{file}' belongs to another clean run (its digest is {one.table[:12]}, this one's "
            f"{table[:12]}); give --decisions another file."
        )
    if one.reviewer != reviewer:
        raise UserError(
            f"decisions: '{file}' holds the decisions of '{one.reviewer}'; give --reviewer '{one.reviewer}' to go on "
            "with them, or --decisions another file."
        )
