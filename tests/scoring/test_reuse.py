"""Which embeddings are taken again: those of the same photo, crop and model, row by row, and the others counted."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceverify import tables
from faceverify.errors import UserError
from faceverify.parts import read_part
from faceverify.provenance import Identifier, one_origin, outdated, photo_versions, versions_now
from faceverify.scoring.plan import bare_rows
from faceverify.scoring.reuse import GIVEN, NUMBERS, GivenTable, Reuse, Wanted, take_given
from faceverify.storage import Location
from faceverify.units import LocalMapper

DIM = 3
MIB = 1 << 20
CROP = json.dumps({"aligner": "yunet-1", "policy": "largest"})
BY_STAT = Identifier("stat", False, MIB)
WANTED = Wanted("m", DIM, CROP, BY_STAT)


def photos(folder: Path, count: int) -> pa.Table:
    """Rows of `count` photos, which are files of a few bytes."""
    names = [f"{number}.jpg" for number in range(count)]
    for name in names:
        (folder / name).write_bytes(name.encode())
    return bare_rows(pa.array(names, pa.large_string()), pa.array([str(folder / name) for name in names]))


def table_of(folder: Path, rows: pa.Table, **changed: dict[int, Any]) -> list[Location]:
    """An embeddings table made of these photos as they are, but for `changed` values of some rows."""
    columns: dict[str, list[Any]] = {
        "photo": rows["photo"].to_pylist(),
        "embedding": [[float(i), 1, 0] for i in range(rows.num_rows)],
        "norm": [1.0] * rows.num_rows,
        "model": ["m"] * rows.num_rows,
        "photo_version": WANTED.photos.versions(rows).to_pylist(),
        "crop": [CROP] * rows.num_rows,
    }
    for name, values in changed.items():
        for row, value in values.items():
            columns[name][row] = value
    place = folder / "embeddings.parquet"
    pq.write_table(pa.table(columns, schema=tables.embeddings(DIM)), place)
    return [Location(str(place))]


def with_scores(files: list[Location], models: list[str | None]) -> list[Location]:
    """The same table with forensic scores by these models."""
    rows = pq.read_table(files[0].path)
    known = [None if name is None else float(at) for at, name in enumerate(models)]
    for name, values in (("forensic", known), ("eyes", known), ("forensic_with", models)):
        column = pa.array(values, tables.FORENSIC.field(name).type)
        rows = rows.append_column(name, column)
    pq.write_table(rows, files[0].path)
    return files


def reused(
    folder: Path, rows: pa.Table, *given: list[Location], wanted: Wanted | None = WANTED
) -> tuple[list[bool], Reuse, pa.Table]:
    """Which photos get an embedding, what else was found, and the parts that were written."""
    work = Location(str(folder / "work"))
    found = take_given(rows, [GivenTable(files) for files in given], wanted, "m", work, LocalMapper())
    parts = [read_part(work / GIVEN / entry.path) for entry in (work / GIVEN).files()]
    numbers = [read_part(work / NUMBERS / entry.path)["number"].to_pylist() for entry in (work / NUMBERS).files()]
    written = pa.concat_tables([tables.embeddings(found.dim).empty_table(), *parts])
    names = rows["photo"].to_pylist()
    assert written["photo"].to_pylist() == [names[number] for some in numbers for number in some]
    assert sorted(written["photo"].to_pylist()) == sorted(n for n, has in zip(names, found.given, strict=True) if has)
    return found.given.tolist(), found, written.sort_by("photo")


def test_rows_that_agree_in_everything_are_taken_and_the_others_counted(tmp_path: Path) -> None:
    rows = photos(tmp_path, 8)
    other_aligner = json.dumps({"aligner": "none"})
    other_policy = json.dumps({"aligner": "yunet-1", "policy": "most_central"})
    given = table_of(
        tmp_path, rows, model={0: "x"}, crop={1: other_aligner, 2: other_policy, 3: None}, photo_version={4: None}
    )
    (tmp_path / "5.jpg").write_bytes(b"other bytes")
    (tmp_path / "6.jpg").unlink()
    taken, found, _ = reused(tmp_path, rows, given)
    assert taken == [False] * 7 + [True]
    assert found.why_not == {
        "other model": 1,
        "other aligner": 1,
        "other options of the aligner": 1,
        "of unknown origin": 2,
        "photo changed": 1,
        "photo gone": 1,
    }


def test_an_embedding_of_another_folder_with_the_same_names_sizes_and_times_is_not_taken(tmp_path: Path) -> None:
    sides = []
    for side in ("a", "b"):
        (tmp_path / side).mkdir()
        sides.append(photos(tmp_path / side, 2))
        for path in (tmp_path / side).iterdir():
            os.utime(path, ns=(0, 1_700_000_000_000_000_000))
    taken, found, _ = reused(tmp_path, sides[1], table_of(tmp_path, sides[0]))
    assert taken == [False, False] and found.why_not == {"photo elsewhere": 2}
    by_content = Wanted("m", DIM, CROP, Identifier("content", False, MIB))
    versions = dict(enumerate(by_content.photos.versions(sides[0]).to_pylist()))
    taken, *_ = reused(tmp_path, sides[1], table_of(tmp_path, sides[0], photo_version=versions), wanted=by_content)
    assert taken == [True, True]


def test_a_photo_with_the_same_size_and_another_content_is_seen_by_its_time(tmp_path: Path) -> None:
    rows = photos(tmp_path, 1)
    given = table_of(tmp_path, rows)
    before = (tmp_path / "0.jpg").stat()
    (tmp_path / "0.jpg").write_bytes(b"1.jpg")
    os.utime(tmp_path / "0.jpg", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert reused(tmp_path, rows, given)[0] == [False]


def test_other_landmarks_are_another_crop(tmp_path: Path) -> None:
    by_landmarks = Wanted("m", DIM, CROP, Identifier("stat", True, MIB))
    points = pa.array([[float(x) for x in range(10)]] * 2, tables.LANDMARKS)
    rows = photos(tmp_path, 2)
    rows = rows.set_column(rows.schema.get_field_index("landmarks"), "landmarks", points)
    versions = dict(enumerate(by_landmarks.photos.versions(rows).to_pylist()))
    moved = pa.array([[float(x) for x in range(10)], [9.0] * 10], tables.LANDMARKS)
    now = rows.set_column(rows.schema.get_field_index("landmarks"), "landmarks", moved)
    taken, found, _ = reused(tmp_path, now, table_of(tmp_path, rows, photo_version=versions), wanted=by_landmarks)
    assert taken == [True, False] and found.why_not == {"other landmarks": 1}


def test_of_several_tables_the_first_row_that_fits_is_taken(tmp_path: Path) -> None:
    rows = photos(tmp_path, 2)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first = table_of(tmp_path / "first", rows, model={0: "x"})
    second = table_of(tmp_path / "second", rows, embedding={0: [7.0, 0, 0], 1: [8.0, 0, 0]})
    taken, found, written = reused(tmp_path, rows, first, second)
    assert written["embedding"].to_pylist() == [[7, 0, 0], [1, 1, 0]]
    assert taken == [True, True] and not found.why_not


def test_a_table_of_another_length_of_embeddings_is_of_another_model(tmp_path: Path) -> None:
    rows = photos(tmp_path, 2)
    taken, found, _ = reused(tmp_path, rows, table_of(tmp_path, rows), wanted=Wanted("m", DIM + 1, CROP, BY_STAT))
    assert taken == [False, False] and found.why_not == {"other model": 2}


def test_without_photos_every_row_is_taken_with_what_it_was_made_of(tmp_path: Path) -> None:
    rows = photos(tmp_path, 2)
    taken, _, written = reused(tmp_path, rows, table_of(tmp_path, rows), wanted=None)
    assert taken == [True, True] and written["crop"].to_pylist() == [CROP] * 2
    assert written["photo_version"].to_pylist() == WANTED.photos.versions(rows).to_pylist()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model": {2: "x"}}, "model m, and x"),
        ({"crop": {2: json.dumps({"aligner": "none", "policy": "largest"})}}, "aligner none, not yunet-1"),
        ({"crop": {2: None}}, "crop unknown"),
    ],
)
def test_rows_made_in_several_ways_are_refused_by_what_differs(
    changed: dict[str, Any], said: str, tmp_path: Path
) -> None:
    rows = photos(tmp_path, 3)
    assert one_origin(table_of(tmp_path, rows), "embeddings") == ("m", CROP)
    with pytest.raises(UserError) as refused:
        one_origin(table_of(tmp_path, rows, **changed), "embeddings")
    assert said in str(refused.value) and "2 and 1 rows" in str(refused.value)


def test_a_table_of_another_program_says_nothing_of_its_origin(tmp_path: Path) -> None:
    place = tmp_path / "e.parquet"
    pq.write_table(pa.table({"photo": ["a"], "embedding": pa.array([[1.0] * DIM], pa.list_(pa.float32(), DIM))}), place)
    assert one_origin([Location(str(place))], "embeddings") == ("", None)


def test_what_became_of_photos_since_is_told(tmp_path: Path) -> None:
    rows = photos(tmp_path, 4)
    then = WANTED.photos.versions(rows).to_pylist()
    assert outdated([(rows, then)], BY_STAT) == Counter()
    (tmp_path / "0.jpg").write_bytes(b"changed")
    (tmp_path / "1.jpg").unlink()
    assert outdated([(rows, [*then[:3], None])], BY_STAT) == {"photo changed": 1, "photo gone": 1, "photo there now": 1}


KEYS = st.lists(st.text(st.sampled_from("ab/~.é0 \ue000"), min_size=1, max_size=4), max_size=12, unique=True)


@pytest.fixture(scope="module")
def objects() -> Iterator[Any]:
    """Puts objects into a bucket of a server of its own."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    names = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    names |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setenv(name, value)
        import boto3

        client = boto3.Session().client("s3")
        client.create_bucket(Bucket="listed")
        yield client
    server.stop()


@settings(max_examples=10)
@given(st.data())
def test_objects_are_found_whatever_lies_beside_them(objects: Any, data: st.DataObject) -> None:
    client = objects
    for entry in client.list_objects_v2(Bucket="listed").get("Contents", []):
        client.delete_object(Bucket="listed", Key=entry["Key"])
    there, wanted = data.draw(KEYS), data.draw(KEYS)
    for key in there:
        client.put_object(Bucket="listed", Key=key, Body=key.encode())
    found = versions_now([f"s3://listed/{key}" for key in wanted], "stat", MIB)
    assert [version is not None for version in found] == [key in there for key in wanted]
    assert len(set(filter(None, found))) == len(set(wanted) & set(there))


def test_a_key_behind_more_keys_than_a_page_holds_is_found(objects: Any) -> None:
    wanted = "page/k\ue000"  # what comes before its last character cannot be written: pages begin at "page/k"
    for key in (*(f"page/k{digit}" for digit in range(10)), wanted):
        objects.put_object(Bucket="listed", Key=key, Body=b"x")
    found = versions_now([f"s3://listed/{wanted}", "s3://listed/page/z"], "stat", MIB)
    assert found[0] is not None and found[1] is None


def test_versions_of_rows_without_landmarks_are_those_of_their_files() -> None:
    rows = pa.table({"uri": ["a"]})
    assert photo_versions(rows, ["v"], by_landmarks=True).to_pylist() == ["v"]
    assert np.array_equal(photo_versions(rows, [None], by_landmarks=False).to_pylist(), [None])


def test_a_row_is_taken_only_with_the_score_of_the_same_forensic_model(tmp_path: Path) -> None:
    rows = photos(tmp_path, 4)
    plain = table_of(tmp_path, rows)
    wanted = replace(WANTED, forensic="f")
    given, found, _ = reused_forensic(tmp_path, rows, plain, wanted)
    assert given == [False] * 4 and found.why_not == {"other forensic model": 4}
    scored = with_scores(plain, ["f", "g", None, "f"])
    given, found, written = reused_forensic(tmp_path, rows, scored, wanted)
    assert given == [True, False, False, True] and found.why_not == {"other forensic model": 2}
    assert written["forensic"].to_pylist() == written["eyes"].to_pylist() == [0.0, 3.0]
    assert set(written["forensic_with"].to_pylist()) == {"f"}


def test_without_a_forensic_model_scores_of_one_are_left_behind(tmp_path: Path) -> None:
    rows = photos(tmp_path, 2)
    given, _, written = reused(tmp_path, rows, with_scores(table_of(tmp_path, rows), ["f", None]))
    assert given == [True, True] and "forensic" not in written.column_names


def reused_forensic(
    folder: Path, rows: pa.Table, files: list[Location], wanted: Wanted
) -> tuple[list[bool], Reuse, pa.Table]:
    work = Location(str(folder / "work"))
    found = take_given(rows, [GivenTable(files)], wanted, "m", work, LocalMapper())
    parts = [read_part(work / GIVEN / entry.path) for entry in (work / GIVEN).files()]
    return found.given.tolist(), found, pa.concat_tables([wanted.schema.empty_table(), *parts])
