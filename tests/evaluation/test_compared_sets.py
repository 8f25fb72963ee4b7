"""The sets of a comparison: how users name them, which photos they have, what is wrong with them as sentences."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceverify import tables
from faceverify.align import AlignConfig
from faceverify.errors import UserError
from faceverify.evaluation.compared_sets import parse_sets, read_features
from faceverify.protocols.sets import GallerySet, IjbSet
from faceverify.storage import Location


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """Two people on either side, one of them on both; a list of pairs."""
    for photo in ("probes/ada/1.jpg", "probes/bo/1.jpg", "gallery/bo/1.jpg", "gallery/cy/1.jpg"):
        (tmp_path / photo).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / photo).write_bytes(photo.encode())
    (tmp_path / "pairs.csv").write_text("photo_a,photo_b\n")
    return tmp_path


def test_names_and_places(places: Path, golden: Path) -> None:
    pairs, own, ijb = parse_sets(
        [
            f"lfw={places / 'probes'},{places / 'pairs.csv'}",
            f"mine=gallery:{places / 'probes'},{places / 'gallery'}",
            f"c=ijb:{golden / 'zoo/ijb_synth/IJBC'}",
        ]
    )
    assert (pairs.name, pairs.protocol, pairs.has_pairs) == ("lfw", "pairs", True)
    assert (own.name, own.protocol, len(own.places), own.has_pairs) == ("mine", "gallery", 2, False)
    assert (ijb.name, ijb.protocol, len(ijb.places)) == ("c", "ijb", 1)
    found = AlignConfig(method="yunet")
    assert (own.align(found), ijb.align(found).method) == (found, "annotated")
    assert ijb.align(AlignConfig(method="none")).method == "none"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mine", "'mine' is not NAME=PHOTOS,PAIRS"),
        ("mine=photos", "is not NAME=PHOTOS,PAIRS"),
        ("mine=gallery:probes", "is not NAME=PHOTOS,PAIRS"),
        ("mine=ijb:", "is not NAME=PHOTOS,PAIRS"),
        ("../mine=photos,pairs", "is not NAME=PHOTOS,PAIRS"),
        ("mine=tinyface:nowhere", "sets: mine"),
    ],
)
def test_what_is_no_set(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_sets([text])


def test_two_of_one_name_and_none(places: Path) -> None:
    one = f"mine={places / 'probes'},{places / 'pairs.csv'}"
    with pytest.raises(UserError, match="two are named 'mine'"):
        parse_sets([one, one])
    with pytest.raises(UserError, match="sets is empty"):
        parse_sets([])


def test_what_tells_a_set_from_another_changes_with_it(places: Path) -> None:
    [one] = parse_sets([f"mine=gallery:{places / 'probes'},{places / 'gallery'}"])
    before = one.inputs()
    assert one.inputs() == before
    (places / "gallery/cy/2.jpg").write_bytes(b"more")
    assert one.inputs()["gallery"] != before["gallery"] and one.inputs()["probes"] == before["probes"]


def test_a_gallery_of_two_folders_names_its_sides(places: Path) -> None:
    [one] = parse_sets([f"mine=gallery:{places / 'probes'},{places / 'gallery'}"])
    made, rows = one.open()
    assert isinstance(made, GallerySet) and rows.schema == tables.PHOTOS
    assert list(made.photos) == ["probes/ada/1.jpg", "probes/bo/1.jpg", "gallery/bo/1.jpg", "gallery/cy/1.jpg"]
    assert rows["photo"].to_pylist() == list(made.photos)
    assert [Path(uri).read_text() for uri in rows["uri"].to_pylist()] == list(made.photos)
    assert made.person[1] == made.entry_person[0] and made.person[0] not in made.entry_person
    [same] = parse_sets([f"mine=gallery:{places / 'probes'},{places / 'probes'}"])
    with pytest.raises(UserError, match="twice"):
        same.open()


def test_ijbs_photos_come_with_the_landmarks_of_its_lists(golden: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(golden / "zoo/ijb_synth/IJBC", tmp_path / "IJBC")
    (tmp_path / "IJBC/loose_crop").mkdir()
    for line in (tmp_path / "IJBC/meta/ijbc_face_tid_mid.txt").read_text().splitlines():
        (tmp_path / "IJBC/loose_crop" / line.partition(" ")[0]).touch()
    [one] = parse_sets([f"c=ijb:{tmp_path / 'IJBC'}"])
    made, rows = one.open()
    assert isinstance(made, IjbSet) and rows["photo"].to_pylist() == list(made.photos)
    assert rows["uri"][0].as_py() == str(tmp_path / "IJBC/loose_crop/1.jpg")
    assert np.float32(rows["landmarks"][0].as_py()[:2]).tolist() == np.float32([59.653, 71.351]).tolist()
    assert one.inputs() == one.inputs()


def test_tinyfaces_photos_are_those_of_its_folders(tmp_path: Path) -> None:
    for photo in ("Probe/12_3.jpg", "Gallery_Match/12_1.jpg", "Gallery_Distractor/d.jpg"):
        (tmp_path / photo).parent.mkdir()
        (tmp_path / photo).write_bytes(photo.encode())
    [one] = parse_sets([f"t=tinyface:{tmp_path}"])
    made, rows = one.open()
    assert isinstance(made, GallerySet) and made.ranks == (1, 5, 20)
    assert [Path(uri).read_text() for uri in rows["uri"].to_pylist()] == list(made.photos) == rows["photo"].to_pylist()
    assert rows["landmarks"].null_count == 3 and list(one.inputs()) == ["photos"]


def test_features_in_the_order_of_the_photos(tmp_path: Path) -> None:
    vectors = np.arange(8, dtype=np.float32).reshape(4, 2)
    columns = {
        "photo": ["c", "a", "other", "b"],
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 2),
        "norm": np.ones(4, np.float32),
    }
    pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    found = read_features([Location(str(tmp_path / "e.parquet"))], ["a", "b", "gone", "c"], 2)
    np.testing.assert_array_equal(found, [[2, 3], [6, 7], [np.nan, np.nan], [0, 1]])
