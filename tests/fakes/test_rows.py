"""The table: what was given goes on unchanged, whatever its columns; a fake's name says what it is."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceverify import tables
from faceverify.datasets import DatasetConfig, read
from faceverify.errors import UserError
from faceverify.fakes import GENERATORS
from faceverify.fakes.rows import ADDED, as_table, check_names, extra_columns, given_rows, name_of, table_schema
from faceverify.images import encode_png
from faceverify.storage import Location


def cleaned(photos: pa.Table) -> pa.Table:
    """As `clean` gives it: further columns, of which one may not be null, and another width of strings."""
    count = photos.num_rows
    photos = photos.set_column(0, pa.field("photo", pa.large_string()), photos["photo"].cast(pa.large_string()))
    given = photos.append_column("fold", pa.array(range(count), pa.int32()))
    return given.append_column(pa.field("provenance", pa.string(), nullable=False), pa.array(["kept"] * count))


def test_given_photos_travel_with_all_their_columns(photos_of, tmp_path):
    given = cleaned(photos_of({"a": (2, 0, 1)}))
    extra = extra_columns(given.schema)
    assert extra.names == ["fold", "provenance", *ADDED.names]
    whole = pa.concat_tables([*given_rows([given.slice(0, 2), given.slice(2)], extra), as_table([], extra)])
    assert whole.schema == table_schema(extra)
    assert whole.select(given.column_names).to_pylist() == given.to_pylist()
    assert all(whole[name].null_count == 3 for name in ADDED.names)
    fake = {"photo": "x", "uri": "y", "is_fake": True, "pasted_box": (1, 2, 3, 4), "further_sources": ["q"]}
    pq.write_table(pa.concat_tables([whole, as_table([fake], extra)]), tmp_path / "t.parquet")
    back = pq.read_table(tmp_path / "t.parquet")
    tables.validate(back.schema, tables.PHOTOS, "t")
    last = back.to_pylist()[-1]
    assert last["provenance"] is None and last["pasted_box"] == [1, 2, 3, 4]


def test_fakes_of_an_earlier_run_keep_what_is_known_of_them(photos_of):
    first = extra_columns(tables.PHOTOS)
    fake = {"photo": "x", "uri": "y", "is_fake": True, "seed": 7, "source_photo": "a/00.jpg"}
    made = pa.concat_tables([*given_rows([photos_of({"a": (1, 0, 0)})], first), as_table([fake], first)])
    again = extra_columns(made.schema)
    assert again.names == first.names
    assert next(given_rows([made], again)).to_pylist() == made.to_pylist()


def test_a_column_of_an_added_name_and_another_type_is_refused(photos_of):
    given = photos_of({"a": (1, 0, 0)}).append_column("seed", pa.array(["x"]))
    with pytest.raises(UserError, match=r"photos .*column 'seed' is string, not int64"):
        extra_columns(given.schema)


def test_the_layout_folders_reads_the_pictures_back(tmp_path):
    for person, generator, index in (("a", "landmark_swap", 0), ("b c", "self_blend", 11)):
        place = tmp_path / f"{name_of(person, generator, -3, index)}.png"
        place.parent.mkdir(parents=True)
        place.write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    (tmp_path / "a/real").mkdir()
    (tmp_path / "a/real/a+0.jpg.webp").write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    found = read(Location(str(tmp_path)), DatasetConfig(layout="folders")).photos
    assert [(r["person"], r["is_fake"], r["generator"]) for r in found.to_pylist()] == [
        ("a", True, "landmark_swap"),
        ("a", False, None),
        ("b c", True, "self_blend"),
    ]


def test_names_never_leave_the_folder_and_never_meet():
    people = ["a", "a/b", "a+b", "..", "a/../../b", "/etc", "c:\\x", "x" * 400, "x" * 401, "\0", ".", "é"]
    names = [name_of(person, "g", 0, 0) for person in people]
    assert len(set(names)) == len(people)
    for name in names:
        folder, *rest = name.split("/")
        assert rest == ["fake", "g", "0_00"] and folder.strip(".") and len(folder.encode()) <= 255
        assert not set('\\:*?"<>|\0') & set(folder)


def test_a_photo_with_the_name_of_a_fake_is_refused():
    generators = list(GENERATORS.values())
    for suffix in (".png", ".jpg", ".webp"):
        name = name_of("a", "self_blend", 3, 1) + suffix
        photos = pa.chunked_array([["a/0.jpg", name, "b/fake/other/0_00.png"]])
        check_names(photos, generators, 0)
        check_names(photos, generators, 33)
        with pytest.raises(UserError, match=rf"photos: 'a/fake/self_blend/3_01{suffix}'.*another --seed"):
            check_names(photos, generators, 3)
