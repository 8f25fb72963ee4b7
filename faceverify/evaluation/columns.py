"""Long columns of numbers: in memory while they are short, in temporary files beyond; and sorting float32 in them."""

import mmap
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path

import numpy as np

from faceverify.errors import PlatformError
from faceverify.redaction import first_line

CHUNK = 1 << 22  # rows worked on at a time, and rows kept in memory
PIECE = 1 << 25  # scores sorted at a time


class Columns:
    """Columns of one length that grow at their end; use it as a context manager.

    Up to CHUNK rows stay in memory. More go to temporary files (in TMPDIR) that vanish with the process.

    Args:
        types: of each column, by name.
    """

    def __init__(self, **types: type[np.generic]) -> None:
        self._types = {name: np.dtype(kind) for name, kind in types.items()}
        self._files = {
            name: tempfile.SpooledTemporaryFile(CHUNK * kind.itemsize)  # noqa: SIM115 (closed by __exit__)
            for name, kind in self._types.items()
        }
        self.rows = 0

    def __enter__(self) -> "Columns":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def append(self, **values: np.ndarray) -> None:
        """Add rows; all columns must be given, with equal lengths.

        Raises:
            PlatformError: no room in TMPDIR.
        """
        with _writing():
            for name, kind in self._types.items():
                self._files[name].write(np.ascontiguousarray(values[name], kind).tobytes())
        self.rows += len(next(iter(values.values())))

    def chunks(self, *names: str) -> Iterator[tuple[np.ndarray, ...]]:
        """The named columns from the first row to the last, CHUNK rows at a time; the arrays are read-only."""
        for start in range(0, self.rows, CHUNK):
            count = min(CHUNK, self.rows - start)
            yield tuple(self._read(name, start, count) for name in names)

    def _read(self, name: str, start: int, count: int) -> np.ndarray:
        file, kind = self._files[name], self._types[name]
        with _writing():  # what is still in a buffer
            file.seek(start * kind.itemsize)
        return np.frombuffer(file.read(count * kind.itemsize), kind)


@contextmanager
def _writing() -> Iterator[None]:
    """Around the writing of temporary files: says where there is no room."""
    try:
        yield
    except OSError as error:
        raise PlatformError(
            f"The temporary folder '{tempfile.gettempdir()}' cannot hold the scores ({first_line(error)}): make room, "
            "some 25 bytes per pair, or set TMPDIR to a folder on a larger disk."
        ) from None


def keys(scores: np.ndarray) -> np.ndarray:
    """uint32 numbers that stand in the order of float32 `scores`, none of which is NaN or -0.0."""
    bits = np.ascontiguousarray(scores, np.float32).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))


def values_of(ordered: np.ndarray) -> np.ndarray:
    """The float32 scores of `keys`."""
    ordered = ordered.astype(np.uint32)
    return np.where(ordered >> 31, ordered & np.uint32((1 << 31) - 1), ~ordered).view(np.float32)


def sort_sets(
    chunks: Callable[[], Iterator[tuple[np.ndarray, ...]]], sets: Sequence[np.ndarray], rows: int, folder: Path
) -> list[np.ndarray]:
    """Sort the scores of several sets of groups, with memory for PIECE scores at a time.

    The scores are gone through once for each piece: those of one range, which is chosen by a histogram of the upper 16
    bits of their keys. A single bin of it with more scores than a piece is counted by its lower 16 bits instead.

    Args:
        chunks: gives (float32 scores, group of each) from the start.
        sets: of each wanted array, which groups are in it: bool [groups].
        rows: number of all scores.
        folder: where the arrays lie if they are more than CHUNK.

    Returns:
        For each set its scores, ascending float32: in memory, or in a file of `folder` that is mapped.

    Raises:
        PlatformError: no room in `folder`.
    """
    outs = [_Growing(folder / f"{number}.f4" if rows > CHUNK else None) for number in range(len(sets))]
    with ThreadPoolExecutor(2) as pool:
        for low, high, count in _pieces(chunks, rows):
            if count > PIECE:
                _count_out(chunks, sets, low, outs)
                continue
            found = _of_piece(chunks, low, high, count)
            for out, ascending in zip(outs, pool.map(_sorted_set, repeat(found), sets), strict=True):
                out.append(ascending)
    return [out.array() for out in outs]


def _sorted_set(found: tuple[np.ndarray, np.ndarray], groups: np.ndarray) -> np.ndarray:
    scores, of = found
    ascending = scores[groups[of]]
    ascending.sort()
    return ascending


def release(arrays: Iterable[np.ndarray]) -> None:
    """Give the pages of mapped arrays back to the system; they are read again where they are needed."""
    for array in arrays:
        if isinstance(array.base, mmap.mmap):
            array.base.madvise(mmap.MADV_DONTNEED)


class _Growing:
    """An array of float32 that is written piece by piece, to a file if there is one."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._parts = path, []
        self._file = path.open("wb") if path else None

    def append(self, values: np.ndarray) -> None:
        if self._file:
            with _writing():
                values.tofile(self._file)
        else:
            self._parts.append(values)

    def array(self) -> np.ndarray:
        if not self._file or not self._path:
            return np.concatenate(self._parts) if self._parts else np.zeros(0, np.float32)
        with _writing():
            self._file.close()
        return np.memmap(self._path, np.float32, "r") if self._path.stat().st_size else np.zeros(0, np.float32)


def _pieces(chunks: Callable[[], Iterator[tuple[np.ndarray, ...]]], rows: int) -> Iterator[tuple[int, int, int]]:
    """Ranges [low, high) of the upper 16 bits, with how many scores each holds: one bin, or at most PIECE scores."""
    if rows <= PIECE:
        yield 0, 1 << 16, rows
        return
    counts = np.zeros(1 << 16, np.int64)
    for scores, _ in chunks():
        counts += np.bincount(keys(scores) >> 16, minlength=1 << 16)
    low, total = 0, 0
    for occupied in np.flatnonzero(counts).tolist():
        if not total:
            low = occupied
        elif total + counts[occupied] > PIECE:
            yield low, occupied, total
            low, total = occupied, 0
        total += int(counts[occupied])
    yield low, 1 << 16, total


def _of_piece(
    chunks: Callable[[], Iterator[tuple[np.ndarray, ...]]], low: int, high: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The `count` scores of one range of the upper 16 bits, and their groups."""
    scores, groups, filled = np.empty(count, np.float32), np.empty(count, np.int32), 0
    for some, of in chunks():
        upper = keys(some) >> 16
        inside = (upper >= low) & (upper < high)
        end = filled + np.count_nonzero(inside)
        scores[filled:end], groups[filled:end] = some[inside], of[inside]
        filled = end
    return scores, groups


def _count_out(
    chunks: Callable[[], Iterator[tuple[np.ndarray, ...]]], sets: Sequence[np.ndarray], upper: int, outs: list[_Growing]
) -> None:
    """Append the scores whose upper 16 bits are `upper`: how often each value occurs says it all."""
    counts = np.zeros((len(sets[0]), 1 << 16), np.int64)
    for scores, groups in chunks():
        ordered = keys(scores)
        inside = ordered >> 16 == upper
        cells = groups[inside].astype(np.int64) << 16 | (ordered[inside] & 0xFFFF)
        counts += np.bincount(cells, minlength=counts.size).reshape(counts.shape)
    values = values_of(np.arange(1 << 16, dtype=np.uint32) + np.uint32(upper << 16))
    for groups, out in zip(sets, outs, strict=True):
        repeats = counts[groups].sum(axis=0)
        for place in np.flatnonzero(repeats).tolist():
            for start in range(0, int(repeats[place]), CHUNK):
                out.append(np.full(min(CHUNK, int(repeats[place]) - start), values[place], np.float32))
