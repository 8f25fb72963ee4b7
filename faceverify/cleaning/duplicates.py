"""The same picture twice: exact duplicates (the same bytes), and near ones (more alike than two shots).

Two files of the same bytes have the same size and the same embedding, so files that agree in size and in the signs of
some coordinates are candidates, wherever they are; only their bytes are then read and hashed.
Shape letters: N photos, D numbers in an embedding.
"""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify.storage import Location, NotAFileError

SIGNS = 31  # coordinates whose sign is compared
NO_SIGNATURE = -1

DUPLICATES = pa.schema(
    [
        pa.field("photo", pa.string(), nullable=False),
        pa.field("duplicate_of", pa.string(), nullable=False),  # the first of the group, or the first of the two
        ("person", pa.string()),  # of photo, as it came
        ("other_person", pa.string()),  # of duplicate_of; another one means that one of the two labels is wrong
        pa.field("kind", pa.string(), nullable=False),  # exact | near
        ("similarity", pa.float32()),  # cosine; null where the two were not compared (exact, of two people)
    ]
)


def signatures(units: np.ndarray, bytes_size: pa.ChunkedArray) -> np.ndarray:
    """A number [N] int64 that files of the same bytes share; NO_SIGNATURE where size or embedding is unknown.

    Args:
        units: [N, D] float32; zero = no embedding.
        bytes_size: [N] of the files; null or 0 = unknown.
    """
    size = pc.fill_null(bytes_size, 0).to_numpy().astype(np.int64)
    signs = (units[:, :SIGNS] > 0).astype(np.int64) @ (1 << np.arange(min(SIGNS, units.shape[1]), dtype=np.int64))
    known = (size > 0) & units.any(axis=1)
    return np.where(known, (size % (1 << 31)) << SIGNS | signs, NO_SIGNATURE)


def repeated(columns: Iterable[np.ndarray]) -> np.ndarray:
    """The signatures that occur more than once, sorted [S] int64."""
    joined = np.concatenate([np.zeros(0, np.int64), *columns])
    found, count = np.unique(joined[joined != NO_SIGNATURE], return_counts=True)
    return found[count > 1]


def hash_file(uri: str | None) -> str | None:
    """SHA-256 of a file's bytes; None if it is no file or may not be read (it then counts as no duplicate)."""
    try:
        return Location(uri or "").sha256()
    except (FileNotFoundError, NotAFileError, PermissionError):
        return None


def group(hashed: pa.Table) -> pa.Table:
    """Select the hashed photos (photo, person, sha256) whose bytes occur more than once; by hash, person, photo."""
    counts = hashed.group_by("sha256").aggregate([("photo", "count")])
    several = counts.filter(pc.greater(counts["photo_count"], 1))["sha256"]
    chosen = hashed.filter(pc.is_in(hashed["sha256"], several.combine_chunks()))
    return chosen.sort_by([("sha256", "ascending"), ("person", "ascending"), ("photo", "ascending")]).combine_chunks()


class ExactGroups:
    """Exact duplicates of the whole run, looked up by photo."""

    def __init__(self, grouped: pa.Table) -> None:
        self._members: dict[str, list[tuple[str, str | None]]] = {}
        self._hash_of: dict[str, str] = {}
        for photo, person, sha256 in zip(*(grouped[n].to_pylist() for n in ("photo", "person", "sha256")), strict=True):
            self._members.setdefault(sha256, []).append((photo, person))
            self._hash_of[photo] = sha256

    def others(self, photo: str) -> list[tuple[str, str | None]]:
        """(photo, person) of the files with the same bytes, in order; empty if there is none."""
        sha256 = self._hash_of.get(photo)
        return [] if sha256 is None else [member for member in self._members[sha256] if member[0] != photo]

    def first(self, photo: str) -> tuple[str, str | None] | None:
        """The first of the group that `photo` is in, unless that is itself."""
        sha256 = self._hash_of.get(photo)
        first = self._members[sha256][0] if sha256 else (photo, None)
        return None if first[0] == photo else first

    def spares(self, photo: str, goes_to: str, going_on: set[str], person: str | None) -> str | None:
        """The photo of the same bytes that makes this one superfluous under `goes_to`; None if none does.

        Args:
            photo: key of a photo that goes on.
            goes_to: the person under whom it would.
            going_on: photos of `person` (those before this one) that go on under `goes_to`.
            person: the folder in which the photo came.

        Within a folder the first that goes on makes the others superfluous. A photo that moves is superfluous where
        its new person's folder holds the same bytes.
        """
        for other, owner in self.others(photo):
            if (owner == person and other in going_on) or (owner != person and owner == goes_to):
                return other
        return None
