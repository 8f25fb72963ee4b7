"""One shard of a planned run: some people with all their photos, sorted by name of person, then of photo."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify.cleaning.plan import NUMBER, PHOTOS, VECTORS
from faceverify.parts import read_part
from faceverify.storage import Location


@dataclass(frozen=True)
class Shard:
    """N photos.

    photos: tables.PHOTOS and further columns, N rows; number: [N] int64, of the person; people: how many people there
    are in all (`number` is `people` where a photo has none); units: [N, D] float32, zero without an embedding.
    """

    photos: pa.Table
    number: np.ndarray
    people: int
    units: np.ndarray

    @cached_property
    def embedded(self) -> np.ndarray:
        """Which photos [N] have an embedding that points somewhere."""
        return np.asarray(self.units.any(axis=1))

    @cached_property
    def fake(self) -> np.ndarray:
        """Which photos [N] are fakes."""
        return pc.fill_null(self.photos["is_fake"], False).to_numpy()

    @cached_property
    def real(self) -> np.ndarray:
        """Rows of the photos that make up people: real, embedded, of somebody."""
        return np.flatnonzero(self.embedded & ~self.fake & (self.number < self.people))

    @cached_property
    def names(self) -> list[str]:
        """Keys of the photos."""
        return self.photos["photo"].to_pylist()


def read_shard(work: Location, shard: int, people: int, dim: int) -> Shard:
    """Read a shard that `plan.make_plan` wrote."""
    photos = _pieces(work / PHOTOS / f"{shard:08d}")
    assert photos is not None, f"shard {shard} has no photos"
    photos = photos.sort_by([(NUMBER, "ascending"), ("photo", "ascending")]).combine_chunks()
    vectors = _pieces(work / VECTORS / f"{shard:08d}")
    units = np.zeros((photos.num_rows, dim), np.float32)
    if vectors is not None:
        at = pc.index_in(photos["photo"], vectors["photo"].combine_chunks()).to_numpy(zero_copy_only=False)
        found = np.flatnonzero(~np.isnan(at.astype(np.float64)))
        units[found] = unit_vectors(vectors["embedding"])[at[found].astype(np.int64)]
    return Shard(photos.drop_columns([NUMBER]), photos[NUMBER].to_numpy(), people, units)


def unit_vectors(column: pa.ChunkedArray) -> np.ndarray:
    """Embeddings [N, D] float32 divided by their lengths; zero where one is not finite or of length zero."""
    joined = column.combine_chunks()
    joined = joined.chunk(0) if isinstance(joined, pa.ChunkedArray) else joined
    vectors = joined.flatten().to_numpy().reshape(len(joined), -1)
    length = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    points = np.isfinite(length) & (length > 0)
    scale = np.where(points, 1 / np.where(points, length, 1), 0)
    return np.where(points[:, None], vectors, 0) * scale[:, None].astype(np.float32)


def _pieces(folder: Location) -> pa.Table | None:
    """All rows of a folder of pieces; None if there is none."""
    files = [folder / entry.path for entry in folder.files(recursive=False) if entry.path.endswith(".parquet")]
    return pa.concat_tables([read_part(file) for file in files]) if files else None
