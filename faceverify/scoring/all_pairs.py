"""Every photo with every other one: the photos of one set, or of two, as tiles that are compared one at a time.

A tile is a block of photos against another one. Its similarities are one matrix product; only the pairs that are alike
enough become rows, so the rows that come out may be few however many pairs are compared.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from faceverify.scoring.similarity import Take

SIDE = 4096  # photos of a block: a tile of 512 numbers each takes a core about a quarter of a second
ROWS = 512  # of a tile multiplied at a time: 8 MB of similarities
ALL_PAIRS_SIDE = 256  # where all pairs become rows: 65,536 of them in a tile
SLACK = 1e-5  # of the matrix product against the similarity of a pair by itself


@dataclass(frozen=True)
class Tiles:
    """The blocks of photos that are compared with each other.

    first: photos of the first set, which are numbered from 0; second: photos of the second set, numbered from there on,
    0 if the first set is compared with itself; side: photos of a block.
    """

    first: int
    second: int
    side: int

    @property
    def pairs(self) -> int:
        """How many pairs there are: each pair once, and no photo with itself."""
        return self.first * self.second if self.second else self.first * (self.first - 1) // 2

    def __len__(self) -> int:
        rows, columns = self._blocks
        return rows * columns if self.second else rows * (rows + 1) // 2

    @property
    def _blocks(self) -> tuple[int, int]:
        return -(-self.first // self.side), -(-(self.second or self.first) // self.side)

    def at(self, tile: int) -> tuple[range, range]:
        """The photos of a tile: numbers of one block, and of the other one."""
        rows, columns = self._blocks
        if self.second:
            row, column = divmod(tile, columns)
            start, stop = self.first, self.first + self.second
        else:  # the upper triangle of blocks, row by row
            row = int(rows + 0.5 - np.sqrt((rows + 0.5) ** 2 - 2 * tile) + 1e-9)
            column = tile - row * rows + row * (row + 1) // 2
            start, stop = 0, self.first
        one = range(row * self.side, min((row + 1) * self.side, self.first))
        return one, range(start + column * self.side, min(start + (column + 1) * self.side, stop))

    def pairs_of(self, tile: int) -> int:
        """How many pairs a tile has."""
        one, other = self.at(tile)
        return len(one) * (len(one) - 1) // 2 if one == other else len(one) * len(other)


def alike(
    one: np.ndarray, other: np.ndarray, numbers: tuple[range, range], least: float | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Numbers of the photos of the pairs in a tile that are alike enough, in order, some at a time.

    Args:
        one, other: unit vectors [N,D] and [M,D] float32 of the photos of both blocks.
        numbers: their numbers; where both blocks have the same photos each pair is given once.
        least: the similarity that a pair must have, with some slack for rounding; None = all pairs.

    Returns:
        Pieces (a, b), int64, a < b.
    """
    a, b = (np.arange(block.start, block.stop) for block in numbers)
    for start in range(0, len(one), ROWS):
        rows = slice(start, start + ROWS)
        once = a[rows, None] < b
        found = np.nonzero(once if least is None else once & (one[rows] @ other.T >= least - SLACK))
        yield a[rows][found[0]], b[found[1]]


def rows_of(one: np.ndarray, other: np.ndarray, numbers: tuple[range, range]) -> Take:
    """A `take` for the photos of two blocks; arguments as of `alike`."""

    def take(wanted: np.ndarray) -> np.ndarray:
        out = np.empty((len(wanted), one.shape[1]), one.dtype)
        first = (wanted >= numbers[0].start) & (wanted < numbers[0].stop)
        out[first] = one[wanted[first] - numbers[0].start]
        out[~first] = other[wanted[~first] - numbers[1].start]
        return out

    return take
