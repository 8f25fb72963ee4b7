"""Cases read one at a time from tables of any shape."""

from pathlib import Path

import pyarrow as pa
import pytest
from review.clean_output import NAMES, case_row, write_table

from faceverify import tables
from faceverify.errors import UserError
from faceverify.review.cases import BATCH, Cases
from faceverify.storage import Location


def rows(count: int) -> list[dict]:
    return [case_row(number % 10, "photos") | {"person": f"{NAMES[number % 10]} {number}"} for number in range(count)]


@pytest.mark.parametrize("count", [1, BATCH - 1, BATCH, BATCH + 1, 5 * BATCH + 3])
def test_every_row_comes_back(tmp_path: Path, count: int) -> None:
    table = pa.Table.from_pylist(rows(count), tables.CASES)
    cut = count // 3
    files = [Location(str(tmp_path / f"{part}.parquet")) for part in range(2)]
    write_table(files[0], table.slice(0, cut))
    write_table(files[1], table.slice(cut))
    cases = Cases(files)
    assert len(cases) == count
    assert [cases.read(number) for number in range(count)] == table.to_pylist()
    for summary, row in zip(cases.summaries, table.to_pylist(), strict=True):
        flagged = [p for p, d in zip(row["photo"], row["decision"], strict=True) if d != "kept"]
        assert (summary.person, summary.to_decide) == (row["person"], tuple(flagged))


def test_where_all_are_kept_all_wait(tmp_path: Path) -> None:
    row = case_row(0, "photos") | {"open": [False] * 7}
    write_table(Location(str(tmp_path / "a.parquet")), pa.Table.from_pylist([row], tables.CASES))
    cases = Cases([Location(str(tmp_path / "a.parquet"))])
    assert cases.summaries[0].to_decide == tuple(row["photo"])


def test_who_waits_is_as_clean_says(tmp_path: Path) -> None:
    waits = [True] + [False] * 6
    row = case_row(0, "photos") | {"open": waits, "bridges": [1, 2]}
    write_table(Location(str(tmp_path / "a.parquet")), pa.Table.from_pylist([row], tables.CASES))
    cases = Cases([Location(str(tmp_path / "a.parquet"))])
    assert cases.summaries[0].to_decide == (row["photo"][0],)
    assert cases.read(0)["open"] == waits and cases.read(0)["bridges"] == [1, 2]


def test_the_copy_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    write_table(Location(str(tmp_path / "a.parquet")), pa.Table.from_pylist(rows(20), tables.CASES))
    cases = Cases([Location(str(tmp_path / "a.parquet"))])
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]
    assert cases.read(19)["person"] == rows(20)[19]["person"]


def test_wide_strings_and_further_columns_are_read(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(rows(3), tables.CASES)
    wide = table.set_column(0, "person", table["person"].cast(pa.large_string())).append_column("more", [[1, 2, 3]])
    write_table(Location(str(tmp_path / "a.parquet")), wide)
    assert Cases([Location(str(tmp_path / "a.parquet"))]).read(2)["photo"] == table.to_pylist()[2]["photo"]


@pytest.mark.parametrize("column", ["matrix", "uri", "component"])
def test_lists_of_different_lengths_are_told(tmp_path: Path, column: str) -> None:
    row = case_row(0, "photos")
    row[column] = row[column][:-1]
    write_table(Location(str(tmp_path / "a.parquet")), pa.Table.from_pylist([row], tables.CASES))
    with pytest.raises(UserError, match="the case 'person 00' have different lengths"):
        Cases([Location(str(tmp_path / "a.parquet"))]).read(0)


def test_a_person_has_one_case(tmp_path: Path) -> None:
    write_table(Location(str(tmp_path / "a.parquet")), pa.Table.from_pylist([case_row(0, "p")] * 2, tables.CASES))
    with pytest.raises(UserError, match="two cases"):
        Cases([Location(str(tmp_path / "a.parquet"))])
