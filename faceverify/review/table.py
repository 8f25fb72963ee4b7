"""The output of `clean`, opened for review."""

from dataclasses import dataclass
from typing import Any

from faceverify import tables
from faceverify.errors import UserError
from faceverify.inputs import open_table, run_manifest
from faceverify.review.cases import Cases
from faceverify.storage import Location, check_readable


@dataclass(frozen=True)
class ReviewTable:
    """A finished clean run.

    Args:
        out: its folder.
        manifest: its manifest.
        cases: what is to be looked at.
    """

    out: Location
    manifest: dict[str, Any]
    cases: Cases

    @property
    def digest(self) -> str:
        """Identifies the run in decisions files."""
        return self.manifest["digest"]

    @property
    def threshold(self) -> float:
        """Cosine from which on two photos are joined by an edge."""
        return float(self.manifest["threshold"])


def open_review(out: Location) -> ReviewTable:
    """Check that `out` is a finished clean run with something to review, and open it.

    Raises:
        UserError: it is none, or there is nothing to review.
    """
    check_readable(out, "table")
    files = open_table(out, "cases", tables.CASES, "table", optional=True)
    manifest = run_manifest(out)
    if manifest is None or not {"digest", "threshold"} <= manifest.keys():
        raise UserError(f"table: '{out}' is not the output of clean (its manifest.json is missing or another job's).")
    cases = Cases(files)
    if not len(cases):
        raise UserError(f"table: '{out}' has nothing to review: cleaning flagged no one.")
    return ReviewTable(out, manifest, cases)
