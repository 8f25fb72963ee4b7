"""Two tables that are not of the same photos, and scores that hardly exist, stop a job before its work."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceverify import tables
from faceverify.errors import UserError
from ray_jobs import clean, evaluate, fakes

PHOTOS = [f"{person}/{i}.jpg" for person in ("ana", "bo") for i in range(3)]
POINTS = [69.0, 109, 106, 113, 77, 142, 73, 152, 108, 154]


def write(folder: Path, name: str, schema: pa.Schema, rows: list[dict]) -> str:
    (folder / name).mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / name / "part-00000.parquet")
    return str(folder / name)


def photos_table(folder: Path) -> str:
    rows = [{"photo": n, "uri": f"/data/{n}", "person": n[:2], "is_fake": False} for n in PHOTOS]
    return write(folder, "photos", tables.PHOTOS, rows)


@pytest.mark.parametrize("known", [0, 2])
def test_embeddings_of_other_photos(tmp_path: Path, known: int) -> None:
    names = PHOTOS[:known] + [f"photos/{name}" for name in PHOTOS]
    rows = [{"photo": name, "embedding": [1.0, i], "norm": 1.0} for i, name in enumerate(names)]
    given = write(tmp_path, "embeddings", tables.embeddings(2), rows)
    config = clean.CleanConfig(photos=photos_table(tmp_path), embeddings=given, out=str(tmp_path / "out"))
    with pytest.raises(UserError) as caught:
        clean.run(config)
    said = str(caught.value)
    assert said.startswith(f"{6 - known} of 6 photos failed with no embedding (")
    assert f"(there is 'photos/{PHOTOS[known]}')" in said
    assert "does the embeddings table belong to these photos?" in said
    assert list((tmp_path / "out").iterdir()) == []


def test_faces_of_other_photos(tmp_path: Path) -> None:
    rows = [{"photo": name, "image": b"", "landmarks": POINTS} for name in PHOTOS[:2]]
    given = write(tmp_path, "faces", tables.FACES, rows)
    config = fakes.FakesConfig(photos=photos_table(tmp_path), faces=given, out=str(tmp_path / "out"))
    with pytest.raises(UserError, match=r"4 of 6 photos failed with no_landmarks \('ana/2.jpg', .* as --faces;"):
        fakes.run(config)


def test_scores_that_hardly_exist(tmp_path: Path) -> None:
    rows = [
        {"pair": str(i), "photo_a": "a", "photo_b": "b", "label": i % 2, "status": "ok" if i < 3 else "missing"}
        | {"similarity": 0.1 * i if i < 3 else None}
        for i in range(8)
    ]
    given = write(tmp_path, "scores", tables.SCORES, rows)
    config = evaluate.EvaluateConfig(scores=given, out=str(tmp_path / "out"), replicates=0)
    with pytest.raises(UserError, match=r"^5 of 8 pairs failed with missing \('3', '4', '5'\)"):
        evaluate.run(config)
    accepted = evaluate.EvaluateConfig(scores=given, out=str(tmp_path / "out"), replicates=0, max_failed=1)
    evaluate.run(accepted)
    assert (tmp_path / "out" / "metrics.json").is_file()


@pytest.mark.parametrize("kind", ["folder", "table"])
def test_the_report_shows_photos_that_were_found_under_another_name(tmp_path: Path, kind: str) -> None:
    (tmp_path / "root" / "ana").mkdir(parents=True)
    for name in ("1.png", "2.jpg"):
        (tmp_path / "root" / "ana" / name).write_bytes(b"")
    photos = str(tmp_path / "root")
    if kind == "table":
        rows = [{"photo": f"ana/{name}", "uri": f"{photos}/ana/{name}"} for name in ("1.png", "2.jpg")]
        photos = write(tmp_path, "photos", tables.PHOTOS, rows)
    config = evaluate.EvaluateConfig(photos=photos)
    places = evaluate.photo_places(config, ["ana/1.jpg", "ana/2.jpg"], {"found": {"under another extension": [1]}})
    assert {name: place.path for name, place in places.items()} == {
        "ana/1.jpg": f"{tmp_path}/root/ana/1.png",
        "ana/2.jpg": f"{tmp_path}/root/ana/2.jpg",
    }
