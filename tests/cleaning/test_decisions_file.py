"""The decisions file: what goes in comes out, and every fault is one sentence that names the file and the photo."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverify import tables
from faceverify.cleaning.decisions_file import FORMAT, ReviewDecision, check_photos, read_decisions, write_decisions
from faceverify.errors import UserError
from faceverify.provenance import versions_now
from faceverify.storage import Location


def place(folder: Path, name: str = "a.json") -> Location:
    return Location(str(folder / name))


def said(photo: str, decision: str = "kept", to: str | None = None, reviewer: str = "anna", at: str = "1") -> Any:
    return ReviewDecision(photo, "p", decision, to, at, reviewer, "digest")


TEXT = st.text(st.characters(codec="utf-8"), min_size=1)


@given(st.dictionaries(TEXT, st.sampled_from([("kept", None), ("dropped", None), ("moved", "q <b>")])))
def test_what_goes_in_comes_out(tmp_path_factory: pytest.TempPathFactory, wanted: dict[str, Any]) -> None:
    file = place(tmp_path_factory.mktemp("in"))
    decisions = [said(photo, *outcome) for photo, outcome in wanted.items()]
    write_decisions(file, "anna", "digest", decisions)
    assert read_decisions([file]) == sorted(decisions, key=lambda d: d.photo)


def test_a_photo_that_changed_since_it_was_looked_at_is_refused(tmp_path: Path) -> None:
    rows = [{"photo": f"p/{i}.jpg", "uri": str(tmp_path / f"{i}.jpg")} for i in range(3)]
    for row in rows:
        Path(row["uri"]).write_bytes(b"picture")
    pq.write_table(pa.Table.from_pylist(rows, tables.PHOTOS), tmp_path / "photos.parquet")
    table = [place(tmp_path, "photos.parquet")]
    seen = versions_now([row["uri"] for row in rows], "stat", 0)
    decisions = [replace(said(row["photo"]), version=version) for row, version in zip(rows, seen, strict=True)]
    write_decisions(place(tmp_path), "anna", "digest", decisions)
    assert read_decisions([place(tmp_path)]) == decisions
    check_photos(decisions, table)
    (tmp_path / "1.jpg").write_bytes(b"another picture")
    with pytest.raises(UserError, match=r"1 of 3 decided photos .* 'p/1.jpg'"):
        check_photos(decisions, table)
    check_photos([replace(one, version=None) for one in decisions], table)  # made where that was not noted


def test_a_folder_is_read_whole_without_the_manifest(tmp_path: Path) -> None:
    write_decisions(place(tmp_path, "a.json"), "anna", "digest", [said("p/1.jpg")])
    write_decisions(place(tmp_path, "b.json"), "ben", "digest", [said("p/2.jpg", reviewer="ben")])
    (tmp_path / "manifest.json").write_text("{}")
    assert [d.reviewer for d in read_decisions([Location(str(tmp_path))])] == ["anna", "ben"]


def test_agreement_of_two_is_one_decision_of_the_earlier(tmp_path: Path) -> None:
    for name, at in (("anna", "2"), ("ben", "1")):
        write_decisions(place(tmp_path, f"{name}.json"), name, "d", [said("p/1.jpg", "moved", "q", name, at)])
    (one,) = read_decisions([place(tmp_path, "anna.json"), place(tmp_path, "ben.json")])
    assert one.reviewer == "ben"


@pytest.mark.parametrize("other", [("dropped", None), ("moved", "q")])
def test_contradiction_names_photo_people_and_files(tmp_path: Path, other: tuple[str, str | None]) -> None:
    write_decisions(place(tmp_path, "a.json"), "anna", "d", [said("p/1.jpg"), said("p/2.jpg")])
    write_decisions(place(tmp_path, "b.json"), "ben", "d", [said("p/1.jpg", *other)])
    with pytest.raises(UserError) as fault:
        read_decisions([place(tmp_path, "a.json"), place(tmp_path, "b.json")])
    assert all(word in str(fault.value) for word in ("p/1.jpg", "anna", "ben", "a.json", "b.json", "Nothing"))


def test_every_half_written_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_decisions(place(tmp_path), "anna", "d", [said("p/1.jpg"), said("p/2.jpg", "moved", "q")])
    whole = file.read_bytes()
    for length in range(len(whole.rstrip())):
        file.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"a\.json"):
            read_decisions([place(tmp_path)])


GOOD = {"photo": "p/1.jpg", "person": "p", "decision": "kept", "to": None, "at": "1"}


@pytest.mark.parametrize(
    "change, word",
    [
        ({"format": "other"}, "no decisions file"),
        ({"reviewer": " "}, "reviewer"),
        ({"reviewer": 3}, "reviewer"),
        ({"table": None}, "table"),
        ({"decisions": {}}, "list"),
        ({"decisions": [3]}, "int"),
        ({"decisions": [GOOD, GOOD]}, "twice"),
        ({"decisions": [GOOD | {"decision": "maybe"}]}, "maybe"),
        ({"decisions": [GOOD | {"decision": "moved"}]}, "to whom"),
        ({"decisions": [GOOD | {"decision": "moved", "to": "  "}]}, "to whom"),
        ({"decisions": [GOOD | {"to": "q"}]}, "null"),
        ({"decisions": [GOOD | {"photo": 1}]}, "photo"),
        ({"decisions": [GOOD | {"at": None}]}, "at"),
    ],
)
def test_faults_are_named(tmp_path: Path, change: dict[str, Any], word: str) -> None:
    content = {"format": FORMAT, "reviewer": "anna", "table": "d", "decisions": [GOOD]} | change
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=word) as fault:
        read_decisions([place(tmp_path)])
    assert "a.json" in str(fault.value)


@pytest.mark.parametrize("content", ["[]", "3", "null", "[" * 100_000])
def test_json_that_is_something_else(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=r"a\.json"):
        read_decisions([place(tmp_path)])


def test_missing_file_and_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file"):
        read_decisions([place(tmp_path)])
    with pytest.raises(UserError, match=r"no \.json file"):
        read_decisions([Location(str(tmp_path))])


def test_what_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    write_decisions(place(tmp_path), "anna", "d", [said("p/1.jpg")])
    before = (tmp_path / "a.json").read_bytes()
    with pytest.raises(ValueError, match="twice"):
        write_decisions(place(tmp_path), "anna", "d", [said("p/1.jpg"), said("p/1.jpg", "dropped")])
    assert (tmp_path / "a.json").read_bytes() == before
