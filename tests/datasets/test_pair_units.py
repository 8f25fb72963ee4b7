"""A list divided into units gives the pairs of the whole list, each with its place in it, or is not divided."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceverify.datasets import PairListConfig, pair_units
from faceverify.datasets.pair_units import PairList, divide
from faceverify.storage import Location
from faceverify.units import LocalMapper


@pytest.fixture(autouse=True)
def _small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_units, "UNIT_BYTES", 64)
    monkeypatch.setattr(pair_units, "UNIT_ROWS", 4)


def counted(path: Path, config: PairListConfig | None = None) -> PairList:
    return divide(Location(str(path)), config or PairListConfig()).counted(LocalMapper())


def same_as_the_whole(found: PairList) -> None:
    rows = [row for unit in found.units for piece in unit.pieces() for row in piece.to_pylist()]
    assert rows == [row for piece in found.whole.pieces() for row in piece.to_pylist()]
    assert [unit.number for unit in found.units] == list(range(len(found.units)))


LINE = st.one_of(st.just(""), st.builds(lambda a, b: f"{a}.jpg,ü{b}", st.integers(0, 10**6), st.integers(0, 10**30)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(LINE, min_size=1, max_size=40), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_lines_of_a_plain_csv(tmp_path: Path, lines: list[str], end: str, ends: bool) -> None:
    text = end.join(["photo_a,photo_b", *lines]) + (end if ends else "")
    (tmp_path / "pairs.csv").write_bytes(text.encode())
    found = counted(tmp_path / "pairs.csv")
    size = len(text.encode())
    assert len(found.units) == (1 if size <= 64 else -(-size // 64))
    same_as_the_whole(found)


LINES = [f"{number}.jpg,other {number}.jpg" for number in range(30)]


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(["photo_a,photo_b", *LINES[:20], '"a\nb.jpg",c.jpg', *LINES[20:]]).encode(),
        "\r".join(["photo_a,photo_b", *LINES]).encode(),
        "\n".join(["photo_a,photo_b", "\r".join(LINES[:9]), *LINES]).encode(),
        "\n".join(["", "photo_a,photo_b", *LINES]).encode(),
        "\n".join(["sep=,", "photo_a,photo_b", *LINES]).encode(),
        "\n".join(['"photo_a","photo_b"', *LINES]).encode(),
        "\n".join(["photo_a,photo_b", *LINES]).encode("utf-8-sig"),
        "\n".join(["photo_a,photo_b", *LINES]).encode("utf-16"),
        "\n".join(["photo_a,photo_b", *LINES]).encode("utf-16-le"),
    ],
    ids=[
        "a line end in quotes",
        "CR",
        "some CR",
        "blank first",
        "sep",
        "quoted header",
        "mark",
        "UTF-16",
        "UTF-16 bare",
    ],
)
def test_what_is_not_plain_is_one_unit(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "pairs.csv").write_bytes(text)
    found = counted(tmp_path / "pairs.csv")
    assert found.units == [found.whole]
    same_as_the_whole(found)


def test_text_that_is_not_utf8_and_a_chosen_split_are_one_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_units, "UNIT_BYTES", 1 << 20)
    text = "\n".join(["photo_a,photo_b,", *(f"{line}," for line in LINES * 2000)]).encode()
    (tmp_path / "pairs.csv").write_bytes(text + b"\xff")  # in a column without a name, which nobody reads
    assert len(counted(tmp_path / "pairs.csv").units) == 1
    (tmp_path / "pairs.csv").write_bytes(text)
    assert len(counted(tmp_path / "pairs.csv").units) == 2
    assert len(counted(tmp_path / "pairs.csv", PairListConfig(split="test")).units) == 1


@pytest.mark.parametrize("files", [1, 3])
def test_row_groups_of_parquet(tmp_path: Path, files: int) -> None:
    (tmp_path / "list").mkdir()
    for number in range(files):
        names = pa.array(np.arange(11) + 100 * number).cast(pa.string())
        pq.write_table(pa.table({"photo_a": names, "photo_b": names}), tmp_path / "list" / f"{number}.parquet", 2)
    found = counted(tmp_path / "list")
    assert len(found.units) == 3 * files
    same_as_the_whole(found)
    pq.write_table(pa.table({"photo_a": ["a"], "photo_b": ["b"], "x": [1]}), tmp_path / "list" / "z.parquet")
    assert len(counted(tmp_path / "list").units) == 1  # whose reader has a sentence for it
