"""Faces of other photos are refused by name, and the table to use is named."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceverify.aligned import WithoutFace, check_faces_of, remedy, remedy_for_pairs
from faceverify.errors import UserError
from faceverify.pairs.reading import classify_photos, summarise
from faceverify.storage import open_location
from faceverify.tables import REJECTS
from faceverify.units import LocalMapper


def without_face(place: Path, reals: int, fakes: int, faces: Path, have: tuple[str, ...]) -> WithoutFace:
    """Of photos r0, r1, ... and f0, f1, ..., those without a face in a table that holds `have`."""
    names = [f"r{i}" for i in range(reals)] + [f"f{i}" for i in range(fakes)]
    blank = [None] * len(names)
    columns = {"photo": names, "person": ["p"] * len(names), "is_fake": [False] * reals + [True] * fakes}
    columns |= {"generator": pa.array(blank, pa.string()), "split": pa.array(blank, pa.string())}
    pq.write_table(pa.table(columns), place / "photos.parquet")
    pq.write_table(pa.table({"photo": pa.array(have, pa.string())}), place / "have.parquet")
    files = [[open_location(str(place / name))] for name in ("photos.parquet", "have.parquet")]
    mapper = LocalMapper()
    return summarise(mapper, classify_photos(mapper, *files, open_location(str(faces)))).without_face


def run(place: Path, job: str, rejected: tuple[str, ...] = (), **config: str) -> Path:
    """The output folder of a job, as far as it is looked at here."""
    (place / "rejects").mkdir(parents=True)
    rows = [{"photo": name, "stage": "align", "reason": "no_face", "detail": ""} for name in rejected]
    pq.write_table(pa.Table.from_pylist(rows, REJECTS), place / "rejects" / "part-00000.parquet")
    (place / "manifest.json").write_text(json.dumps({"job": job, "config": config}))
    return place


def test_what_was_rejected_is_told_from_what_was_never_seen(tmp_path: Path) -> None:
    faces = run(tmp_path / "faces", "align", ("r1", "f0"))
    found = without_face(tmp_path, 3, 2, faces, ("r0",))
    assert found == WithoutFace(rejected=2, unknown=2, unknown_fakes=1, names=["f1", "r2"]) and len(found) == 4
    assert len(without_face(tmp_path, 3, 2, faces / "faces", ("r0", "r1", "r2", "f0", "f1"))) == 0


@pytest.mark.parametrize(
    "have, rejected, words",
    [
        (("r0", "r1", "r2", "r3"), (), "does not know any of the 2 deepfakes (f0, f1)"),
        (("f0", "f1"), (), "does not know 4 of 6 photos (r0, r1, r2, ...)"),
        (("r0", "r1", "r2", "f0"), (), ""),
        (("r0", "r1", "r2", "r3"), ("f0",), ""),  # a fake in which no face was found
        ((), ("r0", "r1", "r2", "f0"), ""),
    ],
)
def test_a_table_of_other_photos_is_refused(tmp_path: Path, have: tuple, rejected: tuple, words: str) -> None:
    place = run(tmp_path / "faces", "align", rejected)
    found = without_face(tmp_path, 4, 2, place, have)
    if not words:
        check_faces_of(found, 6, 2, "fakes", str(place))
        return
    with pytest.raises(UserError) as caught:
        check_faces_of(found, 6, 2, "fakes", str(place))
    assert words in str(caught.value) and "ray_jobs.align configs/align.yaml --photos fakes" in str(caught.value)


def test_the_table_to_use_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(Path("runs/faces"), "align", photos="runs/photos")
    run(Path("runs/all_faces"), "align", photos=str(tmp_path / "runs/fakes"))
    run(Path("runs/fakes"), "fakes", photos="runs/photos")
    (tmp_path / "runs" / "foreign").mkdir()
    (tmp_path / "runs" / "foreign" / "manifest.json").write_text("{")
    for given in ("runs/faces", "runs/faces/", "runs/faces/faces"):
        assert remedy("runs/fakes", given) == "give --faces runs/all_faces"
    run(Path("runs/pairs"), "pairs", photos="runs/fakes", faces="")
    assert remedy_for_pairs("runs/pairs", "runs/faces") == "give --faces runs/all_faces"
    run(Path("runs/pairs2"), "pairs", photos="runs/fakes", faces="elsewhere/faces")
    assert "give --faces elsewhere/faces" in remedy_for_pairs("runs/pairs2", "runs/faces")
    assert remedy_for_pairs("runs/pairs.parquet", "runs/faces").startswith("give the faces table made of the photos")
