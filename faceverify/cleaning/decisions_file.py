"""The file in which a reviewer's decisions lie: written by the review page, read by `clean --decisions`.

    {"format": "faceverify-decisions-1", "reviewer": "anna", "table": "<digest of the clean run>",
     "saved": "<ISO time>",
     "decisions": [{"photo": "p/1.jpg", "person": "p", "decision": "moved", "to": "q", "at": "<ISO time>"}, ...]}

A file holds each photo once and is replaced whole at each save. Several reviewers write several files; files that say
different things of one photo are refused, because nobody can tell who is right.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from faceverify.errors import BadData, UserError
from faceverify.inputs import stream_table
from faceverify.provenance import versions_now
from faceverify.reading import MalformedError, parse_json, shown
from faceverify.storage import Location

FORMAT = "faceverify-decisions-1"
REVIEWER_DECISIONS = ("kept", "moved", "dropped")
MAX_DECISIONS = 1 << 28  # bytes of a file: about a million decisions
_TEXTS = ("photo", "person", "decision", "at")


@dataclass(frozen=True)
class ReviewDecision:
    """What a reviewer decided of one photo.

    Args:
        photo: key of the photos table.
        person: the folder in which the photo came; "" if it came in none.
        decision: "kept" (it stays), "moved" (it goes to `to`) or "dropped".
        to: the person to whom it goes, known or new; None unless moved.
        at: ISO 8601 time.
        reviewer: who decided.
        table: digest of the clean run that the reviewer saw.
        version: which bytes the photo had that was shown (`faceverify.provenance`); None if the file does not say.
    """

    photo: str
    person: str
    decision: str
    to: str | None
    at: str
    reviewer: str
    table: str
    version: str | None = None

    def outcome(self) -> tuple[str, str | None]:
        """What follows from it; two decisions with the same outcome do not contradict each other."""
        return self.decision, self.to


def read_decisions(locations: Sequence[Location]) -> list[ReviewDecision]:
    """The decisions of all files, ordered by photo; of equal ones the earliest.

    Args:
        locations: files, or folders of which every `.json` file is read (a clean run's `manifest.json` is left out).

    Raises:
        UserError: a file is missing, half-written, foreign, or holds a photo twice; two files contradict each other.
            All or nothing: a fault anywhere means that nothing is returned.
    """
    chosen: dict[str, tuple[ReviewDecision, Location]] = {}
    for file in [file for location in locations for file in _files(location)]:
        for decision in _read_file(file):
            other, place = chosen.get(decision.photo, (decision, file))
            if other.outcome() != decision.outcome():
                raise UserError(_contradiction(other, place, decision, file))
            if (decision.at, decision.reviewer) <= (other.at, other.reviewer):
                chosen[decision.photo] = (decision, file)
    return [decision for _, (decision, _) in sorted(chosen.items())]


def check_photos(decisions: Sequence[ReviewDecision], photos: list[Location]) -> None:
    """Check that the photos are those that the reviewers looked at.

    Args:
        decisions: as read.
        photos: files of the photos table.

    Raises:
        UserError: some have changed since; says how many, and names one.
    """
    seen = {one.photo: one.version for one in decisions if one.version is not None}
    changed = []
    for rows in stream_table(photos, ["photo", "uri"]) if seen else ():
        of_those = rows.filter(pc.is_in(rows["photo"], pa.array(list(seen), pa.string())))
        now = versions_now(of_those["uri"].to_pylist(), "stat", 0)
        named = zip(of_those["photo"].to_pylist(), now, strict=True)
        changed += [photo for photo, version in named if version != seen[photo]]
    if changed:
        raise UserError(
            f"decisions: {len(changed):,} of {len(seen):,} decided photos are not those that were looked at, "
            f"'{changed[0]}' first (it changed since, or is in another folder); nothing was applied: review them again."
        )


def write_decisions(location: Location, reviewer: str, table_digest: str, decisions: Iterable[ReviewDecision]) -> None:
    """Replace the file as a whole; it appears complete or not at all.

    Args:
        location: the file.
        reviewer: who decides; stands once in the file, whatever the decisions say.
        table_digest: `digest` of the clean run's manifest.
        decisions: at most one per photo.

    Raises:
        ValueError: a photo stands there twice, or a decision cannot be read back (a defect of the caller).
    """
    content = {
        "format": FORMAT,
        "reviewer": reviewer,
        "table": table_digest,
        "saved": datetime.now(UTC).isoformat(timespec="seconds"),
        "decisions": [_entry(decision) for decision in decisions],
    }
    try:
        _parse(content)
    except _FaultError as fault:
        raise ValueError(str(fault)) from None
    location.write_bytes((json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def is_text(value: Any) -> bool:
    """Whether a value is a text that a file can hold: JSON and Python know halves of characters, UTF-8 does not."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


class _FaultError(Exception):
    """What is wrong with a file's content, without the file's name."""


def _entry(decision: ReviewDecision) -> dict[str, Any]:
    fields = asdict(decision)
    return {name: fields[name] for name in ("photo", "person", "decision", "to", "at", "version")}


def _files(location: Location) -> list[Location]:
    if location.is_dir():
        names = [entry.path for entry in location.files(recursive=False) if entry.path.endswith(".json")]
        found = [location / name for name in names if name != "manifest.json" and not name.startswith(".")]
        if not found:
            raise UserError(f"decisions: the folder '{location}' holds no .json file; name the reviewers' files.")
        return found
    if not location.is_file():
        raise UserError(f"decisions: there is no file '{location}'; check the path.")
    return [location]


def _read_file(file: Location) -> list[ReviewDecision]:
    try:
        content = parse_json(file.read_bytes(MAX_DECISIONS))
    except (MalformedError, BadData) as error:
        raise UserError(
            f"decisions: '{file}' is not complete JSON ({error}); it may have been copied half-written: save it again."
        ) from None
    try:
        return _parse(content)
    except _FaultError as fault:
        raise UserError(f"decisions: '{file}': {fault}; nothing of it was applied.") from None


def _parse(content: Any) -> list[ReviewDecision]:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise _FaultError(f'this is no decisions file (its "format" is {shown(found)}, not "{FORMAT}")')
    for name in ("reviewer", "table"):
        if not is_text(content.get(name)):
            raise _FaultError(f'its "{name}" is {shown(content.get(name))}, not a text')
    if not content["reviewer"].strip():
        raise _FaultError('its "reviewer" is empty; write who decided')
    entries = content.get("decisions")
    if not isinstance(entries, list):
        raise _FaultError('it has no list "decisions"')
    decisions = [_one(entry, number, content["reviewer"], content["table"]) for number, entry in enumerate(entries)]
    seen: set[str] = set()
    for decision in decisions:
        if decision.photo in seen:
            raise _FaultError(f"the photo '{decision.photo}' stands in it twice; keep one of the two entries")
        seen.add(decision.photo)
    return decisions


def _one(entry: Any, number: int, reviewer: str, table: str) -> ReviewDecision:
    if not isinstance(entry, dict):
        raise _FaultError(f"decision {number} is {type(entry).__name__}, not an object")
    for name in _TEXTS:
        if not is_text(entry.get(name)):
            raise _FaultError(
                f'decision {number} (photo {shown(entry.get("photo"))}) has the "{name}" {shown(entry.get(name))}'
            )
    photo, decision, to = entry["photo"], entry["decision"], entry.get("to")
    if decision not in REVIEWER_DECISIONS:
        raise _FaultError(f"the photo {shown(photo)} is {shown(decision)}; write {', '.join(REVIEWER_DECISIONS)}")
    if decision == "moved" and not (is_text(to) and str(to).strip()):
        raise _FaultError(f"""the photo '{photo}' is moved, but "to" is {shown(to)}; write to whom""")
    if decision != "moved" and to is not None:
        raise _FaultError(f"""the photo '{photo}' is {decision}, but "to" is {shown(to)}; write null""")
    version = entry.get("version")
    if not isinstance(version, str | None):
        raise _FaultError(f"""the photo '{photo}' has the "version" {shown(version)}; leave it out""")
    return ReviewDecision(photo, entry["person"], decision, to, entry["at"], reviewer, table, version)


def _contradiction(one: ReviewDecision, one_file: Location, other: ReviewDecision, other_file: Location) -> str:
    def said(decision: ReviewDecision, file: Location) -> str:
        goal = f" to '{decision.to}'" if decision.to else ""
        return f"{decision.decision}{goal} by {decision.reviewer} in '{file}'"

    return (
        f"decisions: the photo '{one.photo}' is {said(one, one_file)}, and {said(other, other_file)}; "
        "take one of the two entries out. Nothing was applied."
    )
