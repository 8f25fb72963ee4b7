"""Which embeddings of earlier runs can be taken, row by row: those made of the same photo, crop and model."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify.errors import UserError
from faceverify.inputs import read_schema, stream_table
from faceverify.provenance import Identifier, column_or_null, why_not, why_photo
from faceverify.storage import Location

# Why a row is not taken, apart from its photo; "" is none.
OTHER = ("", "of unknown origin", "other model", "other aligner", "other options of the aligner")


@dataclass(frozen=True)
class Wanted:
    """What an embedding must be made of to be taken (see `faceverify.provenance`)."""

    model: str
    dim: int
    crop: str
    photos: Identifier


class Reused:
    """The rows of existing embeddings tables that the pairs need, that point somewhere, and that fit.

    dim: of the embeddings, 0 if there are none; taken: how many photos get theirs; why_not: of the photos that have a
    row and do not. The embeddings are held in memory until the plan is written.

    Args:
        numbers: of the photos, by name.
        wanted: what a row must be made of; None takes every row.
    """

    def __init__(self, numbers: dict[str, int], wanted: Wanted | None) -> None:
        self.dim = self.taken = 0
        self.why_not: Counter[str] = Counter()
        self._numbers, self._wanted = numbers, wanted
        self._position = np.full(len(numbers), -1, np.int64)
        self._other = np.zeros(len(numbers), np.uint8)  # why a row of another model or aligner does not fit: OTHER
        self._held = 0
        self._vectors = np.empty((0, 0), np.float32)
        self._versions: list[str | None] = []
        self._crop = wanted.crop if wanted else None

    @property
    def given(self) -> np.ndarray:
        """Which photos have a row that fits, [N] bool."""
        return self._position >= 0

    def add(self, files: list[Location], prefix: str = "") -> None:
        """Look through one table, whose photos are known under their names with `prefix` before them.

        Raises:
            UserError: it names a photo twice.
        """
        dim = read_schema(files[0]).field("embedding").type.list_size
        self.dim = self._wanted.dim if self._wanted else dim
        if self._vectors.shape[1] != self.dim:  # room for all; the system gives only what is written to
            self._vectors = np.empty((len(self._numbers), self.dim), np.float32)
        named = np.zeros(len(self._numbers), bool)
        for table in stream_table(files, ["photo", "embedding", "model", "photo_version", "crop"]):
            found = np.array([self._numbers.get(prefix + name, -1) for name in table["photo"].to_pylist()], np.int64)
            here = np.flatnonzero(found >= 0)
            distinct = np.unique(found[here])
            if len(distinct) < len(here) or named[distinct].any():
                raise UserError("embeddings: the table names a photo twice; its key `photo` must be unique.")
            named[distinct] = True
            self._take(table.take(pa.array(here)), found[here], dim)

    def _take(self, rows: pa.Table, numbers: np.ndarray, dim: int) -> None:
        column = rows["embedding"].combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # of no rows
            return
        vectors = np.zeros((len(numbers), dim), np.float32)
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        vectors[valid] = column.drop_null().flatten().to_numpy().reshape(-1, dim)
        norms = np.linalg.norm(vectors, axis=1)
        use = np.isfinite(norms) & (norms > 0) & (self._position[numbers] < 0)
        if self._wanted is not None:
            use &= self._fitting(rows, numbers, dim)
        elif rows.num_rows:
            self._crop = column_or_null(rows, "crop")[0].as_py()  # of all rows: see `provenance.one_origin`
        if not use.any():
            return
        end = self._held + int(use.sum())
        self._vectors[self._held : end] = vectors[use]
        self._position[numbers[use]] = np.arange(self._held, end)
        self._versions += column_or_null(rows, "photo_version").filter(pa.array(use)).to_pylist()
        self._held = end

    def _fitting(self, rows: pa.Table, numbers: np.ndarray, dim: int) -> np.ndarray:
        """Which rows are of the wanted model and crop, and of a known photo; notes why the others are not."""
        assert self._wanted is not None
        want = {"photo_version": "any", "crop": self._wanted.crop, "model": self._wanted.model}
        columns = {name: column_or_null(rows, name) for name in want}
        kinds = pa.table({"model": columns["model"], "crop": columns["crop"]})
        known = columns["photo_version"].is_valid().to_numpy()
        reasons = np.full(len(numbers), OTHER.index("of unknown origin"), np.uint8)
        for kind in kinds.group_by(["model", "crop"]).aggregate([]).to_pylist():
            same = pc.and_(_equal(columns["model"], kind["model"]), _equal(columns["crop"], kind["crop"])).to_numpy()
            why = why_not({"photo_version": "any", **kind}, want)
            reasons[same & known] = OTHER.index(why)
        if dim != self._wanted.dim:
            reasons[reasons == 0] = OTHER.index("other model")
        self._other[numbers] = reasons
        return reasons == 0

    def columns(self, rows: pa.Table, start: int) -> dict[str, pa.Array]:
        """Embedding, photo_version and crop of the photos numbered from `start` on, whose rows of the photos table
        are `rows`; null where none is taken."""
        stop = start + rows.num_rows
        position = self._position[start:stop]
        versions: list[str | None] = [self._versions[at] if at >= 0 else None for at in position.tolist()]
        if self._wanted is not None:
            self.why_not.update(OTHER[code] for code in self._other[start:stop][position < 0].tolist() if code)
            position = self._still_so(rows, position, versions)
        none = position < 0
        self.taken += int(np.count_nonzero(~none))
        values = self._vectors[np.maximum(position, 0)]  # of those without one whatever lies there: the mask hides it
        return {
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), self.dim, mask=pa.array(none)),
            "photo_version": pa.array(versions, pa.string(), mask=none),
            "crop": pa.array([self._crop] * rows.num_rows, pa.string(), mask=none),
        }

    def _still_so(self, rows: pa.Table, position: np.ndarray, versions: list[str | None]) -> np.ndarray:
        """The positions without those of photos that are no longer what they were."""
        assert self._wanted is not None
        candidates = np.flatnonzero(position >= 0)
        now = self._wanted.photos.versions(rows.take(pa.array(candidates, pa.int64()))).to_pylist()
        kept = position.copy()
        for i, version in zip(candidates.tolist(), now, strict=True):
            if why := why_photo(versions[i], version):
                self.why_not[why] += 1
                kept[i] = -1
        return kept


def _equal(column: pa.ChunkedArray, value: str | None) -> pa.ChunkedArray:
    return column.is_null() if value is None else pc.fill_null(pc.equal(column, value), False)
