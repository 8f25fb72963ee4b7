"""Columns beyond memory, and sorting in pieces, against numpy's sort of everything."""

from pathlib import Path
from resource import RLIMIT_FSIZE, getrlimit, setrlimit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverify.errors import PlatformError
from faceverify.evaluation import columns
from faceverify.evaluation.columns import Columns, keys, release, sort_sets, values_of

FLOATS = st.floats(width=32, allow_nan=False).map(lambda value: value + 0.0)  # not -0.0


def test_columns_give_back_what_was_added_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for chunk in (7, 1000):
        monkeypatch.setattr(columns, "CHUNK", chunk)
        rng = np.random.default_rng(0)
        a, b = rng.normal(size=100).astype(np.float32), rng.integers(0, 9, 100)
        with Columns(a=np.float32, b=np.int32) as both:
            for start in range(0, 100, 30):
                both.append(a=a[start : start + 30], b=b[start : start + 30])
            for _ in range(2):  # as often as one likes
                chunks = list(both.chunks("b", "a"))
                assert [len(some) for some, _ in chunks] == [7] * 14 + [2] if chunk == 7 else [100]
                np.testing.assert_array_equal(np.concatenate([some for some, _ in chunks]), b)
                np.testing.assert_array_equal(np.concatenate([some for _, some in chunks]), a)


@given(st.lists(FLOATS, min_size=1))
def test_keys_stand_in_the_order_of_the_scores(values: list[float]) -> None:
    scores = np.float32(values)
    ordered = keys(scores)
    np.testing.assert_array_equal(values_of(ordered), scores)
    np.testing.assert_array_equal(values_of(np.sort(ordered)), np.sort(scores))


@pytest.mark.parametrize("decimals", [6, 2, 0])
@pytest.mark.parametrize("piece", [10, 300, 10_000])
def test_sets_are_sorted_in_pieces(decimals: int, piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With few distinct scores a piece is full of equal ones, which are counted."""
    monkeypatch.setattr(columns, "CHUNK", 100)
    monkeypatch.setattr(columns, "PIECE", piece)
    rng = np.random.default_rng(decimals)
    scores, group = (
        rng.normal(0, 0.5, 2000).round(decimals).astype(np.float32) + np.float32(0),
        rng.integers(0, 4, 2000),
    )
    sets = [np.array(of) for of in ([True, False, False, False], [False, True, True, True], [False] * 4)]
    halves = lambda: iter([(scores[:900], group[:900]), (scores[900:], group[900:])])  # noqa: E731
    for found, of in zip(sort_sets(halves, sets, 2000, tmp_path), sets, strict=True):
        np.testing.assert_array_equal(found, np.sort(scores[of[group]]))


def test_a_released_array_keeps_its_scores_and_not_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def resident() -> int:
        """Kilobytes of mapped files in memory."""
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssFile"))

    monkeypatch.setattr(columns, "CHUNK", 1 << 20)
    scores, group = np.zeros(4 << 20, np.float32), np.zeros(4 << 20, np.int32)
    [found] = sort_sets(lambda: iter([(scores, group)]), [np.array([True])], len(scores), tmp_path)
    assert found.max() == 0  # all pages are read
    before = resident()
    release([found, np.zeros(3)])
    assert before - resident() > 12_000  # of 16 MiB
    assert found.min() == 0


def test_a_full_disk_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "CHUNK", 10)
    _, hard = getrlimit(RLIMIT_FSIZE)
    with Columns(a=np.float32) as column:
        setrlimit(RLIMIT_FSIZE, (1 << 20, hard))  # no file may be larger
        try:
            with pytest.raises(PlatformError, match="TMPDIR"):
                column.append(a=np.zeros(1 << 20))
        finally:
            setrlimit(RLIMIT_FSIZE, (hard, hard))
