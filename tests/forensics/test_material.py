"""Which photos become patches, and who is learnt from, who validated with."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forensics.conftest import Patches

from faceverify.align import AlignConfig
from faceverify.align import build as build_aligner
from faceverify.errors import UserError
from faceverify.faces import Stopwatch
from faceverify.forensics.material import WANTED, cut_patches, read_material, wanted_rows
from faceverify.images import ImageLimits
from faceverify.storage import Location

NONE = build_aligner(AlignConfig(method="annotated"))  # finds nothing by itself


def cut_of(rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    return cut_patches(rows, NONE, ImageLimits(), Stopwatch())


def changed(rows: pa.Table, at: int, **values: object) -> pa.Table:
    table = rows.to_pylist()
    table[at] |= values
    return pa.Table.from_pylist(table, rows.schema)


def test_what_cannot_be_used_is_a_counted_reject(patches: Patches, tmp_path: Path) -> None:
    rows = wanted_rows(patches.photos, None).select(WANTED)
    small = (np.array(rows["landmarks"][2].as_py()) * 0.3).tolist()
    rows = changed(rows, 0, uri=str(tmp_path / "gone.png"))
    rows = changed(changed(rows, 1, landmarks=None), 2, landmarks=small)
    rows = changed(rows, 3, landmarks=[9000.0] * 10)
    kept, rejects = cut_of(rows)
    told = {row["photo"]: (row["stage"], row["reason"]) for row in rejects.to_pylist()}
    names = rows["photo"].to_pylist()
    assert told == {
        names[0]: ("read", "missing"),
        names[1]: ("align", "no_landmarks"),
        names[2]: ("patch", "bad_landmarks"),
        names[3]: ("patch", "bad_landmarks"),
    }
    assert kept["photo"].to_pylist() == names[4:]


def test_a_fakes_original_follows_it(patches: Patches, tmp_path: Path) -> None:
    rows = wanted_rows(patches.photos, None).select(WANTED)
    fake = rows["generator"].is_valid().to_pylist().index(True)
    kept, _ = cut_of(changed(rows, fake, original_uri=rows["uri"][0].as_py()))
    pq.write_table(kept, tmp_path / "patches.parquet")
    flags = kept["is_original"].to_pylist()
    assert sum(flags) == 1 and flags.index(True) == fake + 1
    material = read_material([Location(str(tmp_path / "patches.parquet"))], 0.25, 0)
    assert material.original[fake] == fake + 1 and (np.delete(material.original, fake) == -1).all()
    groups = np.concatenate([material.train, material.val, material.given, material.given_val])
    assert fake + 1 not in groups and len(groups) == len(np.unique(groups)) == len(kept) - 1


def test_people_are_learnt_from_or_validated_with(patches: Patches) -> None:
    material = patches.material()
    assert not {*material.person[material.train]} & {*material.person[material.val]}
    assert len({*material.person[material.val]}) == 2  # a quarter of 8
    for fakes, people in ((material.given, material.train), (material.given_val, material.val)):
        assert {*material.person[fakes]} <= {*material.person[people]}


def test_a_fake_of_two_sides_is_left_out(patches: Patches, tmp_path: Path) -> None:
    material, table = patches.material(), pq.read_table(patches.file).to_pylist()
    fake = int(material.given[0])
    judged = table[int(material.val[0])]["person"]
    table[fake]["host"] = judged
    pq.write_table(pa.Table.from_pylist(table, pq.read_schema(patches.file)), tmp_path / "patches.parquet")
    found = read_material([Location(str(tmp_path / "patches.parquet"))], 0.25, 0)
    assert fake not in found.given and fake not in found.given_val
    np.testing.assert_array_equal(found.train, material.train)


def test_photos_of_nobody_are_people_of_their_own(patches: Patches, tmp_path: Path) -> None:
    table = pq.read_table(patches.file)
    nobody = table.set_column(table.schema.get_field_index("person"), "person", pa.nulls(len(table), pa.string()))
    pq.write_table(nobody, tmp_path / "patches.parquet")
    material = read_material([Location(str(tmp_path / "patches.parquet"))], 0.25, 0)
    assert len(material.val) == 6  # of 24 real photos


def test_too_few_people_are_refused(patches: Patches, tmp_path: Path) -> None:
    table = pq.read_table(patches.file)
    some = table.filter(pa.compute.equal(table["person"], table["person"][0]))
    pq.write_table(some, tmp_path / "patches.parquet")
    with pytest.raises(UserError, match=r"1 people have a usable real photo.*give more photos"):
        read_material([Location(str(tmp_path / "patches.parquet"))], 0.25, 0)


def test_a_faces_table_goes_before_the_photos_own_landmarks(patches: Patches) -> None:
    photos = patches.photos
    faces = pa.table({"photo": photos["photo"][:2], "landmarks": photos["landmarks"][2:4]})
    rows = wanted_rows(photos, faces)
    assert rows["landmarks"].to_pylist() == [
        *photos["landmarks"].to_pylist()[2:4],
        *photos["landmarks"].to_pylist()[2:],
    ]


def test_where_no_photo_can_be_used_it_is_said(patches: Patches, tmp_path: Path) -> None:
    pq.write_table(pq.read_table(patches.file)[:0], tmp_path / "patches.parquet")
    with pytest.raises(UserError, match="0 people have a usable real photo"):
        read_material([Location(str(tmp_path / "patches.parquet"))], 0.25, 0)
