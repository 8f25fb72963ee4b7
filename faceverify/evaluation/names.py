"""Numbers for names that come in a stream."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_NEVER = np.iinfo(np.int64).max


class Names:
    """Gives each name a code, in the order in which they are met; a table is given piece by piece.

    Args:
        places: columns in which names stand, for `order`.
    """

    def __init__(self, places: int = 1) -> None:
        self._known = pa.array([], pa.large_string())
        self._first = np.zeros((places, 0), np.int64)  # the row in which a name stood first, per column
        self._rows = 0

    def __len__(self) -> int:
        return len(self._known)

    def texts(self) -> list[str]:
        """All names, by code."""
        return self._known.to_pylist()

    def codes(self, *columns: pa.ChunkedArray) -> list[np.ndarray]:
        """int32 codes of further rows, a column of names for each place; -1 for null."""
        names = pa.chunked_array(
            [c for column in columns for c in column.cast(pa.large_string()).chunks], pa.large_string()
        )
        codes = pc.index_in(names, self._known).combine_chunks()
        if codes.null_count > names.null_count:
            unknown = pc.unique(names.filter(pc.and_(codes.is_null(), names.is_valid())))
            self._known = pa.concat_arrays([self._known, unknown])
            more = np.full((len(self._first), len(unknown)), _NEVER)
            self._first = np.concatenate([self._first, more], axis=1)
            codes = pc.index_in(names, self._known).combine_chunks()
        flat = codes.fill_null(-1).to_numpy().astype(np.int32)
        split = np.split(flat, np.cumsum([len(column) for column in columns])[:-1])
        for first, column in zip(self._first, split, strict=True):
            self._note(first, column)
        self._rows += len(split[0])
        return split

    def _note(self, first: np.ndarray, column: np.ndarray) -> None:
        """Remember the row in which a name stands in this column for the first time."""
        rows = np.flatnonzero((column >= 0) & (first[column] == _NEVER)) if len(first) else np.zeros(0, np.int64)
        fresh, at = np.unique(column[rows], return_index=True)
        first[fresh] = self._rows + rows[at]

    def order(self) -> np.ndarray:
        """Of each code the place of its name if all rows of the first column were read before those of the next."""
        column = np.argmax(self._first != _NEVER, axis=0)
        row = np.take_along_axis(self._first, column[None], axis=0)[0]
        order = np.empty(len(self), np.int64)
        order[np.lexsort((row, column))] = np.arange(len(self))
        return order
