"""A run of all rounds on planted people."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cleaning.planted import Options, People, clean_here, published

from faceverify.cleaning.decisions_file import ReviewDecision


@pytest.fixture
def people() -> People:
    """Nobody yet."""
    return People()


@dataclass(frozen=True)
class Cleaned:
    """What a run published, and its manifest."""

    tables: dict[str, list[dict[str, Any]]]
    facts: dict[str, Any]

    def of(self, photo: str) -> dict[str, Any]:
        """The decision on one photo."""
        return next(row for row in self.tables["decisions"] if row["photo"] == photo)


@pytest.fixture
def clean(tmp_path: Path) -> Callable[..., Cleaned]:
    """Cleans people: clean(people, decisions=[], name="out", **options)."""

    def one(
        people: People, decisions: list[ReviewDecision] | None = None, name: str = "out", **options: Any
    ) -> Cleaned:
        files = people.write(tmp_path / f"{name}.in")
        facts = clean_here(*files, tmp_path / name, Options(decisions=tuple(decisions or ()), **options))
        return Cleaned(published(tmp_path / name), facts)

    return one
