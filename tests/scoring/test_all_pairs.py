"""The tiles hold every pair once, and what is alike in them is what a plain loop finds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from faceverify.scoring.all_pairs import Tiles, alike, rows_of
from faceverify.vectors import unit

SIZES = st.integers(1, 40)


def all_of(tiles: Tiles, units: np.ndarray, least: float | None) -> list[tuple[int, int]]:
    found = []
    for tile in range(len(tiles)):
        numbers = tiles.at(tile)
        one, other = (units[block.start : block.stop] for block in numbers)
        pieces = list(alike(one, other, numbers, least))
        for a, b in pieces:
            found += zip(a.tolist(), b.tolist(), strict=True)
            np.testing.assert_array_equal(rows_of(one, other, numbers)(a), units[a])
            np.testing.assert_array_equal(rows_of(one, other, numbers)(b), units[b])
        if least is None:
            assert sum(len(a) for a, _ in pieces) == tiles.pairs_of(tile)
    return found


@given(first=SIZES, second=st.integers(0, 40), side=st.integers(1, 17))
def test_every_pair_comes_once(first: int, second: int, side: int) -> None:
    tiles = Tiles(first, second, side)
    units = unit(np.random.default_rng(0).normal(size=(first + second, 8)).astype(np.float32))
    within = [(a, b) for a in range(first) for b in range(a + 1, first)]
    between = [(a, b) for a in range(first) for b in range(first, first + second)]
    assert sorted(all_of(tiles, units, None)) == (between if second else within)
    assert tiles.pairs == len(between if second else within)
    assert sum(map(tiles.pairs_of, range(len(tiles)))) == tiles.pairs


@given(first=SIZES, second=st.integers(0, 40), seed=st.integers(0, 5))
def test_what_is_alike_is_found(first: int, second: int, seed: int) -> None:
    units = unit(np.random.default_rng(seed).normal(size=(first + second, 4)).astype(np.float32))
    found = all_of(Tiles(first, second, 7), units, 0.5)
    whole = {(a, b) for a, b in all_of(Tiles(first, second, 64), units, None) if units[a] @ units[b] >= 0.5}
    assert whole <= set(found) and len(found) == len(set(found))
    assert all(units[a] @ units[b] >= 0.5 - 1e-4 for a, b in found)


def test_the_tiles_of_many_photos_are_in_order() -> None:
    tiles = Tiles(1_000_000, 0, 4096)
    blocks = -(-1_000_000 // 4096)
    wanted = [(row, column) for row in range(blocks) for column in range(row, blocks)]
    assert [(one.start // 4096, other.start // 4096) for one, other in map(tiles.at, range(len(tiles)))] == wanted
