"""Parts: counted by who writes them, joined into files of a good size, and none of their rows read to be counted."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverify import parts, tables
from faceverify.parts import facts_of, make_files, part, plan_files, read_facts, total, write_part
from faceverify.run_folder import RunFolder
from faceverify.storage import Location, open_location


def rejects(*rows: tuple[str, str]) -> pa.Table:
    found = [{"photo": photo, "stage": "read", "reason": reason} for reason, photo in rows]
    return pa.Table.from_pylist(found, tables.REJECTS)


def scores(*status: str) -> pa.Table:
    empty = tables.SCORES.empty_table()
    columns = {name: pa.nulls(len(status), empty.schema.field(name).type) for name in tables.SCORES.names}
    keys = {name: [f"{name}{i}" for i in range(len(status))] for name in ("pair", "photo_a", "photo_b")}
    return pa.table({**columns, **keys, "status": list(status)}, schema=tables.SCORES)


def test_the_footer_says_how_many_rows_are_what(tmp_path: Path) -> None:
    work = Location(str(tmp_path))
    bad = rejects(("empty", "a"), ("no_face", "b"), ("no_face", "c"), ("no_face", "d"), ("no_face", "e"))
    write_part(work, "scores", 0, scores("ok", "missing", "ok"), bad)
    write_part(work, "scores", 1, scores("ok"), rejects(("empty", "z")))
    [first, second] = read_facts([part(work, "scores", shard) for shard in (0, 1)])
    assert (first.rows, first.counts, second.rows, second.counts) == (3, {"ok": 2, "missing": 1}, 1, {"ok": 1})
    both = total(read_facts([part(work, "scores.rejects", shard) for shard in (0, 1)]))
    assert (both.rows, both.counts) == (6, {"empty": 2, "no_face": 4})
    assert both.examples == {"empty": ["a", "z"], "no_face": ["b", "c", "d"]}


def test_the_footer_counts_what_refused_pairs_and_which_were_not_judged() -> None:
    rows = scores("ok", "ok", "ok", "missing")
    for name, values in (("refused_for", ["forensic", None, None, None]), ("not_judged", [None, "a", "both", None])):
        rows = rows.append_column(tables.FORENSIC_SCORES.field(name), pa.array(values, pa.string()))
    counts = {"ok": 3, "missing": 1, "refused: forensic": 1, "not judged: a": 1, "not judged: both": 1}
    assert facts_of(rows).counts == counts


def test_a_pair_that_was_rejected_is_named_where_there_is_no_photo() -> None:
    row = {"pair": "p7", "stage": "score", "reason": "missing"}
    assert facts_of(pa.Table.from_pylist([row], tables.REJECTS)).examples == {"missing": ["p7"]}


def test_tables_of_other_columns_are_counted_by_rows_alone() -> None:
    assert facts_of(pa.table({"reason": ["a"], "photo": ["b"]})).counts == {}


@given(st.lists(st.tuples(st.integers(0, 70_000), st.integers(0, 200 << 20)), max_size=40))
def test_files_hold_all_parts_in_order_and_only_the_last_is_small(sizes: list[tuple[int, int]]) -> None:
    places = [(Location(f"/work/{number}"), *size) for number, size in enumerate(sizes)]
    files = plan_files(places, Location("/out"))
    assert [place for new in files for place in new.parts] == [place for place, *_ in places]
    assert [new.target.name for new in files] == sorted(new.target.name for new in files)
    of = dict(zip((place for place, *_ in places), sizes, strict=True))
    for new in files:
        rows, size = (sum(of[place][k] for place in new.parts) for k in (0, 1))
        big = rows >= parts.FILE_ROWS or size >= parts.FILE_BYTES
        assert big or new is files[-1]
        without_last = [of[place] for place in new.parts[:-1]]
        rows, size = (sum(one[k] for one in without_last) for k in (0, 1))
        assert rows < parts.FILE_ROWS and size < parts.FILE_BYTES


def test_names_of_very_many_files_are_in_order_too() -> None:
    names = [parts.file_name(number, 100_001) for number in (0, 9, 99_999, 100_000)]
    assert names == sorted(names) and parts.file_name(3, 10) == "part-00003.parquet"


@pytest.mark.parametrize("file_rows", [1, 4, 100])
def test_the_table_is_the_same_however_its_parts_are_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_rows: int
) -> None:
    monkeypatch.setattr(parts, "FILE_ROWS", file_rows)
    monkeypatch.setattr(parts, "GROUP_ROWS", 3)
    folder = RunFolder(Location(str(tmp_path)), {"job": "test"}, ("scores",))
    for shard, count in enumerate((2, 5, 0, 3)):
        write_part(
            folder.work,
            "scores",
            shard,
            scores(*["ok"] * count).append_column("x", pa.array([shard] * count, pa.int64())),
        )
    facts = folder.publish_parts("scores", tables.SCORES, ["scores"])
    assert (facts.rows, facts.counts) == (10, {"ok": 10})
    written = sorted((tmp_path / "scores").iterdir())
    assert len(written) == {1: 3, 4: 2, 100: 1}[file_rows]
    assert pd.read_parquet(tmp_path / "scores")["x"].tolist() == [0, 0, 1, 1, 1, 1, 1, 3, 3, 3]
    assert total(read_facts([Location(str(path)) for path in written])).counts == {"ok": 10}


def test_a_part_of_a_good_size_is_linked_and_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "FILE_ROWS", 2)
    folder = RunFolder(Location(str(tmp_path)), {"job": "test"}, ("scores",))
    write_part(folder.work, "scores", 0, scores("ok", "ok"))
    inode = (tmp_path / ".work" / "scores" / "00000000.parquet").stat().st_ino
    folder.publish_parts("scores", tables.SCORES, ["scores"])
    assert (tmp_path / "scores" / "part-00000.parquet").stat().st_ino == inode


def test_where_there_are_no_hard_links_it_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: str) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(parts.os, "link", refuse)
    work = Location(str(tmp_path))
    write_part(work, "scores", 0, scores("ok"))
    make_files(plan_files([(part(work, "scores", 0), 1, 1)], work / "table"))
    assert pq.read_table(tmp_path / "table").num_rows == 1


def test_dictionaries_come_back_as_what_they_encode(tmp_path: Path) -> None:
    work = Location(str(tmp_path))
    write_part(work, "scores", 0, pa.table({"name": pa.array(["a", "b", "a"]).dictionary_encode()}))
    assert parts.read_part(part(work, "scores", 0)).schema.field("name").type == pa.string()


def test_on_s3_many_are_asked_and_copied_at_a_time(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "FILE_ROWS", 2)
    out = open_location(f"s3://{bucket}/run")
    folder = RunFolder(out, {"job": "test"}, ("scores",))
    for shard in range(40):
        write_part(folder.work, "scores", shard, scores("ok", "ok", "missing"))
    facts = folder.publish_parts("scores", tables.SCORES, ["scores"])
    assert (facts.rows, facts.counts) == (120, {"ok": 80, "missing": 40})
    assert len((out / "scores").files()) == 40
