import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceverify.datasets.pair_lists import PairListConfig, open_pairs
from faceverify.errors import UserError
from faceverify.storage import open_location
from faceverify.tables import PAIRS, validate


def pieces(path: Path, **options: str) -> list[pa.RecordBatch]:
    found = list(open_pairs(open_location(str(path)), PairListConfig(**options)))
    assert found and all(piece.schema.equals(found[0].schema) for piece in found)
    validate(found[0].schema, PAIRS, "pairs")
    return found


def rows(path: Path, **options: str) -> list[dict[str, object]]:
    return pa.Table.from_batches(pieces(path, **options)).to_pylist()


def write(tmp_path: Path, text: str, name: str = "pairs.csv") -> Path:
    (tmp_path / name).write_text(text, newline="")
    return tmp_path / name


def test_all_columns(tmp_path: Path):
    header = "pair,photo_a,photo_b,label,kind,generator,split,person_a,person_b,note"
    row = rows(write(tmp_path, f"{header}\n007,a/1.jpg,b/2.jpg,0,deepfake,ghost,test,a,b,001\n"))[0]
    assert list(row) == [*header.split(","), "fault"]
    assert list(row.values()) == [
        *("007", "a/1.jpg", "b/2.jpg", 0, "deepfake", "ghost", "test", "a", "b", "001"),
        None,
    ]


def test_two_columns_are_enough(tmp_path: Path):
    found = rows(write(tmp_path, "photo_b,photo_a\nb,a\nd,c\n"))
    assert [(row["pair"], row["photo_a"], row["photo_b"]) for row in found] == [("0", "a", "b"), ("1", "c", "d")]
    assert {row["label"] for row in found} == {row["kind"] for row in found} == {None}


def test_the_pairs_of_one_split(tmp_path: Path):
    list_ = write(tmp_path, "photo_a,photo_b,split\na,b,train\nc,d,test\ne,f,\ng,h,test\n")
    assert [(row["pair"], row["photo_a"]) for row in rows(list_, split="test")] == [("1", "c"), ("3", "g")]
    with pytest.raises(UserError, match=r"pair_list.split is 'tests', .*its splits are test, train"):
        pieces(list_, split="tests")
    with pytest.raises(UserError, match="it has no splits"):
        pieces(write(tmp_path, "photo_a,photo_b\na,b\n"), split="test")


def test_reference_columns(tmp_path: Path):
    lines = ("/d/a,/d/b,1,0,0", "/d/a,/d/c,0,0,1", "/d/a,/d/e,0,0,0", "/d/a,/d/f,0,True,0")
    text = "\n".join(("pathA,pathB,label,deepfake_a,deepfake_b", *lines))
    found = rows(write(tmp_path, text), strip_prefix="/d")
    assert [row["kind"] for row in found] == ["genuine", "deepfake", "impostor", "deepfake"]
    assert [row["photo_b"] for row in found] == ["b", "c", "e", "f"]
    assert {row["fault"] for row in found} == {None}
    assert {row["fault"] for row in rows(tmp_path / "pairs.csv")} == {"outside_root"}


def test_generator_makes_a_deepfake_and_own_kind_wins(tmp_path: Path):
    text = (
        "pair_id,photo_a,photo_b,label,generator,kind\nx,a,b,0,ghost,\ny,a,b,0,,\nz,a,b,0,,deepfake\nw,a,b,,,genuine\n"
    )
    found = rows(write(tmp_path, text))
    assert [row["kind"] for row in found] == ["deepfake", "impostor", "deepfake", "genuine"]
    assert [row["pair"] for row in found] == ["x", "y", "z", "w"]
    assert found[3]["label"] is None


def test_pairs_that_leave_the_root_stay_in_place(tmp_path: Path):
    text = "photo_a,photo_b\na,b\n../x,b\na,C:\\x\n.\\a\\.\\b,a//c\n"
    found = rows(write(tmp_path, text))
    assert [row["fault"] for row in found] == [None, "outside_root", "outside_root", None]
    assert (found[1]["photo_a"], found[2]["photo_b"]) == ("../x", "C:\\x")
    assert (found[3]["photo_a"], found[3]["photo_b"]) == ("a/b", "a/c")


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("p.tsv", "photo_a\tphoto_b\tlabel\na,1\tb\t1\n", {}),
        ("p.csv", "photo_a;photo_b;label\na,1;b;1\n", {"delimiter": ";"}),
        ("p.csv", '\ufeffphoto_a,photo_b,label\r\n"a,1",b,1\r\n', {}),
        ("p.list", '"photo_a","photo_b","label"\n"a,1","b",1', {}),
    ],
)
def test_dialects(tmp_path: Path, name: str, text: str, options: dict[str, str]):
    row = rows(write(tmp_path, text, name), **options)[0]
    assert (row["photo_a"], row["photo_b"], row["label"]) == ("a,1", "b", 1)


def test_lfw_pairs(tmp_path: Path):
    path = write(tmp_path, "1\nAnn\t1\t2\nAnn\t1\tBob\t2\n", "pairs.txt")
    for found in (rows(path), rows(path, format="lfw")):
        assert [row["photo_b"] for row in found] == ["Ann/Ann_0002.jpg", "Bob/Bob_0002.jpg"]
        assert [row["kind"] for row in found] == ["genuine", "impostor"]
        assert [row["fold"] for row in found] == [None, None]


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.bool_(), pa.float32(), pa.string(), pa.large_string()])
def test_parquet_labels_of_any_type(tmp_path: Path, kind: pa.DataType):
    label = pa.array([1, 0, None], pa.int8())
    label = label.cast(pa.bool_()).cast(kind) if kind == pa.bool_() else label.cast(kind)
    table = pa.table({"photo_a": ["a", "b", "c"], "photo_b": ["d", "e", "f"], "label": label, "fold": [1, 2, 3]})
    pq.write_table(table, tmp_path / "pairs.parquet")
    found = rows(tmp_path / "pairs.parquet")
    assert [row["label"] for row in found] == [1, 0, None]
    assert [row["kind"] for row in found] == ["genuine", "impostor", None]
    assert [row["fold"] for row in found] == [1, 2, 3]


def test_folder_of_parts_is_one_list(tmp_path: Path):
    for part in range(3):
        table = pa.table({"photo_a": [f"{part}{i}" for i in range(4)], "photo_b": ["x"] * 4})
        pq.write_table(table, tmp_path / f"part-{part}.parquet")
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "_temporary.parquet").write_text("no table")
    found = rows(tmp_path)
    assert [row["pair"] for row in found] == [str(i) for i in range(12)]
    assert [row["photo_a"] for row in found] == [f"{part}{i}" for part in range(3) for i in range(4)]
    pq.write_table(pa.table({"photo_a": ["x"], "photo_b": ["y"], "more": [1]}), tmp_path / "part-3.parquet")
    with pytest.raises(UserError, match=r"part-3\.parquet' has other columns"):
        rows(tmp_path)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "is empty"),
        ("\n", "is empty"),
        ("left,right\na,b\n", "left, right; it needs photo_a and photo_b"),
        ("photo_a,photo_b,label\na,b,1\na,b,2\n", "row 1 .*label '2'"),
        ("photo_a,photo_b,label\na,b,1.0\n", "row 0 .*label '1.0'"),
        ("photo_a,photo_b,kind\na,b,\na,b,fake\n", "row 1 .*kind 'fake'"),
        ("photo_a,photo_b,pair\na,b,x\na,b,\n", "row 1 .*pair 'None'"),
        ("photo_a,photo_b,status\na,b,ok\n", "column status"),
        ("photo_a,photo_b,pathA\na,b,c\n", "a column twice"),
        ("photo_a,photo_b\na,b\na\n", "cannot be read"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, match: str):
    with pytest.raises(UserError, match=match):
        rows(write(tmp_path, text))


def test_other_mistakes(tmp_path: Path):
    with pytest.raises(UserError, match="no file or folder"):
        open_pairs(open_location(str(tmp_path / "absent.csv")))
    (tmp_path / "pairs.parquet").write_text("no table")
    with pytest.raises(UserError, match="cannot be read"):
        rows(tmp_path / "pairs.parquet")
    (tmp_path / "latin.csv").write_bytes(b"photo_a,photo_b\n\xe9,b\n")
    with pytest.raises(UserError, match=r"latin\.csv' is not UTF-8 in line 2, at byte 16 of the text \(0xe9\)"):
        rows(tmp_path / "latin.csv")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="holds no"):
        rows(tmp_path / "folder")


def test_an_empty_list_still_has_a_schema(tmp_path: Path):
    found = pieces(write(tmp_path, "photo_a,photo_b,note\n"))
    assert len(found) == 1 and len(found[0]) == 0 and "note" in found[0].schema.names
    pq.write_table(
        pa.table({"photo_a": pa.array([], pa.string()), "photo_b": pa.array([], pa.string())}), tmp_path / "e.parquet"
    )
    assert len(pieces(tmp_path / "e.parquet")[0]) == 0


def many_rows(count: int) -> Iterator[str]:
    yield "photo_a,photo_b,label\n"
    for index in range(count):
        photo = f"photo_{index:07d}.jpg"
        yield f"person_{index % 977:05d}/{photo},person_{index % 499:05d}/{photo},{index % 2}\n"


def test_a_long_list_streams_in_order(tmp_path: Path):
    path = tmp_path / "pairs.csv"
    with path.open("w") as stream:
        stream.writelines(many_rows(1_000_000))
    seen = held = total = 0
    for piece in open_pairs(open_location(str(path))):
        assert piece["pair"][0].as_py() == str(seen)
        assert piece["photo_a"][0].as_py() == f"person_{seen % 977:05d}/photo_{seen:07d}.jpg"
        seen, total = seen + len(piece), total + piece.nbytes
        held = max(held, pa.total_allocated_bytes())
    assert seen == 1_000_000
    assert held < total / 2  # pieces in flight only


TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0\r\n"), max_size=8)


@settings(deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT, st.sampled_from(["", "0", "1"]), TEXT), max_size=20))
def test_rows_in_are_rows_out(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str, str, str]]):
    stream = io.StringIO()
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("photo_a", "photo_b", "label", "note"), *pairs])
    path = tmp_path_factory.getbasetemp() / "property.csv"
    path.write_text(stream.getvalue(), newline="", encoding="utf-8")
    found = rows(path)
    assert [row["pair"] for row in found] == [str(index) for index in range(len(pairs))]
    assert [row["label"] for row in found] == [int(pair[2]) if pair[2] else None for pair in pairs]
    assert [row["note"] or "" for row in found] == [pair[3] for pair in pairs]
    for row in found:
        assert row["fault"] in (None, "outside_root")
