"""What a user may name as input, and what is refused."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceverify import tables
from faceverify.errors import UserError
from faceverify.inputs import (
    fingerprint,
    open_embeddings,
    open_photos,
    open_table,
    read_schema,
    run_manifest,
    stream_table,
    table_files,
)
from faceverify.run_folder import MANIFEST, WORK, RunFolder
from faceverify.storage import Location, open_location

PHOTOS = pa.table(
    {"photo": ["a", "b"], "uri": ["/a", "/b"]}, schema=pa.schema([tables.PHOTOS.field(n) for n in ("photo", "uri")])
)


def at(path: Path) -> Location:
    return Location(str(path))


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A run folder with the table `photos`."""
    out = tmp_path / "finished"
    folder = RunFolder(at(out), {"config": 1}, ("photos",))
    folder.publish("photos", [PHOTOS], PHOTOS.schema)
    folder.finish({"job": "test"})
    return out


def test_a_file_a_folder_and_a_run_folder_name_the_same_table(finished: Path) -> None:
    part = finished / "photos" / "part-00000.parquet"
    for named in (finished, finished / "photos", part):
        assert table_files(at(named), "photos") == [at(part)]
    assert table_files(at(finished), "faces") == []


def test_a_folder_of_pictures_holds_no_table(tmp_path: Path) -> None:
    (tmp_path / "person").mkdir()
    (tmp_path / "person" / "a.jpg").write_bytes(b"x")
    (tmp_path / "list.csv").write_text("x")
    assert table_files(at(tmp_path), "photos") == table_files(at(tmp_path / "list.csv"), "photos") == []
    with pytest.raises(UserError, match=r"faces: .*holds no table 'faces'"):
        open_table(at(tmp_path), "faces", tables.FACES, "faces")


@pytest.mark.parametrize("published", [False, True])
def test_an_unfinished_run_is_refused(tmp_path: Path, published: bool) -> None:
    folder = RunFolder(at(tmp_path), {"config": 1}, ("photos",))
    if published:
        folder.publish("photos", [PHOTOS], PHOTOS.schema)
    for named in [tmp_path, tmp_path / "photos"] if published else [tmp_path]:
        with pytest.raises(UserError, match="has not finished; run its command again"):
            table_files(at(named), "photos")
    folder.finish({"job": "test"})


def test_columns_are_checked(finished: Path) -> None:
    with pytest.raises(UserError, match=r"photos: .*column 'landmarks' is missing"):
        open_table(at(finished), "photos", tables.PHOTOS, "photos")
    assert open_table(at(finished), "photos", PHOTOS.schema, "photos")


def test_photos_are_a_table_or_a_folder_but_no_other_file(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("x")
    with pytest.raises(UserError, match=r"photos: .*list\.csv' is a file; give a folder"):
        open_photos(at(tmp_path / "list.csv"))
    with pytest.raises(UserError, match=r"photos: .*column 'landmarks' is missing"):
        open_photos(at(finished))
    (tmp_path / "pictures").mkdir()
    assert open_photos(at(tmp_path / "pictures")) == at(tmp_path / "pictures")
    pq.write_table(pa.Table.from_pylist([{"photo": "a", "uri": "/a"}], tables.PHOTOS), tmp_path / "photos.parquet")
    assert open_photos(at(tmp_path / "photos.parquet")) == [at(tmp_path / "photos.parquet")]


def test_a_table_beside_photos_leaves_a_folder_of_photos(tmp_path: Path) -> None:
    pq.write_table(pa.table({"photo_a": ["a"], "photo_b": ["b"]}), tmp_path / "pairs.parquet")
    with pytest.raises(UserError, match=r"photos: .*pairs\.parquet is not a table of the expected form"):
        open_photos(at(tmp_path))  # nothing but tables
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "1.jpg").write_bytes(b"1")
    assert open_photos(at(tmp_path)) == at(tmp_path)
    (tmp_path / "pairs.parquet").write_bytes(b"no table at all")
    assert open_photos(at(tmp_path)) == at(tmp_path)
    pq.write_table(pa.Table.from_pylist([{"photo": "a", "uri": "/a"}], tables.PHOTOS), tmp_path / "photos.parquet")
    assert open_photos(at(tmp_path)) == [at(tmp_path / "photos.parquet")]  # named and formed like one


def test_a_folder_called_photos_with_a_table_beside_the_photos(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    pq.write_table(pa.table({"photo_a": ["a"]}), tmp_path / "photos" / "pairs.parquet")
    (tmp_path / "photos" / "1.jpg").write_bytes(b"1")
    assert open_photos(at(tmp_path)) == at(tmp_path)
    assert open_photos(at(tmp_path / "photos")) == at(tmp_path / "photos")


def test_a_table_is_found_by_its_name_beside_others(tmp_path: Path) -> None:
    for name in ("faces", "photos", "pairs"):
        pq.write_table(pa.table({name: [1]}), tmp_path / f"{name}.parquet")
    assert table_files(at(tmp_path), "faces") == [at(tmp_path / "faces.parquet")]
    assert len(table_files(at(tmp_path), "scores")) == 3


def test_rows_of_a_foreign_table_have_keys(tmp_path: Path, finished: Path) -> None:
    rows = pa.table({"photo": ["a", None], "person": ["b", None]})
    pq.write_table(rows, tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"faces: .*t\.parquet' has no `photo`, the key of its rows, in 1 of them"):
        open_table(at(tmp_path / "t.parquet"), "t", rows.schema, "faces")
    assert open_table(at(tmp_path / "t.parquet"), "t", rows.schema, "faces", keyless=True)
    pq.write_table(rows.slice(0, 1), tmp_path / "t.parquet")
    assert open_table(at(tmp_path / "t.parquet"), "t", rows.schema, "faces")


def test_a_damaged_table_is_told_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    pq.write_table(pa.table({"n": [str(n) for n in range(10_000)]}), file, compression="none", use_dictionary=False)
    sound = file.read_bytes()
    file.write_bytes(sound[:20] + b"\xff" * 2000 + sound[2020:])
    with pytest.raises(UserError, match=r"t\.parquet' .*Parquet file"):
        list(stream_table([at(file)]))
    text = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff"))
    pq.write_table(pa.table({"n": text}), file)
    with pytest.raises(UserError, match=r"t\.parquet' .*UTF8"):
        list(stream_table([at(file)]))
    pq.write_table(pa.Table.from_arrays([text, text], ["n", "n"]), file)
    with pytest.raises(UserError, match=r"has the column n twice"):
        read_schema(at(file))
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(UserError, match=r"pipe \(FIFO\)"):
        read_schema(at(file))


@pytest.mark.parametrize(
    "columns, fault",
    [
        ({"photo": ["a"], "embedding": [[1.0, 2.0]]}, "column 'embedding' is list"),
        ({"photo": ["a"]}, "column 'embedding' is missing"),
    ],
)
def test_embeddings_of_another_form_are_refused(tmp_path: Path, columns: dict, fault: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    with pytest.raises(UserError, match=fault):
        open_embeddings(at(tmp_path / "e.parquet"))
    pq.write_table(
        pa.Table.from_pylist([{"photo": "a", "embedding": [1, 0, 0], "norm": 1}], tables.embeddings(3)),
        tmp_path / "e.parquet",
    )
    assert open_embeddings(at(tmp_path)) == [at(tmp_path / "e.parquet")]
    with pytest.raises(UserError, match="holds no embeddings table"):
        open_embeddings(at(tmp_path / "nothing"))


def test_what_only_looks_like_parquet_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("this is text")
    with pytest.raises(UserError, match=r"x\.parquet' is not a Parquet file"):
        read_schema(at(tmp_path / "x.parquet"))
    (tmp_path / "y.parquet").write_bytes(b"")
    with pytest.raises(UserError, match=r"y\.parquet' is not a Parquet file"):
        read_schema(at(tmp_path / "y.parquet"))


def test_rows_are_streamed_in_order_with_the_columns_that_are_there(tmp_path: Path) -> None:
    for number in range(3):
        rows = pa.table({"n": range(10 * number, 10 * number + 10), "m": range(10)})
        pq.write_table(rows, tmp_path / f"{number}.parquet")
    files = table_files(at(tmp_path), "any")
    pieces = list(stream_table(files, ["n", "absent"], rows=4))
    assert max(piece.num_rows for piece in pieces) == 4 and pieces[0].column_names == ["n"]
    assert pa.concat_tables(pieces)["n"].to_pylist() == list(range(30))
    assert next(stream_table(files)).column_names == ["n", "m"]


def test_the_fingerprint_follows_the_content(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "list.csv"
    file.parent.mkdir()
    file.write_text("one")
    first, folder = fingerprint(at(file)), fingerprint(at(file.parent))
    os.utime(file, ns=(1, 1))
    assert fingerprint(at(file)) == first and fingerprint(at(file.parent)) != folder
    file.write_text("two")
    assert fingerprint(at(file)) != first


def test_the_manifest_is_found_from_the_run_and_from_its_table(finished: Path, tmp_path: Path) -> None:
    assert run_manifest(at(finished)) == run_manifest(at(finished / "photos"))
    assert (run_manifest(at(finished)) or {})["job"] == "test"
    assert run_manifest(at(tmp_path / "elsewhere")) is None


def test_the_same_on_s3(bucket: str) -> None:
    out = open_location(f"s3://{bucket}/run")
    folder = RunFolder(out, {"config": 1}, ("photos",))
    folder.publish("photos", [PHOTOS], PHOTOS.schema)
    with pytest.raises(UserError, match="has not finished"):
        table_files(out, "photos")
    folder.finish({"job": "test"})
    files = table_files(out, "photos")
    assert [f.name for f in files] == ["part-00000.parquet"] and table_files(out / "photos", "photos") == files
    assert (out / MANIFEST).exists() and not (out / WORK).exists()
    assert pa.concat_tables(stream_table(files)).equals(PHOTOS)
