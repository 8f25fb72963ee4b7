"""The published networks by name: detectors, recognisers, generators of fakes; where their files come from, and under
which licence.

A name is chosen by the user; a file on disk is recognised by its SHA-256 alone, never by its name.
"""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from faceverify.errors import UserError
from faceverify.models import detectors, generators
from faceverify.models.published import Published

if TYPE_CHECKING:
    from faceverify.models.card import ModelCard

DEFAULT_RECOGNISER = "sface"
LIST = "`faceverify models list` shows them all"


def get(name: str) -> Published:
    """Return the entry of that name.

    Raises:
        UserError: if there is none.
    """
    if name not in entries():
        raise UserError(f"There is no published model '{name}'; {LIST}.")
    return entries()[name]


def known(sha256: str) -> "ModelCard | None":
    """Return the card of the recogniser's file with this SHA-256, None if the file is unknown."""
    return next((e.card for e in entries().values() if e.card is not None and e.card.sha256 == sha256), None)


def is_published(sha256: str) -> bool:
    """Whether a file with this SHA-256 is one of the published ones."""
    files = (file for entry in entries().values() for file in entry.files)
    return any(sha256 in (file.sha256, *file.others) for file in files)


def method_of(sha256: str) -> str:
    """The `align.method` that the detector's file with this SHA-256 belongs to; empty if the file is unknown."""
    found = (e.method for e in entries().values() if any(sha256 == file.sha256 for file in e.files))
    return next(filter(None, found), "")


def default_detector(method: str) -> str:
    """The name that `align.weights ""` stands for; empty if the method reads no weights."""
    return detectors.DEFAULTS.get(method, "")


@cache
def entries() -> Mapping[str, Published]:
    """All published networks by name, in the order in which they are listed: detectors, recognisers, generators."""
    from faceverify.models.recognisers import recognisers  # loads pydantic

    return {entry.name: entry for entry in (*detectors.DETECTORS, *recognisers(), *generators.generators())}
