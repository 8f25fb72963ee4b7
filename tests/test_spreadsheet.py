"""Which texts a spreadsheet would run, and that numbers stay numbers."""

import csv
import io
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverify.report.charts import _csv
from faceverify.scoring.csv_output import CsvConfig, write_csv
from faceverify.spreadsheet import escaped, escaped_cell
from faceverify.storage import Location
from faceverify.tuning.results import to_csv

FORMULAS = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "\uff1d1",
    "-",
    "=",
    "-a.jpg",
]
PLAIN = ["-0.12", "+5", "-1e-7", "-inf", "0.5", "a=b", "a-b.jpg", "'x", "", "-.5", "person/=1.jpg"]


@pytest.mark.parametrize("text", FORMULAS)
def test_what_would_run_is_quoted(text: str) -> None:
    assert escaped_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", PLAIN)
def test_what_would_not_is_left_alone(text: str) -> None:
    assert escaped_cell(text) == text


@given(st.text())
def test_nothing_is_lost(text: str) -> None:
    assert escaped_cell(text) in (text, f"'{text}")


def test_columns_that_are_no_text_are_as_they_were() -> None:
    for column in (pa.array([-0.5, None]), pa.array([-1, 2]), pa.array([True, None])):
        assert escaped(column) is column
    assert escaped(pa.array(["=a", None, "b"]).dictionary_encode()).to_pylist() == ["'=a", None, "b"]
    assert escaped_cell(None) is None and escaped_cell(-0.12) == -0.12


@pytest.mark.parametrize("escape", [False, True])
def test_scores_are_quoted_only_where_asked(escape: bool, tmp_path: Path) -> None:
    rows = pa.table(
        {"photo_a": ["=a.jpg", "b.jpg"], "=x": ["1", "-2"], "similarity": pa.array([-0.12, 0.5], pa.float32())}
    )
    place = Location(str(tmp_path / "scores.csv"))
    write_csv(place, [rows], CsvConfig(escape=escape), rows.schema)
    quote = "'" if escape else ""
    lines = list(csv.reader(io.StringIO(place.read_bytes().decode())))
    assert lines == [["photo_a", f"{quote}=x", "similarity"], [f"{quote}=a.jpg", "1", "-0.12"], ["b.jpg", "-2", "0.5"]]


def test_files_for_people_are_quoted() -> None:
    assert "'=cmd()" in to_csv(pa.table({"reason": ["=cmd()"], "eer": [-0.5]})) and "-0.5" in to_csv(
        pa.table({"e": [-0.5]})
    )
    assert _csv(("generator", "pairs"), [("@swap", -3)]) == "generator,pairs\n'@swap,-3\n"
