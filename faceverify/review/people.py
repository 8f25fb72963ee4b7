"""The names that a photo can be moved to, and the search among them while the reviewer types."""

import functools
import threading
from collections.abc import Iterable

import pyarrow.compute as pc

from faceverify.inputs import stream_table, table_files
from faceverify.storage import Location


class PersonSearch:
    """Search among all persons of a clean run and those that the reviewer adds; the table is read at the first search.

    Args:
        out: the run's output folder.
        more: further names: of the cases, and those of earlier decisions.
    """

    def __init__(self, out: Location, more: Iterable[str]) -> None:
        self._out, self._more = out, set(more)
        self._lock = threading.Lock()

    @functools.cached_property
    def _known(self) -> dict[str, str]:
        """Name -> what is searched in, sorted by name."""
        names = set(self._more)
        for piece in stream_table(table_files(self._out, "photos"), ["person"]):
            names.update(pc.unique(piece["person"]).drop_null().to_pylist())
        return {name: name.casefold() for name in sorted(names)}

    def names(self) -> list[str]:
        """All names, sorted."""
        with self._lock:
            return list(self._known)

    def add(self, name: str) -> None:
        """Make a name known."""
        with self._lock:
            self._more.add(name)
            if "_known" in self.__dict__:
                self._known.setdefault(name, name.casefold())

    def search(self, text: str, limit: int = 8) -> list[str]:
        """Names that hold `text` in any case: those equal to it first, then those that begin with it, then the rest."""
        wanted = text.casefold().strip()
        with self._lock:
            found = [(key != wanted, not key.startswith(wanted), n) for n, key in self._known.items() if wanted in key]
        return [name for _, _, name in sorted(found)[:limit]]
